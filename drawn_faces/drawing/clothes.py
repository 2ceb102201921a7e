"""Neck, shoulders and clothes; with arms and detail when the whole upper body shows."""

from __future__ import annotations

import numpy as np

from drawn_faces.drawing.canvas import Pen, darker, lighter, mirrored, smooth
from drawn_faces.drawing.person import Look


def body(pen: Pen, look: Look) -> None:
    """The upper body in the coordinates of an upright head."""
    shape = _torso(look)
    if look.small:
        _legs(pen, look)
        _arms(pen, look)
    pen.polygon(shape, look.cloth)
    with pen.clip(shape):
        _pattern(pen, look)
        pen.blob(
            [
                (-look.lit * 0.9, 1.3),
                (-look.lit * 0.75, 2.5),
                (-look.lit * 0.9, 6),
                (-look.lit * 4, 6),
                (-look.lit * 4, 1),
            ],
            darker(look.cloth, 0.5),
            0.3,
        )
    if look.small:
        _details(pen, look)
    neck(pen, look)


def _torso(look: Look) -> np.ndarray:
    s, n = look.shoulders, look.neck
    right = [(0, 1.3), (n * 1.2, 1.3), (s * 0.62, 1.52), (s * 0.92, 1.72)]
    right += (
        [(s, 2.3), (s * 0.86, 3.4), (s * 0.9, 4.9), (0, 4.95)]
        if look.small
        else [(s * 1.06, 2.4), (s * 1.1, 4.2), (0, 4.2)]
    )
    return smooth(mirrored(right))


def _pattern(pen: Pen, look: Look) -> None:
    if look.pattern == "stripes":
        for y in np.arange(1.6, 5.2, 0.36):
            pen.polygon([(-3, y), (3, y), (3, y + 0.16), (-3, y + 0.16)], look.trim)
    elif look.pattern == "upright":
        for x in np.arange(-2.1, 2.2, 0.42):
            pen.polygon([(x, 1), (x + 0.12, 1), (x + 0.12, 6), (x, 6)], look.trim)
    elif look.pattern == "dots":
        for n, y in enumerate(np.arange(1.6, 5, 0.34)):
            for x in np.arange(-2 + 0.2 * (n % 2), 2.1, 0.4):
                pen.ellipse(x, y, 0.08, 0.08, look.trim)
    elif look.pattern == "band":
        pen.polygon([(-3, 2.1), (3, 2.1), (3, 2.6), (-3, 2.6)], look.trim)


def neck(pen: Pen, look: Look) -> None:
    """The neck and the collar around it."""
    n, shade = look.neck, darker(look.skin, 0.2)
    _COLLARS[look.collar](pen, look)
    pen.polygon([(-n, 0.4), (n, 0.4), (n * 1.06, 1.36), (0, 1.55), (-n * 1.06, 1.36)], look.skin)
    with pen.clip([(-n, 0.4), (n, 0.4), (n * 1.06, 1.36), (-n * 1.06, 1.36)]):
        pen.ellipse(look.lit * -0.05, 0.75, 0.62, 0.5, shade)
    if look.collar == "turtle":
        pen.blob(
            [(-n * 1.15, 1.12), (0, 1.18), (n * 1.15, 1.12), (n * 1.4, 1.5), (0, 1.62), (-n * 1.4, 1.5)],
            darker(look.cloth, 0.12),
        )
    if look.collar in ("shirt", "jacket"):
        colour = look.trim if look.collar == "jacket" else lighter(look.cloth, 0.25)
        for s in (-1, 1):
            pen.polygon([(s * n * 0.98, 1.12), (s * n * 1.5, 1.36), (s * n * 1.15, 1.86), (s * 0.04, 1.6)], colour)
            pen.line([(s * n * 1.15, 1.86), (s * 0.04, 1.6)], 0.03, darker(colour, 0.3))


def _crew(pen: Pen, look: Look) -> None:
    n = look.neck
    pen.ellipse(0, 1.34, n * 1.42, 0.36, look.trim if look.pattern != "plain" else darker(look.cloth, 0.2))
    pen.ellipse(0, 1.31, n * 1.24, 0.28, look.skin)


def _vneck(pen: Pen, look: Look) -> None:
    n = look.neck
    pen.polygon([(-n * 1.5, 1.25), (n * 1.5, 1.25), (0, 2.25)], darker(look.cloth, 0.25))
    pen.polygon([(-n * 1.3, 1.25), (n * 1.3, 1.25), (0, 2.08)], look.skin)


def _shirt(pen: Pen, look: Look) -> None:
    n, line = look.neck, darker(look.cloth, 0.35)
    pen.polygon([(-n, 1.3), (n, 1.3), (0, 1.72)], look.skin)
    pen.line([(0, 1.68), (0, 4.9)], 0.03, line)
    for y in np.arange(2.0, 4.8, 0.5):
        pen.ellipse(0.08, y, 0.055, 0.055, line)


