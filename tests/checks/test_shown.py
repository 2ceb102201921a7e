"""Features that are measured: by light, by sharpness, by how the face is held; what is not there is not measured."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from builder.checks.attribute import AttributeCheck
from builder.checks.shown import measured_score
from builder.checks.suite import Checks, Outcome
from builder.spec.criteria import MEASURES, MESH_MEASURES, Attribute, Shown
from tests.fixtures.photos import sample

BLANK = Image.new("RGB", (100, 100), (120, 120, 120))
SEEN = {"yaw": -30.0, "roll": 20.0, "pitch": -15.0, "face_box": (10.0, 10.0, 20.0, 30.0), "sharpness": 9.0} | {
    "jaw_open": 0.6,
    "eye_blink": 0.1,
    "smile": 0.5,
}


def half(left, right):
    """A picture whose left and right half have these grey values."""
    pixels = np.full((100, 100, 3), left, np.uint8)
    pixels[:, 50:] = right
    return Image.fromarray(pixels)


LEFT, RIGHT = (0.0, 0.0, 50.0, 100.0), (50.0, 0.0, 50.0, 100.0)


@pytest.mark.parametrize(
    ("check", "shown"),
    [
        ({"yaw_over": 29}, True),
        ({"yaw_over": 31}, False),
        ({"yaw_under": 31}, True),
        ({"yaw_under": 29}, False),
        ({"pitch_under": -14}, True),
        ({"pitch_under": -16}, False),
        ({"tilt": 19}, True),
        ({"tilt": 21}, False),
        ({"face_height_under": 0.31}, True),
        ({"face_height_under": 0.29}, False),
        ({"sharpness_under": 10}, True),
        ({"sharpness_under": 8}, False),
        ({"jaw_open": 0.5}, True),
        ({"eye_blink": 0.5}, False),
        ({"smile": 0.5}, True),
        ({"yaw_over": 29, "tilt": 21}, False),
        ({"yaw_over": 29, "tilt": 19}, True),
    ],
)
def test_each_key_has_its_own_measure_and_direction(check, shown):
    """The side of a turn and of a tilt is of no influence; of several keys all must be met."""
    assert (measured_score(Shown(**check), BLANK, SEEN) >= 0.5) is shown


@pytest.mark.parametrize(
    "key", [key for key in (*MEASURES, *MESH_MEASURES) if key not in ("darker_than", "highlights_over")]
)
def test_what_was_not_seen_is_not_measured(key):
    """Without a face nobody knows which way it looks: the model is asked then, if there is one."""
    check = Shown(**{key: 0.5})
    assert measured_score(check, BLANK, {}) is None
    assert measured_score(check, BLANK, dict.fromkeys(SEEN)) is None
    assert measured_score(Shown(), BLANK, SEEN) is None


@pytest.mark.parametrize(
    ("check", "picture", "box", "shown"),
    [
        ({"darker_than": 0.3}, half(20, 20), None, True),
        ({"darker_than": 0.3}, half(10, 90), RIGHT, False),  # a bright face in a dark picture
        ({"darker_than": 0.3}, half(10, 90), LEFT, True),
        ({"darker_than": 0.3}, half(72, 72), None, True),
        ({"darker_than": 0.3}, half(72, 72), LEFT, False),  # a face must be darker than a picture
        ({"highlights_over": 0.03}, half(100, 255), RIGHT, True),
        ({"highlights_over": 0.03}, half(100, 255), LEFT, False),  # a bright wall beside a face
        ({"highlights_over": 0.03}, half(100, 255), None, True),
    ],
)
def test_light_is_that_of_the_picture_and_of_the_face(check, picture, box, shown):
    assert (measured_score(Shown(**check), picture, {"face_box": box}) >= 0.5) is shown


@given(st.tuples(*[st.floats(-300, 300)] * 4))
def test_a_box_that_sticks_out_or_lies_beside_the_picture_is_no_error(box):
    for check in ({"darker_than": 0.3}, {"highlights_over": 0.03}):
        assert 0 <= measured_score(Shown(**check), half(20, 250), {"face_box": box}) <= 1


@given(st.floats(0, 90), st.floats(0, 90))
def test_a_score_is_a_half_at_its_limit_and_grows_with_what_is_asked_for(limit, angle):
    check = Shown(yaw_over=limit)
    assert measured_score(check, BLANK, {"yaw": limit}) == pytest.approx(0.5)
    more, less = (measured_score(check, BLANK, {"yaw": value}) for value in (angle + 1, angle))
    assert more >= less


def test_the_attribute_check_is_told_what_the_checks_before_have_seen():
    """The face check's angle decides, without a model; a picture in which no face was found is not judged."""
    check = AttributeCheck(Attribute(model="a model"), None)
    outcomes = [Outcome(), Outcome(), Outcome()]
    outcomes[0].checks["yaw"], outcomes[1].checks["yaw"] = -40.0, 3.0
    Checks([], [check]).read([sample(yaw_over=20)] * 3, [BLANK] * 3, outcomes)
    assert [outcome.reason for outcome in outcomes] == ["", "feature not seen", ""]
    assert [outcome.verified for outcome in outcomes] == [True, False, None]
