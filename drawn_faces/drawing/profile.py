"""A true side view, drawn facing right: outline of forehead, nose, lips and chin, one eye, the ear in the middle."""

from __future__ import annotations

import numpy as np

from drawn_faces.drawing.canvas import Pen, darker, lighter, luminance, mix, smooth
from drawn_faces.drawing.head import DARK, OLD, WHITE
from drawn_faces.drawing.mouth import lip_colour
from drawn_faces.drawing.person import Look


def profile(pen: Pen, look: Look) -> None:
    """Head, face and hair from the side; the pen is mirrored by whoever wants a face that looks left."""
    shade = darker(look.skin, 0.2)
    _back_hair(pen, look)
    points = outline(look)
    pen.polygon(points, look.skin)
    with pen.clip(points):
        pen.blob([(-0.2, 0.5), (0.1, 0.84), (0.5, 0.97), (0.8, 1.2), (-0.6, 1.2), (-0.6, 0.4)], shade, 0.5)
        pen.ellipse(0.36, 0.3, 0.18, 0.13, (196, 60, 70), 0.12)
        if look.stubble:
            pen.blob([(-0.15, 0.3), (0.2, 0.5), (0.5, 0.42), (0.8, 0.5), (0.7, 1.1), (0, 1)], DARK, look.stubble)
    _face(pen, look)
    _ear(pen, look)
    _front_hair(pen, look)


def neck(pen: Pen, look: Look) -> None:
    """What of the neck shows beside the clothes' own, below jaw and nape."""
    n, shade = look.neck, darker(look.skin, 0.2)
    points = [(-0.62, 0.3), (0.25, 0.6), (n - 0.16, 1.05), (n - 0.2, 1.36), (-0.24 - n, 1.36), (-0.64, 0.7)]
    pen.polygon(points, look.skin)
    with pen.clip(points):
        pen.blob([(-0.3, 0.6), (0.1, 0.78), (0.45, 0.94), (0.14, 1.15), (-0.2, 1.0)], shade)


def outline(look: Look) -> np.ndarray:
    """The smooth outline, whose nose, brow, lips and chin follow the look's measures."""
    nose = 0.13 + 0.55 * look.nose_w
    ny, my, lips = look.nose_y, look.mouth_y, look.lip_h
    brow = look.eye_y - look.brow_gap
    ridge = 0.6 + 0.3 * look.brow_w
    front = [(-0.05, -1.0), (0.34, -0.93), (0.56, -0.62), (ridge, brow), (0.55, look.eye_y), (0.62, look.eye_y + 0.1)]
    front += [(0.56 + nose, ny - 0.04), (0.54 + nose, ny + 0.02), (0.6, ny + 0.09)]
    front += [(0.61 + 0.6 * lips, my - 0.05), (0.57, my), (0.59 + 0.5 * lips, my + 0.07), (0.53, my + 0.13)]
    front += [(0.53 + 0.2 * look.chin, 0.88), (0.42, 0.99), (0.2, 0.92), (-0.2, 0.7), (-0.42, 0.6)]
    back = [(-0.66, 0.4), (-0.86, 0.0), (-0.88, -0.45), (-0.6, -0.86)]
    return smooth(front + back)


def _face(pen: Pen, look: Look) -> None:
    x, y, h = 0.43, look.eye_y + 0.01, look.eye_h
    line = darker(look.skin, 0.72)
    pen.ellipse(x - 0.02, y - 0.02, 0.15, h * 1.5, darker(look.skin, 0.28), 0.3)
    top = [(x - 0.14, y + 0.02), (x - 0.06, y - h * 0.75), (x + 0.05, y - h * 0.95), (x + 0.1, y - h * 0.5)]
    eye = smooth([*top, (x + 0.09, y + h * 0.25), (x + 0.04, y + h * 0.75), (x - 0.06, y + h * 0.6)])
    with pen.clip(eye):
        pen.polygon(eye, WHITE)
        pen.ellipse(x + 0.075, y - 0.01, 0.05, h * 0.95, look.iris)
        pen.ellipse(x + 0.09, y - 0.01, 0.025, h * 0.5, (14, 10, 12))
    pen.line(top, 0.034, line, ends=(0.5, 1))
    if look.lashes > 0.35:
        pen.line([(x + 0.1, y - h), (x + 0.19, y - h - 0.04)], 0.025, DARK)
    colour = mix(darker(look.hair_colour, 0.3), darker(look.skin, 0.55), 0.25)
    high = y - look.brow_gap - h * 0.3
    pen.line(
        [(x - 0.17, high + 0.03), (x + 0.02, high - look.brow_arch), (x + 0.15, high + 0.03)],
        look.brow_w,
        colour,
        ends=(0.4, 0.9),
    )
    nose = 0.37 + 0.55 * look.nose_w
    pen.line(
        [(nose + 0.05, look.nose_y - 0.06), (nose, look.nose_y + 0.02), (nose + 0.1, look.nose_y + 0.05)],
        0.026,
        darker(look.skin, 0.5),
    )
    m, lips = look.mouth_y, lip_colour(look)
    with pen.clip(outline(look)):
        pen.blob([(0.4, m), (0.53, m - 0.07 - 0.3 * look.lip_h), (0.72, m - 0.06), (0.72, m)], lips)
        pen.blob([(0.4, m), (0.72, m), (0.72, m + 0.12), (0.53, m + 0.06 + 0.4 * look.lip_h)], lighter(lips, 0.12))
        pen.line([(0.37, m), (0.5, m + 0.01), (0.62, m)], 0.026, darker(look.skin, 0.62))
        _wrinkles(pen, look)


