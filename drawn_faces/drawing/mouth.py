"""Mouths from the front: closed lips, smiles, frowns, bared teeth and open mouths."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from drawn_faces.drawing.canvas import Pen, darker, lighter, mix, smooth
from drawn_faces.drawing.head import WHITE, blush
from drawn_faces.drawing.person import Look


def mouth(pen: Pen, look: Look) -> None:
    """The mouth in the look's state."""
    own = pen.at(0, look.mouth_y)
    _MOUTHS.get(look.mouth, _neutral)(own, look, lip_colour(look))


def lip_colour(look: Look):
    if look.makeup in ("full", "joker"):
        return (178, 18, 48)
    return mix(darker(look.skin, 0.22), (188, 58, 68), look.lip_red)


def _lips(own: Pen, look: Look, colour, bend: float) -> None:
    """Closed lips whose corners are raised by `bend`."""
    w, h, line = look.mouth_w, look.lip_h, darker(look.skin, 0.62)
    under = [
        (-0.8 * w, 0.02 - 0.6 * bend),
        (-0.3 * w, h * 1.05),
        (0, h * 1.2),
        (0.3 * w, h * 1.05),
        (0.8 * w, 0.02 - 0.6 * bend),
    ]
    own.blob([(-w, -bend), *under, (w, -bend)], lighter(colour, 0.14))
    over = [(-0.5 * w, -0.5 * h - 0.4 * bend), (-0.15 * w, -0.9 * h), (0, -0.7 * h), (0.15 * w, -0.9 * h)]
    over += [(0.5 * w, -0.5 * h - 0.4 * bend)]
    middle = [(w, -bend), (0.5 * w, -0.28 * bend), (0, 0.02), (-0.5 * w, -0.28 * bend), (-w, -bend)]
    own.blob(over + middle, colour)
    own.line(middle, 0.026, line, ends=(0.6, 0.6))


def _neutral(own: Pen, look: Look, colour) -> None:
    _lips(own, look, colour, 0.0)


def _smile(own: Pen, look: Look, colour) -> None:
    w, line = look.mouth_w * 1.5, darker(look.skin, 0.45)
    _lips(own, replace(look, mouth_w=w), colour, 0.19)
    for s in (-1, 1):
        blush(own, s * (w + 0.1), -0.24, 0.16)
        own.line(
            [(s * (w + 0.01), -0.28), (s * (w + 0.07), -0.19), (s * (w + 0.04), -0.09)], 0.036, line, ends=(0.3, 0.3)
        )


def _frown(own: Pen, look: Look, colour) -> None:
    _lips(own, replace(look, mouth_w=look.mouth_w * 1.05, lip_h=look.lip_h * 0.7), colour, -0.1)


def _sneer(own: Pen, look: Look, colour) -> None:
    """A crooked mouth that shows clenched teeth."""
    w, s = look.mouth_w * 1.1, look.lit
    shape = [(-w, 0.05), (-0.5 * w, -0.06), (0.5 * w, -0.07), (w, 0.04), (0.6 * w, 0.09), (-0.6 * w, 0.1)]
    own.blob([(x * 1.15, y * 1.6) for x, y in shape], colour)
    with own.clip(smooth(shape)):
        own.blob(shape, WHITE)
        own.line([(-w, 0.015), (w, 0.015)], 0.015, (120, 110, 110))
        for x in np.linspace(-0.8, 0.8, 7):
            own.line([(x * w, -0.1), (x * w, 0.12)], 0.012, (150, 140, 140))
    own.line(
        [(s * w * 1.1, -0.26), (s * w * 1.5, -0.06), (s * w * 1.4, 0.08)],
        0.028,
        darker(look.skin, 0.4),
        ends=(0.3, 0.3),
    )


def _open(own: Pen, colour, shape, teeth: float, lower: float) -> None:
    """An open mouth: lips around a dark inside with teeth and tongue."""
    points = smooth(shape)
    top, bottom = points[:, 1].min(), points[:, 1].max()
    wide = points[:, 0].max()
    own.line(np.concatenate([points, points[:2]]), 0.075, colour, curved=False)
    with own.clip(points):
        own.polygon(points, (72, 14, 24))
        own.ellipse(0, bottom, wide * 0.7, (bottom - top) * 0.36, (206, 88, 96))
        own.polygon([(-1, top - 1), (1, top - 1), (1, top + teeth), (-1, top + teeth)], WHITE)
        own.polygon([(-1, bottom - lower), (1, bottom - lower), (1, 2), (-1, 2)], WHITE)


def _laugh(own: Pen, look: Look, colour) -> None:
    w = look.mouth_w * 1.4
    _open(own, colour, [(-w, -0.1), (0, -0.04), (w, -0.1), (0.72 * w, 0.13), (0, 0.24), (-0.72 * w, 0.13)], 0.13, 0)
    for s in (-1, 1):
        blush(own, s * (w + 0.08), -0.26, 0.17)
        own.line(
            [(s * w, -0.24), (s * (w + 0.09), -0.12), (s * (w + 0.07), 0)],
            0.025,
            darker(look.skin, 0.45),
            ends=(0.3, 0.3),
        )


def _yell(own: Pen, look: Look, colour) -> None:
    w = look.mouth_w * 1.1
    shape = [(-0.8 * w, -0.13), (0, -0.17), (0.8 * w, -0.13), (w, 0.1), (0.6 * w, 0.21), (-0.6 * w, 0.21), (-w, 0.1)]
    _open(own, colour, shape, 0.09, 0.06)


def _scream(own: Pen, look: Look, colour) -> None:
    w = look.mouth_w
    _open(
        own.at(0, 0.03),
        colour,
        [(0, -0.2), (0.75 * w, -0.1), (0.82 * w, 0.1), (0, 0.29), (-0.82 * w, 0.1), (-0.75 * w, -0.1)],
        0.08,
        0,
    )


_MOUTHS = {"smile": _smile, "frown": _frown, "sneer": _sneer, "laugh": _laugh, "yell": _yell, "scream": _scream}
