"""Glasses, sunglasses, swimming and skiing goggles, in the coordinates of a head pen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from drawn_faces.drawing.canvas import Pen, darker, lighter, luminance, mirrored, mix, smooth
from drawn_faces.drawing.person import CLOTHES, Look

FRAMES = [
    (30, 28, 34),
    (120, 70, 40),
    (150, 30, 44),
    (40, 70, 130),
    (196, 160, 70),
    (70, 74, 80),
    (238, 236, 230),
    (240, 190, 60),
]


TINTS = [(40, 130, 190), (230, 120, 40), (60, 170, 120), (200, 60, 120), (60, 60, 80)]


def glasses(pen: Pen, look: Look) -> None:
    """Glasses of the look's kind, over the eyes."""
    if look.glasses:
        {"clear": _clear, "sun": _sun, "swim": _swim, "ski": _ski}[look.glasses](
            pen, look, np.random.default_rng([look.detail, 2])
        )


def _lens(kind: str, r: float) -> np.ndarray:
    """A lens whose x points away from the nose."""
    shapes = {
        "round": [
            (0, -r),
            (0.72 * r, -0.72 * r),
            (r, 0),
            (0.7 * r, 0.7 * r),
            (0, r),
            (-0.7 * r, 0.7 * r),
            (-r, 0),
            (-0.7 * r, -0.7 * r),
        ],
        "wide": [
            (-r, -0.6 * r),
            (0, -0.72 * r),
            (1.08 * r, -0.66 * r),
            (1.12 * r, 0.2 * r),
            (0.8 * r, 0.7 * r),
            (-0.7 * r, 0.7 * r),
            (-r, 0.3 * r),
        ],
        "cat": [
            (-r, -0.4 * r),
            (0, -0.62 * r),
            (1.25 * r, -1.0 * r),
            (1.1 * r, 0),
            (0.6 * r, 0.66 * r),
            (-0.6 * r, 0.62 * r),
            (-r, 0.2 * r),
        ],
        "drop": [
            (-r, -0.6 * r),
            (0, -0.75 * r),
            (1.1 * r, -0.65 * r),
            (1.1 * r, 0.2 * r),
            (0.5 * r, 0.95 * r),
            (-0.4 * r, 0.85 * r),
            (-0.95 * r, 0.1 * r),
        ],
    }
    return smooth(shapes[kind])


def _framed(pen: Pen, look: Look, kind: str, width: float, frame, lens, alpha: float) -> None:
    r, y = min(0.26, look.eye_x * 0.78), look.eye_y + 0.02
    for side in (-1, 1):
        own = pen.at(side * look.eye_x, y, flip=side < 0)
        points = _lens(kind, r)
        own.polygon(points, lens, alpha)
        with own.clip(points):
            own.polygon([(-0.2, 0.3), (-0.08, 0.3), (0.16, -0.3), (0.04, -0.3)], (255, 255, 255), 0.3)
        own.line(np.concatenate([points, points[:2]]), width, frame, curved=False)
        own.line([(r, -0.06), (look.width - look.eye_x + 0.04, -0.07)], width, frame)
    pen.line([(-look.eye_x + r, y - 0.03), (0, y - 0.08), (look.eye_x - r, y - 0.03)], width, frame)


def _clear(pen: Pen, look: Look, rng) -> None:
    kind = str(rng.choice(["round", "wide", "cat"]))
    shown = [frame for frame in FRAMES if abs(luminance(frame) - luminance(look.skin)) > 55]
    frame = shown[rng.integers(len(shown))]
    _framed(pen, look, kind, rng.uniform(0.05, 0.08), frame, (226, 240, 250), 0.12)


def _sun(pen: Pen, look: Look, rng) -> None:
    lens = mix((20, 20, 26), TINTS[rng.integers(len(TINTS))], rng.uniform(0, 0.25))
    frame = (212, 178, 90) if rng.random() < 0.3 else (12, 12, 16)
    look = look if look.eye_x > 0.33 else _spread(look)
    _framed(pen, look, str(rng.choice(["round", "wide", "drop", "cat"])), 0.06, frame, lens, 1.0)


def _spread(look: Look) -> Look:
    return replace(look, eye_x=0.34)


def _strap(pen: Pen, look: Look, y: float, width: float, colour) -> None:
    for side in (-1, 1):
        pen.polygon(
            [
                (side * 0.4, y - width / 2),
                (side * (look.width + 0.07), y - width / 2 - 0.08),
                (side * (look.width + 0.07), y + width / 2 - 0.08),
                (side * 0.4, y + width / 2),
            ],
            colour,
        )


def _swim(pen: Pen, look: Look, rng) -> None:
    tint, y = TINTS[rng.integers(len(TINTS))], look.eye_y
    rubber = CLOTHES[rng.integers(7)]
    _strap(pen, look, y, 0.2, rubber)
    pen.line([(-0.14, y), (0, y - 0.03), (0.14, y)], 0.1, rubber)
    for side in (-1, 1):
        own = pen.at(side * max(look.eye_x, 0.35), y, 1.3, flip=side < 0)
        cup = [(-0.24, -0.02), (-0.1, -0.17), (0.14, -0.17), (0.3, -0.03), (0.14, 0.16), (-0.1, 0.17)]
        own.blob(cup, darker(rubber, 0.25))
        own.blob([(x * 0.72, v * 0.66) for x, v in cup], lighter(tint, 0.25), 0.85)
        own.blob([(-0.12, -0.08), (0.05, -0.1), (0.0, -0.04), (-0.12, -0.02)], (255, 255, 255), 0.75)


def _ski(pen: Pen, look: Look, rng) -> None:
    tint, y, w = TINTS[rng.integers(4)], look.eye_y, look.width
    frame = [(30, 30, 36), (240, 240, 240), (196, 60, 62)][rng.integers(3)]
    _strap(pen, look, y, 0.26, darker(CLOTHES[rng.integers(len(CLOTHES))], 0.15))
    visor = [
        (0, -0.3),
        (0.45 * w, -0.33),
        (0.92 * w, -0.26),
        (0.98 * w, 0.02),
        (0.8 * w, 0.26),
        (0.3 * w, 0.3),
        (0, 0.17),
    ]
    own = pen.at(0, y)
    own.polygon(smooth(mirrored(visor)), frame)
    inside = smooth(mirrored([(x * 0.9, v * 0.78) for x, v in visor]))
    own.polygon(inside, tint)
    with own.clip(inside):
        own.polygon([(-1, 0.02), (1, -0.06), (1, 0.5), (-1, 0.5)], darker(tint, 0.45), 0.5)
        own.polygon([(-0.5, 0.4), (-0.3, 0.4), (0.0, -0.4), (-0.2, -0.4)], (255, 255, 255), 0.55)
        own.polygon([(-0.2, 0.4), (-0.13, 0.4), (0.17, -0.4), (0.1, -0.4)], (255, 255, 255), 0.45)
