"""The head and face from the front, also tilted back: outline, ears, eyes, brows, nose, mouth, wrinkles.

A head pen has its origin in the middle of the head; the crown is at y = -1, the chin at y = 1.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from builder.preview.canvas import Pen, darker, lighter, luminance, mirrored, mix, smooth
from builder.preview.look import Look

ROSE = (196, 60, 70)
DARK = (34, 22, 24)
WHITE = (250, 248, 244)


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
        eye_y=look.eye_y - 0.36,
        nose_y=look.nose_y - 0.42,
        mouth_y=look.mouth_y - 0.36,
        eye_h=look.eye_h * 0.9,
        brow_gap=look.brow_gap * 0.8,
        eyes="up",
    )


def bare_head(pen: Pen, look: Look) -> None:
    """Ears and the head's skin with shade, cheeks and freckles; nothing of the face."""
    back = look.pose == "up"
    shade = darker(look.skin, 0.16)
    for side in (-1, 1):
        ear = pen.at(side * look.width * 0.99, 0.2 if back else 0.1, 1, flip=side < 0)
        ear.blob([(-0.04, -0.2), (0.08, -0.25), (0.15, -0.12), (0.11, 0.1), (0.03, 0.22), (-0.06, 0.16)], look.skin)
        ear.line([(0.02, -0.13), (0.09, -0.12), (0.07, 0.04), (0.02, 0.1)], 0.025, shade)
    points = outline(look)
    pen.polygon(points, look.skin)
    with pen.clip(points):
        dark = look.lit * look.width
        pen.blob([(-dark * 0.72, -1.1), (-dark * 0.7, 0), (-dark * 0.5, 0.72), (0, 1.05), (-2 * dark, 1.1)], shade, 0.35)
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
    jaw = [(-1.1 * w, 0.24), (-0.78 * w, 0.5), (-0.4 * w, 0.66), (0, 0.71), (0.4 * w, 0.66), (0.78 * w, 0.5), (1.1 * w, 0.24)]
    pen.polygon(np.concatenate([smooth(jaw, closed=False), [(1.2, 1.2), (-1.2, 1.2)]]), under)
    pen.ellipse(0, 0.58, 0.17, 0.1, lighter(look.skin, 0.25), 0.5)
    pen.line([(-0.3, 0.68), (0, 0.72), (0.3, 0.68)], 0.03, darker(look.skin, 0.45), ends=(0.2, 0.2))


def _freckles(pen: Pen, look: Look) -> None:
    rng = np.random.default_rng(look.detail)
    for x, y in rng.uniform((-0.45, look.eye_y + 0.14), (0.45, look.nose_y + 0.05), (18, 2)):
        pen.ellipse(x, y, 0.014, 0.014, darker(look.skin, 0.3), 0.6)


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
    open_to = {"narrow": 0.7, "merry": 0.55, "sleepy": 0.42, "closed": 0, "wide": 1.3, "up": 1.0}.get(look.eyes, 1.0)
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
        own.polygon(np.concatenate([lid, [(w, -0.5 * h), (0.2 * w, -1.15 * h), (-0.6 * w, -0.9 * h)]]), darker(look.skin, 0.2))
    own.line(lid, 0.03 + 0.012 * look.lashes, line, ends=(0.5, 1.1), curved=False)
    own.line([(-0.7 * w, 0.66 * h), *bottom[::-1][1:]], 0.012, line, 0.5)
    own.line([(x, y - 0.045) for x, y in top], 0.014, line, 0.45, ends=(0.3, 0.3))
    if look.lashes > 0.35:
        for k in (0.55, 0.8, 1.0):
            own.line([(k * w, (-0.8 + 0.72 * k**3) * h * open_to), (k * w + 0.045, (-1.25 + 0.7 * k**3) * h)], 0.018, DARK)


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
    own.blob([(-w, 0.1 * h), (-0.5 * w, -0.7 * h), (0.3 * w, -0.8 * h), (w, 0), (0.1 * w, 0.6 * h)], darker(look.skin, 0.14))
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
    if look.brows == "raised":
        inner, outer = -0.1, -0.06
    colour = darker(look.hair_colour, 0.3) if luminance(look.hair_colour) < 190 else darker(look.hair_colour, 0.18)
    colour = mix(colour, darker(look.skin, 0.55), 0.25 if look.hair_name != "white" else 0.1)
    points = [(-w * 0.95, inner), (-0.2 * w, (inner + outer) / 2 - arch), (0.4 * w, outer - arch * 1.1), (w, outer + 0.02)]
    own.line(points, thick, colour, ends=(0.8, 0.25))


