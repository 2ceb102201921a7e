"""Plausible landmarks: whichever way a face looks and however it is tilted; nothing that is out of order."""

import numpy as np
import pytest

from builder.models.landmarks import LEANS, STEADY, plausible, steady

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
    [(0, STEADY, True), (10, 0.95, True), (12, 0.95, False), (0, STEADY - 0.01, False)],
)
def test_faces_that_move_or_fade_at_another_size_are_not_steady(shift, score, kept):
    """Points stay within 10% of the box's height, and a face that looks at the camera stays certain."""
    assert steady(FRONTAL, BOX[3], [(FRONTAL + shift, score), (FRONTAL, 0.95)]) is kept
    assert steady(FRONTAL, BOX[3], [(FRONTAL, 0.95), (FRONTAL + 1.4 * shift, score)]) is kept


def test_turned_faces_may_be_less_certain_at_another_size():
    """YuNet is less sure of profiles; their points must stay all the same."""
    profile = PROFILE.astype(float)
    assert steady(profile, PROFILE_BOX[3], [(profile, 0.4), (profile + 20, 0.4)])
    assert not steady(profile, PROFILE_BOX[3], [(profile + 45, 0.9), (profile, 0.9)])


def test_a_face_that_is_not_found_again_is_not_steady():
    """A look that finds nothing is missing from the looks."""
    assert not steady(FRONTAL, BOX[3], [(FRONTAL, 0.95)])
    assert not steady(FRONTAL, BOX[3], [])


@pytest.mark.parametrize(("beyond", "kept"), [(-2, False), (2, True), (30, True)])
@pytest.mark.parametrize("side", [-1, 1])
def test_tilted_heads_need_not_be_steady(beyond, kept, side):
    """YuNet itself is unsteady where a head leans to either side."""
    points, box = turned(FRONTAL, BOX, side * (LEANS + beyond))
    assert steady(points, box[3], [(points + 40, 0.5), (points, 0.5)]) is kept