def _wrinkles(pen: Pen, look: Look) -> None:
    if look.wrinkles > 0:
        line, strength, shade = darker(look.skin, 0.5), 0.45 + 0.5 * look.wrinkles, darker(look.skin, 0.34)
        fold = [(0.48, look.nose_y), (0.36, look.nose_y + 0.14), (0.32, look.mouth_y + 0.06)]
        fold.append((0.4, look.mouth_y - 0.02))
        pen.blob(fold, shade, 0.3 + 0.3 * look.wrinkles)
        if look.wrinkles > OLD:
            pen.blob([(0.02, 0.14), (0.28, 0.26), (0.26, 0.5), (0.0, 0.5)], shade, 0.5)
            pen.blob([(0.34, look.mouth_y + 0.1), (0.42, look.mouth_y + 0.1), (0.36, 0.9), (0.22, 0.92)], shade, 0.6)
        for n in range(1 + int(look.wrinkles * 2.9)):
            y = look.eye_y + (n - 1) * 0.06
            pen.line([(0.26, y), (0.15, y + (n - 1) * 0.05)], 0.036, line, strength)
            pen.line(
                [(0.25, look.eye_y - 0.42 - 0.1 * n), (0.54, look.eye_y - 0.4 - 0.1 * n)], 0.036, line, strength * 0.8
            )
        pen.line([(0.48, look.nose_y + 0.02), (0.38, look.nose_y + 0.16), (0.36, look.mouth_y)], 0.038, line, strength)


def _ear(pen: Pen, look: Look) -> None:
    ear = pen.at(-0.16, 0.12)
    ear.blob(
        [(0.06, -0.12), (-0.02, -0.22), (-0.14, -0.16), (-0.14, 0.02), (-0.05, 0.17), (0.04, 0.16)],
        lighter(look.skin, 0.05),
    )
    ear.line(
        [(0.05, -0.12), (-0.03, -0.22), (-0.14, -0.16), (-0.14, 0.02), (-0.05, 0.17)], 0.025, darker(look.skin, 0.35)
    )
    ear.line([(0.0, -0.1), (-0.08, -0.1), (-0.06, 0.04)], 0.025, darker(look.skin, 0.35))


def _back_hair(pen: Pen, look: Look) -> None:
    colour, v = darker(look.hair_colour, 0.22), look.volume
    if look.hair in ("medium", "long", "floating"):
        low = 0.7 + 0.4 * look.length if look.hair == "medium" else 1.5 + 0.7 * look.length
        y = np.linspace(-0.3, low, 12)
        edge = np.stack([-0.92 - v * 0.8 - look.wave * np.sin(y * 9), y], 1)
        pen.polygon(smooth([(-0.2, -0.6), *edge, (-0.3, low + 0.02), (-0.22, 0.5)]), colour)
        for share in (0.3, 0.6):
            pen.line(edge * (1, 1) + (share * 0.7, 0), 0.03, lighter(colour, 0.15), 0.6, ends=(0.3, 0.3))
    elif look.hair == "bun":
        pen.ellipse(-1.0, -0.5 - 0.3 * look.length, 0.32, 0.3, look.hair_colour)
        pen.line([(-1.2, -0.5), (-1.0, -0.62), (-0.85, -0.5)], 0.03, lighter(colour, 0.2))
    elif look.hair == "curly":
        rng = np.random.default_rng(look.detail)
        for angle in np.radians(np.arange(132, 300, 17)):
            r = 0.24 + 0.2 * v + rng.uniform(0, 0.06)
            pen.ellipse(-0.15 + 0.8 * np.cos(angle), -0.25 + 0.8 * np.sin(angle), r, r, colour)


def _front_hair(pen: Pen, look: Look) -> None:
    v, colour = look.volume, look.hair_colour
    if look.hair == "bald":
        pen.at(0.1, -0.78, angle=-10).ellipse(0, 0, 0.2, 0.08, (255, 255, 255), 0.5)
        return
    nape = 0.5 if look.hair in ("short", "bun", "curly") else 0.75
    front = -0.82 if look.hairline == "receding" else -0.66
    fore = [
        (0.5, front),
        (0.44, front - 0.26 - v * 0.5),
        (0, -1.04 - v),
        (-0.55, -0.94 - v * 0.7),
        (-0.9 - v * 0.5, -0.5),
    ]
    fore += [(-0.9 - v * 0.5, 0.0), (-0.66, nape), (-0.42, nape * 0.86)]
    inner = [(-0.34, 0.1), (-0.2, -0.14), (-0.05, -0.08), (-0.03, 0.14), (0.06, 0.12), (0.1, -0.25), (0.3, -0.42)]
    if look.hair == "fuzz":
        pen.blob([*fore[:5], (-0.8, 0), (-0.2, -0.5)], colour, 0.55)
        return
    points = smooth(fore + inner)
    pen.polygon(points, colour)
    strand = lighter(colour, 0.2) if luminance(colour) < 70 else darker(colour, 0.28)
    if look.hair == "curly":
        rng = np.random.default_rng(look.detail)
        for x, y in rng.uniform((-0.85, -1.0), (0.3, -0.3), (14, 2)):
            pen.line([(x - 0.07, y), (x, y - 0.07), (x + 0.07, y)], 0.03, strand, 0.6)
    with pen.clip(points):
        for k in (0.2, 0.45, 0.7):
            pen.line(
                [(0.45, front - 0.2 * k), (-0.1, -0.62 - 0.4 * k), (-0.6 - 0.2 * k, -0.3), (-0.55 - 0.2 * k, 0.3)],
                0.026,
                strand,
                0.6,
                ends=(0.3, 0.3),
            )
        pen.line([(0.2, -0.92), (-0.15, -0.95), (-0.5, -0.8)], 0.08, lighter(colour, 0.4), 0.35, ends=(0.1, 0.1))