def _turtle(pen: Pen, look: Look) -> None:
    pen.ellipse(0, 1.4, look.neck * 1.5, 0.3, darker(look.cloth, 0.2))


def _hoodie(pen: Pen, look: Look) -> None:
    n = look.neck
    pen.blob(
        [
            (-n * 1.3, 0.95),
            (-n * 2.2, 1.3),
            (-n * 1.6, 1.75),
            (0, 1.95),
            (n * 1.6, 1.75),
            (n * 2.2, 1.3),
            (n * 1.3, 0.95),
        ],
        darker(look.cloth, 0.2),
    )
    pen.blob([(-n * 1.2, 1.1), (-n * 1.3, 1.5), (0, 1.72), (n * 1.3, 1.5), (n * 1.2, 1.1)], look.skin)
    for s in (-1, 1):
        pen.line([(s * 0.2, 1.75), (s * 0.22, 2.4)], 0.05, look.trim)


def _jacket(pen: Pen, look: Look) -> None:
    """A jacket open over a shirt of the second colour."""
    n, line = look.neck, darker(look.cloth, 0.35)
    pen.polygon([(-n * 1.3, 1.28), (n * 1.3, 1.28), (0.12, 3.1), (0.12, 5), (-0.12, 5), (-0.12, 3.1)], look.trim)
    pen.polygon([(-n, 1.3), (n, 1.3), (0, 1.72)], look.skin)
    for s in (-1, 1):
        pen.polygon(
            [(s * n * 1.25, 1.3), (s * n * 1.9, 1.5), (s * n * 1.6, 2.2), (s * 0.12, 3.1)], darker(look.cloth, 0.18)
        )
        pen.line([(s * 0.12, 3.1), (s * 0.12, 4.9)], 0.03, line)


_COLLARS = {"crew": _crew, "vneck": _vneck, "shirt": _shirt, "turtle": _turtle, "hoodie": _hoodie, "jacket": _jacket}


def _arms(pen: Pen, look: Look) -> None:
    """Sleeves, long or short, and hands."""
    s, bare = look.shoulders, look.detail % 2
    for side in (-1, 1):
        path = smooth([(side * s * 0.86, 1.95), (side * s * 1.14, 3.4), (side * (s * 1.1 + 0.1), 5.0)], closed=False)
        pen.line(path, 0.44, look.skin, ends=(1, 0.8), curved=False)
        pen.ellipse(path[-1, 0], path[-1, 1] + 0.15, 0.2, 0.3, look.skin)
        sleeve = path[: len(path) // 2 if bare else len(path) - 2]
        pen.line(sleeve, 0.58, darker(look.cloth, 0.12), ends=(1, 1), curved=False)
        if not bare:
            pen.line(path[-4:-2], 0.5, look.trim, curved=False)


def _legs(pen: Pen, look: Look) -> None:
    """Trousers or a skirt below the waist."""
    s, colour = look.shoulders, darker(look.trim, 0.45) if look.detail % 3 else (58, 70, 110)
    if look.detail % 5 == 0:
        pen.polygon([(-s * 0.85, 4.7), (s * 0.85, 4.7), (s * 1.3, 8), (-s * 1.3, 8)], colour)
    else:
        pen.polygon(
            [(-s * 0.88, 4.7), (s * 0.88, 4.7), (s * 0.95, 9), (0.1, 9), (0, 6.2), (-0.1, 9), (-s * 0.95, 9)], colour
        )


def _details(pen: Pen, look: Look) -> None:
    """Pockets, a seam or zip, and a belt or hem."""
    s, line = look.shoulders, darker(look.cloth, 0.4)
    for side in (-1, 1):
        pen.line([(side * s * 0.8, 2.3), (side * s * 0.74, 3.6), (side * s * 0.8, 4.8)], 0.05, line, 0.7)
    if look.collar in ("crew", "turtle", "vneck"):
        pen.polygon([(0.25, 2.5), (0.75, 2.5), (0.75, 3.0), (0.5, 3.12), (0.25, 3.0)], darker(look.trim, 0.1))
    if look.collar == "hoodie":
        pen.polygon([(-0.7, 3.7), (0.7, 3.7), (0.9, 4.6), (-0.9, 4.6)], darker(look.cloth, 0.2))
    hem = look.trim if look.detail % 4 else (70, 48, 36)
    pen.polygon([(-s * 0.86, 4.68), (s * 0.86, 4.68), (s * 0.86, 4.94), (-s * 0.86, 4.94)], hem)
    pen.polygon([(-0.12, 4.66), (0.12, 4.66), (0.12, 4.96), (-0.12, 4.96)], lighter(hem, 0.5))
