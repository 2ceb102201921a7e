"""Could five points be a face's? In order along its own axis, in proportion, and the same whenever one looks again."""

from __future__ import annotations

from collections.abc import Iterable

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

ASIDE = 0.2
"""Offset of the nose, in distances from eyes to mouth, up to which a face looks at the camera."""
STEADY = 0.88
"""Least score of such a face at another size: all of the 122 good portraits that YuNet finds have it, 119 have 0.90."""
LEANS = 15.0
"""Degrees of tilt up to which a face must be steady: beyond, YuNet is not, and shuffled pieces hardly ever lean."""
MOVES = ((320, 0.10), (200, 0.14))
"""Other sizes of the picture to look at, and by how much of the box's height a point may move there."""


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


def steady(points: np.ndarray, height: float, looks: Iterable[tuple[np.ndarray, float]]) -> bool:
    """Return whether the same face is found again when a detector looks at the picture at other sizes.

    `looks` are, for the picture's longer side brought to 320 and to 200 pixels (`MOVES`), the points there in pixels
    of the picture itself, and the score, of the face whose points are nearest to these; `height` is the box's height.
    Its points must stay where they were, and a face that looks at the camera must stay as certain. Shuffled pieces
    look like a face at one size, and less so, or elsewhere, at another. Tilted heads are not asked for it.

    The face check does not ask it yet: it takes YuNet two more looks at a picture, and the first one at 512 pixels.
    Ask it of the only face in a picture: a second one, plausible or not, is a reason to reject that must not get lost.
    The limits are our own, taken from six shuffles of each of 123 portraits in `tests/experiments/photographs.json`:
    of 738 YuNet accepts 221, 154 with plausible points, and 26 that are steady too; no portrait is lost.
    """
    looks = list(looks)
    if leans(points) > LEANS:
        return True
    least = STEADY if abs(_upright(points)[2][0]) < ASIDE else 0.0
    moved = [float(np.abs(other - points).max()) / height for other, _ in looks]
    return len(looks) == len(MOVES) and all(
        move < most and score >= least for move, (_, most), (_, score) in zip(moved, MOVES, looks)
    )


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
