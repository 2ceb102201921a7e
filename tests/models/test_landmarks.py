"""Plausible landmarks: whichever way a face looks and however it is tilted; nothing that is out of order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.models.landmarks import AGAIN, LEANS, MOVED, plausible, pose, steady

FRONTAL = np.array([[40, 50], [80, 50], [60, 72], [45, 90], [75, 90]], float)
"""Right eye, left eye, nose, right and left corner of the mouth, as YuNet gives them."""
BOX = (20.0, 10.0, 80.0, 110.0)
PROFILE = np.array([[198.9, 226.5], [201.4, 235.6], [155.4, 277.2], [194.6, 329.5], [193.8, 336.5]])
"""A full profile as YuNet read one, the nose beside the eyes' middle by half their distance from the mouth."""
PROFILE_BOX = (160.7, 99.1, 164.9, 323.0)


def turned(points, box, degrees):
    """The points and the box of a face turned in the plane, the box upright and as large as YuNet's would be."""
    left, top, width, height = box
    centre = np.array([left + width / 2, top + height / 2])
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    sine, cosine = abs(np.sin(angle)), abs(np.cos(angle))
    wide, high = width * cosine + height * sine * 0.8, height * cosine + width * sine * 0.8
    return (points - centre) @ turn + centre, (*(centre - (wide / 2, high / 2)), wide, high)


@pytest.mark.parametrize("degrees", range(-45, 50, 15))
def test_frontal_faces_are_plausible_however_tilted(degrees):
    """A head may lean by 45° to either side."""
    assert plausible(*turned(FRONTAL, BOX, degrees))


@pytest.mark.parametrize("mirrored", [False, True])
def test_full_profiles_are_plausible(mirrored):
    """A profile's eyes are nearly one point and its nose sticks out, to either side."""
    points, box = PROFILE, PROFILE_BOX
    if mirrored:
        points = np.stack([512 - points[[1, 0, 2, 4, 3], 0], points[[1, 0, 2, 4, 3], 1]], axis=1)
        box = (512 - box[0] - box[2], *box[1:])
    assert plausible(points, box)


def test_upside_down_is_not_plausible():
    """Eyes are above the mouth."""
    points, box = turned(FRONTAL, BOX, 180)
    assert not plausible(points, box)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({2: (60, 45)}, "nose above the eyes"),
        ({2: (60, 95)}, "nose below the mouth"),
        ({0: (40, 70), 1: (80, 40)}, "one eye far above the other"),
        ({3: (45, 75), 4: (75, 105)}, "mouth aslant"),
        ({0: (80, 50), 1: (40, 50)}, "eyes exchanged"),
        ({3: (75, 90), 4: (45, 90)}, "corners of the mouth exchanged"),
        ({0: (56, 50), 1: (64, 50)}, "eyes of a profile, nose of a frontal face"),
        ({0: (20, 50), 1: (100, 50)}, "eyes too far apart"),
        ({0: (40, 14), 1: (80, 14), 2: (60, 40)}, "eyes at the box's top"),
        ({3: (45, 116), 4: (75, 116), 2: (60, 85)}, "mouth at the box's bottom"),
    ],
)
def test_points_out_of_order_are_not_plausible(change, why):
    """Every part must be where a face has it."""
    points = FRONTAL.copy()
    for place, point in change.items():
        points[place] = point
    assert not plausible(points, BOX), why


@pytest.mark.parametrize(
    "box",
    [
        (34.0, 0.0, 52.0, 115.0),
        (20.0, 45.0, 80.0, 110.0),
        (-20.0, 10.0, 160.0, 110.0),
        (38.0, 45.0, 60.0, 60.0),
        (-60.0, -90.0, 240.0, 330.0),
        (70.0, 10.0, 80.0, 110.0),
        (20.0, 10.0, 0.0, 110.0),
    ],
)
def test_boxes_that_do_not_fit_are_not_plausible(box):
    """Half a face's box, one without a forehead, too wide, too small, too large, beside the points, empty."""
    assert not plausible(FRONTAL, box)


def test_points_that_are_one_or_no_numbers_are_not_plausible():
    """Degenerate input is no error."""
    assert not plausible(np.full((5, 2), 60.0), BOX)
    assert not plausible(np.full((5, 2), np.nan), BOX)
    assert not plausible(FRONTAL[:4], BOX)


@pytest.mark.parametrize(
    ("shift", "score", "kept"),
    [(0, AGAIN[0], True), (0.9, 0.95, True), (1.1, 0.95, False), (0, AGAIN[0] - 0.01, False)],
)
def test_faces_that_move_or_fade_in_a_second_look_are_not_steady(shift, score, kept):
    """Points stay near where they were, measured by the box's height, and the face stays certain."""
    assert steady(FRONTAL, BOX[3], FRONTAL + shift * MOVED * BOX[3], score) is kept


@pytest.mark.parametrize(
    ("points", "height"), [(PROFILE, PROFILE_BOX[3]), (turned(FRONTAL, BOX, LEANS + 2)[0], BOX[3])]
)
def test_turned_and_tilted_faces_may_be_a_little_less_certain(points, height):
    """YuNet is less sure of them from the start; their points must stay all the same."""
    assert steady(points, height, points, AGAIN[1]) and not steady(points, height, points, AGAIN[1] - 0.01)
    assert not steady(points, height, points + 1.1 * MOVED * height, 0.95)


@given(st.floats(-50, 50), st.floats(-0.4, 0.4))
def test_pose_is_how_far_a_face_leans_and_is_turned(degrees, aside):
    """A face turned in the plane has that roll, clockwise; yaw goes with the nose's offset alone, whatever the tilt."""
    face = FRONTAL.copy()
    face[2, 0] += aside * 40
    roll, yaw = pose(turned(face, BOX, degrees)[0])
    assert roll == pytest.approx(degrees, abs=1e-6) and yaw == pytest.approx(93 * aside, abs=1e-6)
    mirrored = np.stack([200 - face[[1, 0, 2, 4, 3], 0], face[[1, 0, 2, 4, 3], 1]], axis=1)
    assert pose(mirrored)[1] == pytest.approx(-93 * aside, abs=1e-6)
