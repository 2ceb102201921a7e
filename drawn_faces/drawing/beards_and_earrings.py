"""Beards and earrings, in the coordinates of a head pen."""

from __future__ import annotations

import numpy as np

from drawn_faces.drawing.canvas import Pen, darker, lighter, luminance, mirrored, smooth
from drawn_faces.drawing.person import Look


def beard(pen: Pen, look: Look) -> None:
    """A mustache, sideburns or a goatee, a little darker than the hair."""
    if not look.beard:
        return
    colour = darker(look.hair_colour, 0.2)
    if luminance(look.skin) - luminance(colour) < 45:
        colour = (12, 9, 10) if luminance(look.skin) > 75 else colour
        colour = colour if luminance(look.hair_colour) < luminance(look.skin) else lighter(look.hair_colour, 0.1)
    {"mustache": _mustache, "sideburns": _sideburns, "goatee": _goatee}[look.beard](pen, look, colour)


def _mustache(pen: Pen, look: Look, colour) -> None:
    w, top = look.mouth_w * 1.25, look.nose_y + 0.06
    y, style = look.mouth_y - 0.03, look.detail % 3
    ends = {0: (w * 1.1, y + 0.05), 1: (w * 1.45, y - 0.13), 2: (w * 1.15, y + 0.26)}[style]
    right = [
        (0, top + 0.02),
        (0.35 * w, top),
        (0.8 * w, y - 0.07),
        ends,
        (0.7 * w, y + 0.05),
        (0.3 * w, y + 0.02),
        (0, y - 0.03),
    ]
    pen.polygon(smooth(mirrored(right)), colour)
    for x in (-0.6, -0.35, 0.35, 0.6):
        pen.line([(x * w * 0.6, top + 0.03), (x * w, y)], 0.018, lighter(colour, 0.25), 0.7)


def _sideburns(pen: Pen, look: Look, colour) -> None:
    w, jaw = look.width, look.jaw
    for s in (-1, 1):
        shape = [
            (s * w * 1.02, -0.3),
            (s * w * 0.84, -0.26),
            (s * w * 0.8, 0.1),
            (s * w * 0.74, 0.36),
            (s * w * 0.48, 0.58),
        ]
        shape += [(s * w * jaw * 0.8, 0.78), (s * w * jaw * 1.06, 0.66), (s * w * 0.99, 0.34), (s * w * 1.02, 0)]
        pen.blob(shape, colour)
        for k in (0.1, 0.3, 0.48):
            pen.line([(s * w * 0.93, k - 0.08), (s * w * 0.84, k + 0.08)], 0.022, lighter(colour, 0.22), 0.7)


def _goatee(pen: Pen, look: Look, colour) -> None:
    w, y = look.mouth_w * 1.2, look.mouth_y
    long = 1.08 + 0.16 * (look.detail % 3)
    ring = [
        (0, y + 0.17),
        (0.5 * w, y + 0.14),
        (0.86 * w, y - 0.02),
        (1.06 * w, y + 0.02),
        (0.98 * w, y + 0.22),
        (0.6 * w, 0.98),
        (0, long),
    ]
    if look.detail % 2:
        ring = [(0, y + 0.16), (0.35 * w, y + 0.16), (0.75 * w, y + 0.24), (0.5 * w, 0.98), (0, long)]
    pen.polygon(smooth(mirrored(ring)), colour)
    for x in (-0.3, 0, 0.3):
        pen.line([(x * w, y + 0.24), (x * w * 0.7, 0.95)], 0.022, lighter(colour, 0.22), 0.7)


def earrings(pen: Pen, look: Look) -> None:
    """Large earrings at both lobes."""
    if not look.earrings:
        return
    rng = np.random.default_rng([look.detail, 4])
    metal = [(236, 190, 60), (222, 224, 230), (230, 80, 110), (60, 190, 190)][rng.integers(4)]
    stone = [(226, 50, 80), (50, 140, 220), (70, 190, 110), (250, 246, 238)][rng.integers(4)]
    for side in (-1, 1):
        own = pen.at(side * (look.width + 0.06), look.eye_y + 0.34, 1, 0)
        own.ellipse(0, 0, 0.05, 0.05, metal)
        {"hoop": _hoop, "drop": _drop, "pearl": _pearl, "star": _star}[look.earrings](own, metal, stone)


def _hoop(own: Pen, metal, stone) -> None:
    own.ring(0, 0.22, 0.17, 0.22, 0.085, darker(metal, 0.35))
    own.ring(0, 0.22, 0.17, 0.22, 0.055, metal)


def _drop(own: Pen, metal, stone) -> None:
    own.line([(0, 0), (0, 0.2)], 0.035, metal)
    own.blob([(0, 0.14), (0.12, 0.38), (0, 0.52), (-0.12, 0.38)], darker(stone, 0.25))
    own.blob([(0, 0.18), (0.09, 0.38), (0, 0.47), (-0.09, 0.38)], stone)
    own.ellipse(-0.03, 0.36, 0.025, 0.04, (255, 255, 255), 0.8)


def _pearl(own: Pen, metal, stone) -> None:
    for y, r in ((0.06, 0.09), (0.24, 0.11), (0.47, 0.14)):
        own.ellipse(0, y, r, r, darker(stone, 0.25))
        own.ellipse(-0.01, y - 0.01, r * 0.82, r * 0.82, stone)
        own.ellipse(-0.03, y - 0.03, r * 0.25, r * 0.25, (255, 255, 255), 0.9)


def _star(own: Pen, metal, stone) -> None:
    angle = np.arange(10) * np.pi / 5 - np.pi / 2
    r = np.where(np.arange(10) % 2, 0.1, 0.22)
    points = np.stack([np.cos(angle) * r, np.sin(angle) * r + 0.26], 1)
    own.line([(0, 0), (0, 0.15)], 0.035, metal)
    own.polygon(points * (1.2, 1.0), darker(metal, 0.35))
    own.polygon(points * (0.95, 0.8) + (0, 0.05), metal)
