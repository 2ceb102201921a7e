"""Could five points be a face's? In order along its own axis, in proportion, and the same whenever one looks again."""

from __future__ import annotations

import numpy as np

TILT = 60.0
"""Degrees by which the face's axis may lean: heads turned by 45° in the plane were read up to 48°."""
HEIGHT = (0.22, 0.52)
"""Eyes to mouth, as a share of the box's side (the root of its area): photographs 0.33 to 0.52, turned by 45° 0.23."""
NOSE = (0.25, 0.85)
"""Where the nose lies from eyes (0) to mouth (1): photographs 0.35 to 0.69, turned by 45° 0.26 to 0.85."""
TURN = 1.2
"""How fast eyes and mouth get narrow as the nose moves aside: a profile's are a point, its nose half a unit away."""
EYES = (0.5, 1.25)
"""Width between the eyes and `TURN` times the nose's offset, together; the width alone. Photographs: 0.52; 1.21."""
MOUTH = 0.45
"""Width of the mouth and `TURN` times the nose's offset, together. Photographs: from 0.49."""
SLANT = 0.35
"""Most by which an eye, or a corner of the mouth, lies above the other along the axis. Photographs up to 0.24."""
BOX = (0.5, 0.95, 0.35)
"""The box's width over its height: least; most of an upright face; what the sine of its tilt adds. Photographs: from
0.51; up to 0.89 less that."""
SIDES = -0.1
"""Least distance of the points from the box's left and right edge: profiles' noses stick out, photographs -0.07."""
ENDS = 0.08
"""Least distance of the points from its top and bottom edge: there are a forehead and a chin. Photographs from 0.15."""

SURE = 0.92
"""Score from which on a face is believed at one look: of shuffled faces with plausible points 1 in 300 has it, of good
portraits 118 of 122."""
AGAIN = (0.89, 0.86)
"""Least score of any other face in the second look, and of one that looks aside or leans. Good portraits from 0.90."""
ASIDE = 0.2
"""Offset of the nose, in distances from eyes to mouth, up to which a face looks at the camera."""
LEANS = 15.0
"""Degrees of tilt up to which a head is upright."""
MOVED = 0.17
"""By how much of the box's height a point may lie elsewhere in the second look. Good portraits up to 0.11."""

DEGREES = 93.0
"""Degrees of yaw for an offset of the nose of 1, by least squares against MediaPipe's on 206 photographs: correlation
0.93, the rest has a standard deviation of 6°, and the side is right for all 66 beyond 15°. Profiles end near 45°."""


def plausible(points: np.ndarray, box: tuple[float, float, float, float]) -> bool:
    """Return whether five points can be those of one face in its box, whichever way it looks and however it is tilted.

    `points` are YuNet's, (5, 2), x and y in pixels: right eye, left eye, nose, right and left corner of the mouth, the
    person's right being on the picture's left; `box` is left, top, width and height. Lengths are measured in distances
    from the eyes' middle to the mouth's, along that axis and across it, so that tilted heads are judged like upright
    ones; the widths' lower limits shrink as the nose moves aside, so that full profiles pass.

    The limits are our own: what YuNet says of the 219 photographs of one face, and of the same turned by 30° and 45°,
    that `tests/experiments/photographs.py` measures on, with some room. Most faces whose pieces were shuffled get
    plausible points from YuNet all the same: it has learnt where points belong. See `steady`.

    >>> plausible(np.array([[40, 50], [80, 50], [60, 72], [45, 90], [75, 90]]), (20, 10, 80, 110))
    True
    >>> plausible(np.array([[40, 90], [80, 90], [60, 72], [45, 50], [75, 50]]), (20, 10, 80, 110))  # upside down
    False
    """
    width, height = box[2:]
    points = np.asarray(points, float)
    if points.shape != (5, 2) or not np.isfinite(points).all() or min(width, height) <= 0:
        return False
    unit, down = _axis(points)
    return unit > 0 and _proportions(_upright(points)) and _fits(points, box, unit, *down)


