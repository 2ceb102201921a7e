"""The head from the front without its face: outline, ears, shade, cheeks and wrinkles.

A head pen has its origin in the middle of the head; the crown is at y = -1, the chin at y = 1.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from drawn_faces.drawing.canvas import Pen, darker, lighter, mirrored, smooth
from drawn_faces.drawing.person import Look

ROSE = (196, 60, 70)
DARK = (34, 22, 24)
WHITE = (250, 248, 244)
OLD = 0.6
"""Wrinkles from which a face is that of someone over sixty; see `look`."""


def outline(look: Look) -> np.ndarray:
    """The smooth outline of the head."""
    w, jaw = look.width, look.jaw
    right = [(0, -1), (0.55 * w, -0.9), (0.92 * w, -0.52), (w, -0.05), (look.cheek * w, 0.34)]
    right += [(jaw * w, 0.7), (look.chin * w, 0.95), (0, 1.0)]
    return smooth(mirrored(right))


def tilted_back(look: Look) -> Look:
    """Where the features of the face lie when the head is tilted back."""
    return replace(
        look,
        eye_y=look.eye_y - 0.4,
        nose_y=look.nose_y - 0.46,
        mouth_y=look.mouth_y - 0.42,
        eye_h=look.eye_h * 0.9,
        brow_gap=look.brow_gap * 0.8,
        eyes="up",
    )


def bare_head(pen: Pen, look: Look) -> None:
    """Ears and the head's skin with shade, cheeks and freckles; nothing of the face."""
    back = look.pose == "up"
    shade = darker(look.skin, 0.16)
    for side in (-1, 1):
        ear = pen.at(side * look.width * 0.99, 0.2 if back else look.eye_y + 0.1, 1, flip=side < 0)
        ear.blob([(-0.04, -0.2), (0.08, -0.25), (0.15, -0.12), (0.11, 0.1), (0.03, 0.22), (-0.06, 0.16)], look.skin)
        ear.line([(0.02, -0.13), (0.09, -0.12), (0.07, 0.04), (0.02, 0.1)], 0.025, shade)
    points = outline(look)
    pen.polygon(points, look.skin)
    with pen.clip(points):
        dark = look.lit * look.width
        pen.blob(
            [(-dark * 0.72, -1.1), (-dark * 0.7, 0), (-dark * 0.5, 0.72), (0, 1.05), (-2 * dark, 1.1)], shade, 0.35
        )
        for side in (-1, 1):
            blush(pen, side * look.width * 0.6, (look.eye_y + look.mouth_y) / 2 + 0.06, 0.18, 0.04)
        if back:
            _underside(pen, look)
        if look.stubble:
            pen.blob([(-1, 0.3), (-0.5, 0.5), (0, 0.44), (0.5, 0.5), (1, 0.3), (0, 1.6)], DARK, look.stubble)
        if look.freckles:
            _freckles(pen, look)


def blush(pen: Pen, x: float, y: float, radius: float, strength: float = 0.09, colour=ROSE) -> None:
    """A soft round of colour on a cheek."""
    for share in (1.0, 0.8, 0.6, 0.4):
        pen.ellipse(x, y, radius * share, radius * share * 0.75, colour, strength)


def _underside(pen: Pen, look: Look) -> None:
    """The shaded plane between chin and neck, below a chin that is nearer than the rest."""
    w = look.width
    under = darker(look.skin, 0.24)
    half = [(0.4 * w, 0.57), (0.78 * w, 0.41), (1.1 * w, 0.14)]
    jaw = [*((-x, y) for x, y in half[::-1]), (0, 0.62), *half]
    pen.polygon(np.concatenate([smooth(jaw, closed=False), [(1.2, 1.2), (-1.2, 1.2)]]), under)
    pen.ellipse(0, 0.48, 0.17, 0.1, lighter(look.skin, 0.25), 0.5)
    pen.line([(-0.3, 0.6), (0, 0.63), (0.3, 0.6)], 0.03, darker(look.skin, 0.45), ends=(0.2, 0.2))


