"""Surgical masks and gas masks, in the coordinates of a head pen."""

from __future__ import annotations

import numpy as np

from drawn_faces.drawing.canvas import Pen, darker, lighter, luminance, mirrored, smooth
from drawn_faces.drawing.person import Look

CLOTH_MASKS = [(150, 204, 226), (240, 242, 244), (40, 42, 48), (236, 172, 190), (150, 206, 176)]


def mask(pen: Pen, look: Look) -> None:
    """A surgical mask over nose and mouth, or a gas mask over the whole face."""
    if look.mask:
        {"surgical": _surgical, "gas": _gas}[look.mask](pen, look, np.random.default_rng([look.detail, 3]))


def _surgical(pen: Pen, look: Look, rng) -> None:
    colour, w = CLOTH_MASKS[rng.integers(len(CLOTH_MASKS))], look.width
    top, line = look.nose_y - 0.17, darker(colour, 0.25) if luminance(colour) > 80 else lighter(colour, 0.3)
    for side in (-1, 1):
        loop = [(side * 0.78 * w, top + 0.1), (side * 1.0 * w, top - 0.16), (side * 1.03 * w, -0.02)]
        pen.line(loop, 0.03, line)
        pen.line([(side * 0.75 * w, 0.72), (side * w * 0.97, 0.4), (side * 1.04 * w, 0.16)], 0.03, line)
    right = [
        (0, top - 0.06),
        (0.4 * w, top + 0.02),
        (0.86 * w, top + 0.12),
        (0.84 * w, 0.62),
        (0.5 * w, 0.96),
        (0, 1.05),
    ]
    points = smooth(mirrored(right))
    pen.polygon(points, colour)
    with pen.clip(points):
        pen.polygon(
            [(-look.lit * 0.35, 0), (-look.lit * 0.2, 1.2), (-look.lit * 1.5, 1.2), (-look.lit * 1.5, 0)],
            darker(colour, 0.3),
            0.25,
        )
        for y in (0.3, 0.55, 0.8):
            v = top + (1.05 - top) * y
            pen.line([(-w, v - 0.05), (0, v + 0.04), (w, v - 0.05)], 0.025, line)
    pen.line(points[[*range(len(points)), 0, 1]], 0.02, line, curved=False)


def _gas(pen: Pen, look: Look, rng) -> None:
    rubber = [(46, 50, 48), (72, 84, 62), (38, 40, 46), (104, 98, 76)][rng.integers(4)]
    w, y = look.width, look.eye_y
    for top in (-0.95, -0.45):
        pen.line(
            [(-w * 1.02, top + 0.3), (-0.3, top + 0.02), (0.3, top + 0.02), (w * 1.02, top + 0.3)],
            0.09,
            darker(rubber, 0.4),
        )
    right = [(0, -0.5), (0.6 * w, -0.48), (0.98 * w, -0.15), (w, 0.3), (0.8 * w, 0.8), (0.4 * w, 1.08), (0, 1.12)]
    points = smooth(mirrored(right))
    pen.polygon(points, rubber)
    with pen.clip(points):
        pen.blob(
            [(-look.lit * 0.5, -1), (-look.lit * 0.3, 0.4), (0, 1.3), (-look.lit * 1.6, 1.2), (-look.lit * 1.6, -1)],
            darker(rubber, 0.5),
            0.5,
        )
    tint = [(120, 160, 170), (200, 170, 90), (150, 190, 160)][rng.integers(3)]
    for side in (-1, 1):
        x = side * max(look.eye_x, 0.33)
        pen.ellipse(x, y, 0.27, 0.27, darker(rubber, 0.5))
        pen.ellipse(x, y, 0.22, 0.22, tint)
        pen.ellipse(x, y + 0.03, 0.1, 0.08, darker(tint, 0.5), 0.5)
        pen.line([(x - 0.12, y - 0.02), (x - 0.07, y - 0.11), (x + 0.02, y - 0.14)], 0.04, (255, 255, 255), 0.8)
    _filters(pen, look, rubber, side=rng.choice([-1, 1]), two=rng.random() < 0.5)


def _filters(pen: Pen, look: Look, rubber, side: int, two: bool) -> None:
    """The canisters of a gas mask: one before the mouth, or one on each cheek."""
    metal = lighter(rubber, 0.35)
    for x in (-0.48, 0.48) if two else (0,):
        y = 0.78 if two else 0.72
        pen.ellipse(x, y, 0.33, 0.33, darker(rubber, 0.6))
        pen.ellipse(x, y, 0.27, 0.27, metal)
        for n in (-0.14, -0.05, 0.05, 0.14):
            pen.line([(x - 0.15, y + n), (x + 0.15, y + n)], 0.035, darker(rubber, 0.5))
    if two:
        pen.ellipse(0, 0.58, 0.13, 0.13, darker(rubber, 0.55))