def steady(points: np.ndarray, height: float, again: np.ndarray, score: float) -> bool:
    """Return whether a face that was found is found again by a second look at the mirrored picture, made smaller.

    `again` are the points there, mirrored back and in pixels of the picture itself, and `score` the score, of the face
    whose points are nearest; `height` is the box's. Shuffled pieces look like a face at one size, and less so, or
    elsewhere, at another. Turned and tilted faces are less certain from the start.

    Ask it of the only face in a picture that is not `SURE`: a second one, plausible or not, is a reason to reject that
    must not get lost. The limits are our own, from nine shuffles of each of 123 portraits of
    `tests/experiments/photographs.json`, other ones than it measures with.
    """
    upright = leans(points) <= LEANS and abs(_upright(points)[2][0]) < ASIDE
    return score >= AGAIN[0 if upright else 1] and float(np.abs(again - points).max()) <= MOVED * height


def pose(points: np.ndarray) -> tuple[float, float]:
    """Return roll and yaw in degrees: how far a head leans clockwise, and how far it is turned to the picture's right.

    What five points say of pitch is next to nothing: where the nose lies between eyes and mouth goes with MediaPipe's
    pitch by a correlation of 0.4 on 194 photographs, which leaves 9 of its 10 degrees of standard deviation.

    >>> [round(angle) for angle in pose(np.array([[40, 50], [80, 50], [68, 72], [45, 90], [75, 90]]))]
    [0, 19]
    """
    _, (x, y) = _axis(points)
    return float(np.degrees(np.arctan2(-x, y))), DEGREES * float(_upright(points)[2][0])


def leans(points: np.ndarray) -> float:
    """Return by how many degrees a head leans to either side."""
    _, (x, y) = _axis(points)
    return float(abs(np.degrees(np.arctan2(x, y))))


def _axis(points: np.ndarray) -> tuple[float, tuple[float, float]]:
    """The distance from the eyes' middle to the mouth's, and the direction, x and y."""
    axis = points[3:].mean(axis=0) - points[:2].mean(axis=0)
    unit = float(np.hypot(*axis))
    return unit, (float(axis[0] / unit), float(axis[1] / unit)) if unit else (0.0, 1.0)


def _upright(points: np.ndarray) -> np.ndarray:
    """The points in the face's own axes, to its left and down: the eyes' middle is (0, 0), the mouth's (0, 1)."""
    unit, (x, y) = _axis(points)
    return (points - points[:2].mean(axis=0)) @ np.array([[y, x], [-x, y]]) / (unit or 1.0)


def _proportions(face: np.ndarray) -> bool:
    """Whether the points, in the face's own axes, are in proportion."""
    eyes, mouth, nose = face[1] - face[0], face[4] - face[3], face[2]
    aside = TURN * abs(nose[0])
    return bool(
        NOSE[0] <= nose[1] <= NOSE[1]
        and eyes[0] + aside >= EYES[0]
        and eyes[0] <= EYES[1]
        and mouth[0] + aside >= MOUTH
        and max(abs(eyes[1]), abs(mouth[1])) <= SLANT
    )


def _fits(points: np.ndarray, box: tuple[float, float, float, float], unit: float, sine: float, cosine: float) -> bool:
    """Whether the box has a face's form and size for these points, and they lie in it."""
    left, top, width, height = box
    low, high = points.min(axis=0), points.max(axis=0)
    sides = min(low[0] - left, left + width - high[0]) / width
    ends = min(low[1] - top, top + height - high[1]) / height
    return bool(
        cosine >= np.cos(np.radians(TILT))
        and HEIGHT[0] <= unit / np.sqrt(width * height) <= HEIGHT[1]
        and BOX[0] <= width / height <= BOX[1] + BOX[2] * abs(sine)
        and sides >= SIDES
        and ends >= ENDS
    )
