"""The face from the front, also seen from below: eyes, brows and nose; the mouth has a module of its own."""

from __future__ import annotations

import numpy as np

from drawn_faces.drawing.canvas import Pen, darker, lighter, luminance, mix, smooth
from drawn_faces.drawing.head import DARK, WHITE, wrinkles
from drawn_faces.drawing.mouth import mouth
from drawn_faces.drawing.person import Look


def face(pen: Pen, look: Look) -> None:
    """Everything that makes the head a face."""
    wrinkles(pen, look)
    for side in (-1, 1):
        eye(pen, look, side)
        brow(pen, look, side)
    nose(pen, look)
    mouth(pen, look)


def eye(pen: Pen, look: Look, side: int) -> None:
    """One eye; its own x points away from the nose."""
    own = pen.at(side * look.eye_x, look.eye_y, angle=side * look.eye_tilt, flip=side < 0)
    w, h = look.eye_w, look.eye_h
    line = darker(look.skin, 0.72)
    open_to = {"narrow": 0.7, "merry": 0.55, "sleepy": 0.2, "closed": 0, "wide": 1.3, "up": 1.0}.get(look.eyes, 1.0)
    own.ellipse(0, -0.03, w * 1.15, h * 1.55, darker(look.skin, 0.28), 0.28)
    if look.eyes == "closed":
        _closed(own, look, line)
        return
    low = 0.5 if look.eyes == "merry" else 0.85
    top = [(-w, 0.2 * h), (-0.45 * w, -0.75 * h * open_to), (0.15 * w, -h * open_to), (0.75 * w, -0.55 * h * open_to)]
    top += [(w, -0.02)]
    bottom = [(0.62 * w, 0.55 * h * low / 0.85), (0, low * h), (-0.6 * w, 0.7 * h * low / 0.85)]
    shape = smooth(top + bottom)
    lid = smooth(top, closed=False)
    with own.clip(shape):
        own.polygon(shape, WHITE)
        _iris(own, look, side)
        own.line(lid, 0.05, (60, 50, 60), 0.35, curved=False)
    if look.eyes == "sleepy":
        own.polygon(
            np.concatenate([lid, [(w, -0.5 * h), (0.2 * w, -1.15 * h), (-0.6 * w, -0.9 * h)]]), darker(look.skin, 0.13)
        )
        own.line([(-0.9 * w, -0.5 * h), (0.1 * w, -1.2 * h), (w, -0.5 * h)], 0.02, line, 0.6, ends=(0.3, 0.3))
    own.line(lid, 0.03 + 0.012 * look.lashes, line, ends=(0.5, 1.1), curved=False)
    own.line([(-0.7 * w, 0.66 * h), *bottom[::-1][1:]], 0.012, line, 0.5)
    if look.eyes != "sleepy":
        own.line([(x, y - 0.045) for x, y in top], 0.014, line, 0.45, ends=(0.3, 0.3))
    if look.lashes > 0.35:
        for k in (0.55, 0.8, 1.0):
            own.line(
                [(k * w, (-0.8 + 0.72 * k**3) * h * open_to), (k * w + 0.045, (-1.25 + 0.7 * k**3) * h)], 0.018, DARK
            )


def _iris(own: Pen, look: Look, side: int) -> None:
    h = look.eye_h
    r = max(0.068, 0.95 * h) * (0.85 if look.eyes == "wide" else 1)
    x, y = (0.0, -0.5 * h) if look.eyes == "up" else (-0.01, -0.08 * h)
    own.ellipse(x, y, r, r, darker(look.iris, 0.45))
    own.ellipse(x, y, r * 0.84, r * 0.84, look.iris)
    own.ellipse(x, y, r * 0.45, r * 0.45, (14, 10, 12))
    own.ellipse(x - side * look.lit * -0.32 * r, y - 0.34 * r, r * 0.24, r * 0.24, (255, 255, 255))