def nose(pen: Pen, look: Look) -> None:
    """A shaded ridge, wings and nostrils; from below, a base with open nostrils."""
    w, y = look.nose_w, look.nose_y
    shade, line = darker(look.skin, 0.2), darker(look.skin, 0.5)
    side = -look.lit
    if look.pose == "up":
        top = look.eye_y + 0.1
        pen.blob([(-0.05, top), (0.05, top), (w * 0.9, y), (w * 0.7, y + 0.13), (0, y + 0.17), (-w * 0.7, y + 0.13), (-w * 0.9, y)], shade)
        pen.ellipse(0, y - 0.04, w * 0.5, 0.08, lighter(look.skin, 0.2), 0.6)
        for s in (-1, 1):
            pen.ellipse(s * w * 0.42, y + 0.07, w * 0.24, 0.04, darker(look.skin, 0.75))
        return
    pen.blob([(side * 0.02, look.eye_y + 0.02), (side * w * 0.55, y - 0.1), (side * w * 0.85, y), (0, y + 0.03)], shade, 0.55)
    pen.ellipse(look.lit * 0.02, y - 0.05, w * 0.42, 0.05, lighter(look.skin, 0.5), 0.35)
    pen.line([(-w, y - 0.06), (-w * 0.95, y + 0.01), (-w * 0.45, y + 0.02), (0, y + 0.05), (w * 0.45, y + 0.02), (w * 0.95, y + 0.01), (w, y - 0.06)], 0.026, line, 0.85, ends=(0.4, 0.4))
    for s in (-1, 1):
        pen.ellipse(s * w * 0.48, y + 0.015, w * 0.2, 0.02, line)


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
    under = [(-0.8 * w, 0.02 - 0.6 * bend), (-0.3 * w, h * 1.05), (0, h * 1.2), (0.3 * w, h * 1.05), (0.8 * w, 0.02 - 0.6 * bend)]
    own.blob([(-w, -bend), *under, (w, -bend)], lighter(colour, 0.14))
    over = [(-0.5 * w, -0.5 * h - 0.4 * bend), (-0.15 * w, -0.9 * h), (0, -0.7 * h), (0.15 * w, -0.9 * h)]
    over += [(0.5 * w, -0.5 * h - 0.4 * bend)]
    middle = [(w, -bend), (0.5 * w, -0.28 * bend), (0, 0.02), (-0.5 * w, -0.28 * bend), (-w, -bend)]
    own.blob(over + middle, colour)
    own.line(middle, 0.026, line, ends=(0.6, 0.6))


def _neutral(own: Pen, look: Look, colour) -> None:
    _lips(own, look, colour, 0.0)


def _smile(own: Pen, look: Look, colour) -> None:
    w, line = look.mouth_w * 1.35, darker(look.skin, 0.45)
    _lips(own, replace(look, mouth_w=w), colour, 0.13)
    for s in (-1, 1):
        blush(own, s * (w + 0.1), -0.24, 0.16)
        own.line([(s * (w + 0.01), -0.2), (s * (w + 0.06), -0.13), (s * (w + 0.03), -0.05)], 0.025, line, ends=(0.3, 0.3))


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
    own.line([(s * w * 1.1, -0.26), (s * w * 1.5, -0.06), (s * w * 1.4, 0.08)], 0.028, darker(look.skin, 0.4), ends=(0.3, 0.3))


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
        own.line([(s * w, -0.24), (s * (w + 0.09), -0.12), (s * (w + 0.07), 0)], 0.025, darker(look.skin, 0.45), ends=(0.3, 0.3))


def _yell(own: Pen, look: Look, colour) -> None:
    w = look.mouth_w * 1.1
    shape = [(-0.8 * w, -0.13), (0, -0.17), (0.8 * w, -0.13), (w, 0.1), (0.6 * w, 0.21), (-0.6 * w, 0.21), (-w, 0.1)]
    _open(own, colour, shape, 0.09, 0.06)


def _scream(own: Pen, look: Look, colour) -> None:
    w = look.mouth_w
    _open(own.at(0, 0.03), colour, [(0, -0.2), (0.75 * w, -0.1), (0.82 * w, 0.1), (0, 0.29), (-0.82 * w, 0.1), (-0.75 * w, -0.1)], 0.08, 0)


_MOUTHS = {"smile": _smile, "frown": _frown, "sneer": _sneer, "laugh": _laugh, "yell": _yell, "scream": _scream}


def wrinkles(pen: Pen, look: Look) -> None:
    """Lines of the forehead, of the eyes' corners and around the mouth, and bags under the eyes, as age has them."""
    if look.wrinkles <= 0:
        return
    amount, line = look.wrinkles, darker(look.skin, 0.42)
    strength = 0.35 + 0.5 * amount
    ex, ey, ends = look.eye_x, look.eye_y, (0.2, 0.2)
    for n in range(1 + int(amount * 3)):
        y = ey - 0.4 - 0.11 * n
        pen.line([(-0.34, y + 0.02), (-0.1, y), (0.12, y + 0.01), (0.35, y + 0.03)], 0.022, line, strength * 0.8, ends)
    for s in (-1, 1):
        corner = s * (ex + look.eye_w)
        for k in range(1 + int(amount * 2.9)):
            dy = (k - 1) * 0.06
            pen.line([(corner + s * 0.03, ey + dy * 0.5), (corner + s * 0.13, ey + dy * 1.7)], 0.02, line, strength, ends)
        x, y = s * (look.nose_w + 0.03), look.nose_y
        pen.line([(x, y - 0.04), (x + s * 0.1, y + 0.12), (x + s * 0.12, look.mouth_y - 0.02)], 0.026, line, strength, ends)
        if amount > 0.3:
            bag = [(s * ex - 0.12, ey + 0.1), (s * ex, ey + 0.16), (s * ex + 0.12, ey + 0.11)]
            pen.line(bag, 0.024, line, strength * 0.8, ends)
        if amount > 0.55:
            jowl = [(s * look.mouth_w, look.mouth_y + 0.08), (s * look.mouth_w * 1.2, look.mouth_y + 0.22)]
            pen.line(jowl, 0.024, line, strength, ends)