def _freckles(pen: Pen, look: Look) -> None:
    rng = np.random.default_rng(look.detail)
    for x, y in rng.uniform((-0.45, look.eye_y + 0.14), (0.45, look.nose_y + 0.05), (18, 2)):
        pen.ellipse(x, y, 0.014, 0.014, darker(look.skin, 0.3), 0.6)


def wrinkles(pen: Pen, look: Look) -> None:
    """The signs of age: soft shades first, wide enough to be read in a small picture, then the lines in them."""
    if look.wrinkles > 0:
        _sagging(pen, look)
        _lines(pen, look)


def _sagging(pen: Pen, look: Look) -> None:
    """The fold between nose and mouth, bags under the eyes, and, in the old, hollow cheeks and jowls."""
    amount, shade = look.wrinkles, darker(look.skin, 0.34)
    x, ey, mw, my = look.nose_w, look.eye_y, look.mouth_w, look.mouth_y
    for s in (-1, 1):
        fold = [(s * x, look.nose_y - 0.06), (s * (x + 0.16), look.nose_y + 0.14), (s * (mw + 0.1), my + 0.06)]
        pen.blob([*fold, (s * (mw + 0.02), my - 0.02), (s * (x + 0.07), look.nose_y + 0.1)], shade, 0.3 + 0.3 * amount)
        if amount > 0.3:
            under = [(s * look.eye_x + k * look.eye_w, ey + dy) for k, dy in ((-1, 0.07), (0, 0.11), (1, 0.06))]
            over = [(s * look.eye_x + k * look.eye_w, ey + dy) for k, dy in ((0.6, 0.17), (0, 0.2), (-0.6, 0.18))]
            pen.blob(under + over, shade, 0.25 + 0.3 * amount)
        if amount > OLD:
            w = look.width
            pen.blob([(s * 0.9 * w, 0.1), (s * 0.5 * w, 0.3), (s * 0.52 * w, 0.52), (s * 0.8 * w, 0.5)], shade, 0.5)
            pen.blob([(s * mw, my + 0.1), (s * (mw + 0.12), my + 0.1), (s * 1.4 * mw, 0.93), (s * mw, 0.9)], shade, 0.6)


def _lines(pen: Pen, look: Look) -> None:
    """Lines of the forehead, of the eyes' corners and around the mouth, and under the eyes."""
    amount, line = look.wrinkles, darker(look.skin, 0.5)
    strength = 0.45 + 0.5 * amount
    ex, ey, ends = look.eye_x, look.eye_y, (0.2, 0.2)
    for n in range(1 + int(amount * 3)):
        y = ey - 0.4 - 0.13 * n
        pen.line([(-0.36, y + 0.02), (-0.1, y), (0.12, y + 0.01), (0.37, y + 0.03)], 0.036, line, strength, ends)
    for s in (-1, 1):
        corner = s * (ex + look.eye_w)
        for k in range(1 + int(amount * 2.9)):
            dy = (k - 1) * 0.07
            pen.line(
                [(corner + s * 0.03, ey + dy * 0.5), (corner + s * 0.15, ey + dy * 1.7)], 0.03, line, strength, ends
            )
        x, y = s * (look.nose_w + 0.03), look.nose_y
        pen.line(
            [(x, y - 0.04), (x + s * 0.1, y + 0.12), (x + s * 0.12, look.mouth_y - 0.02)], 0.038, line, strength, ends
        )
        if amount > 0.3:
            bag = [(s * ex - 0.13, ey + 0.12), (s * ex, ey + 0.18), (s * ex + 0.13, ey + 0.13)]
            pen.line(bag, 0.032, line, strength, ends)
        if amount > OLD:
            jowl = [(s * look.mouth_w, look.mouth_y + 0.08), (s * look.mouth_w * 1.25, look.mouth_y + 0.26)]
            pen.line(jowl, 0.04, line, strength, ends)