def _closed(own: Pen, look: Look, line) -> None:
    w, h = look.eye_w, look.eye_h
    own.blob(
        [(-w, 0.1 * h), (-0.5 * w, -0.7 * h), (0.3 * w, -0.8 * h), (w, 0), (0.1 * w, 0.6 * h)], darker(look.skin, 0.14)
    )
    own.line([(-w, 0), (-0.5 * w, 0.5 * h), (0.1 * w, 0.68 * h), (0.65 * w, 0.4 * h), (w, -0.05 * h)], 0.042, line)
    for k in (-0.45, 0.05, 0.5, 0.85):
        own.line([(k * w, (0.66 - 0.5 * k * k) * h), (k * w * 1.2 + 0.01, (1.2 - 0.6 * k * k) * h)], 0.02, line)


def brow(pen: Pen, look: Look, side: int) -> None:
    """One eyebrow: lowered towards the nose in anger, raised in a scream."""
    own = pen.at(side * look.eye_x, look.eye_y - look.brow_gap - look.eye_h * 0.4, flip=side < 0)
    w, arch, thick = look.eye_w * 1.15, look.brow_arch, look.brow_w
    inner, outer = 0.01, 0.03
    if look.brows == "angry":
        inner, outer, arch, thick = 0.15, -0.1, 0.0, max(thick * 1.25, 0.07)
        pen.line([(side * 0.06, look.eye_y - 0.2), (side * 0.045, look.eye_y - 0.08)], 0.025, darker(look.skin, 0.5))
    if look.eyes == "sleepy":
        inner, outer = -0.07, 0.0
    if look.brows == "raised":
        inner, outer = -0.1, -0.06
    colour = darker(look.hair_colour, 0.3) if luminance(look.hair_colour) < 190 else darker(look.hair_colour, 0.18)
    colour = mix(colour, darker(look.skin, 0.55), 0.25 if look.hair_name != "white" else 0.1)
    points = [
        (-w * 0.95, inner),
        (-0.2 * w, (inner + outer) / 2 - arch),
        (0.4 * w, outer - arch * 1.1),
        (w, outer + 0.02),
    ]
    own.line(points, thick, colour, ends=(0.8, 0.25))


def nose(pen: Pen, look: Look) -> None:
    """A shaded ridge, wings and nostrils; from below, a base with open nostrils."""
    w, y = look.nose_w, look.nose_y
    shade, line = darker(look.skin, 0.2), darker(look.skin, 0.5)
    side = -look.lit
    if look.pose == "up":
        top = look.eye_y + 0.1
        pen.blob(
            [
                (-0.05, top),
                (0.05, top),
                (w * 0.9, y),
                (w * 0.7, y + 0.13),
                (0, y + 0.17),
                (-w * 0.7, y + 0.13),
                (-w * 0.9, y),
            ],
            darker(look.skin, 0.12),
        )
        pen.ellipse(0, y - 0.04, w * 0.5, 0.08, lighter(look.skin, 0.2), 0.6)
        for s in (-1, 1):
            pen.ellipse(s * w * 0.42, y + 0.07, w * 0.24, 0.04, darker(look.skin, 0.75))
        return
    pen.blob(
        [(side * 0.02, look.eye_y + 0.02), (side * w * 0.55, y - 0.1), (side * w * 0.85, y), (0, y + 0.03)], shade, 0.55
    )
    pen.ellipse(look.lit * 0.02, y - 0.05, w * 0.42, 0.05, lighter(look.skin, 0.5), 0.35)
    pen.line(
        [
            (-w, y - 0.06),
            (-w * 0.95, y + 0.01),
            (-w * 0.45, y + 0.02),
            (0, y + 0.05),
            (w * 0.45, y + 0.02),
            (w * 0.95, y + 0.01),
            (w, y - 0.06),
        ],
        0.026,
        line,
        0.85,
        ends=(0.4, 0.4),
    )
    for s in (-1, 1):
        pen.ellipse(s * w * 0.48, y + 0.015, w * 0.2, 0.02, line)
