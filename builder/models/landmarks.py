"""Could five points be a face's? Eyes above nose above mouth along the face's own axis, in proportion, in the box."""

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
"""Least distance of the points from the box's left and right edge: a profile's nose may stick out. Photographs: -0.07."""
ENDS = 0.08
"""Least distance of the points from its top and bottom edge: there are a forehead and a chin. Photographs from 0.15."""


def plausible(points: np.ndarray, box: tuple[float, float, float, float]) -> bool:
    """Return whether five points can be those of one face in its box, whichever way it looks and however it is tilted.

    `points` are YuNet's, (5, 2), x and y in pixels: right eye, left eye, nose, right and left corner of the mouth, the
    person's right being on the picture's left; `box` is left, top, width and height. Lengths are measured in distances
    from the eyes' middle to the mouth's, along that axis and across it, so that tilted heads are judged like upright
    ones; the widths' lower limits shrink as the nose moves aside, so that full profiles pass.

    The limits are our own: what YuNet says of the 193 photographs of one face, and of the same turned by 30° and 45°,
    that `tests/experiments/photographs.py` measures on, with some room. Most faces whose pieces were shuffled get
    plausible points from YuNet all the same: it has learnt where points belong.

    >>> plausible(np.array([[40, 50], [80, 50], [60, 72], [45, 90], [75, 90]]), (20, 10, 80, 110))
    True
    >>> plausible(np.array([[40, 90], [80, 90], [60, 72], [45, 50], [75, 50]]), (20, 10, 80, 110))  # upside down
    False
    """
    _, _, width, height = box
    points = np.asarray(points, float)
    if points.shape != (5, 2) or not np.isfinite(points).all() or min(width, height) <= 0:
        return False
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    unit = float(np.hypot(*(mouth - eyes)))
    if unit == 0:
        return False
    down = (mouth - eyes) / unit
    face = ((points - eyes) @ np.array([[down[1], down[0]], [-down[0], down[1]]])) / unit
    return _proportions(face) and _fits(points, box, unit, float(down[0]), float(down[1]))


def _proportions(face: np.ndarray) -> bool:
    """Whether the points, in the face's own axes (to its left, and down; the eyes' middle is 0, the mouth's 0, 1), are
    in proportion."""
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
