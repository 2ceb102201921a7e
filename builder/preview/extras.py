"""What a person wears: glasses, masks, hats, beards and earrings, in the coordinates of a head pen."""

from __future__ import annotations

import numpy as np

from builder.preview.canvas import Pen, darker, lighter, luminance, mirrored, mix, smooth
from builder.preview.look import CLOTHES, Look

FRAMES = [(30, 28, 34), (120, 70, 40), (150, 30, 44), (40, 70, 130), (196, 160, 70), (70, 74, 80)]
TINTS = [(40, 130, 190), (230, 120, 40), (60, 170, 120), (200, 60, 120), (60, 60, 80)]
CLOTH_MASKS = [(150, 204, 226), (240, 242, 244), (40, 42, 48), (236, 172, 190), (150, 206, 176)]


def _rng(look: Look, salt: int) -> np.random.Generator:
    return np.random.default_rng([look.detail, salt])


def glasses(pen: Pen, look: Look) -> None:
    """Glasses of the look's kind, over the eyes."""
    if look.glasses:
        {"clear": _clear, "sun": _sun, "swim": _swim, "ski": _ski}[look.glasses](pen, look, _rng(look, 2))


def _lens(kind: str, r: float) -> np.ndarray:
    """A lens whose x points away from the nose."""
    shapes = {
        "round": [(0, -r), (0.72 * r, -0.72 * r), (r, 0), (0.7 * r, 0.7 * r), (0, r), (-0.7 * r, 0.7 * r), (-r, 0), (-0.7 * r, -0.7 * r)],
        "wide": [(-r, -0.6 * r), (0, -0.72 * r), (1.08 * r, -0.66 * r), (1.12 * r, 0.2 * r), (0.8 * r, 0.7 * r), (-0.7 * r, 0.7 * r), (-r, 0.3 * r)],
        "cat": [(-r, -0.4 * r), (0, -0.62 * r), (1.25 * r, -1.0 * r), (1.1 * r, 0), (0.6 * r, 0.66 * r), (-0.6 * r, 0.62 * r), (-r, 0.2 * r)],
        "drop": [(-r, -0.6 * r), (0, -0.75 * r), (1.1 * r, -0.65 * r), (1.1 * r, 0.2 * r), (0.5 * r, 0.95 * r), (-0.4 * r, 0.85 * r), (-0.95 * r, 0.1 * r)],
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
    kind, frame = str(rng.choice(["round", "wide", "cat"])), FRAMES[rng.integers(len(FRAMES))]
    if luminance(look.skin) < 110:
        frame = lighter(frame, 0.25) if luminance(frame) > 60 else (12, 10, 14)
    _framed(pen, look, kind, rng.uniform(0.05, 0.08), frame, (226, 240, 250), 0.25)


def _sun(pen: Pen, look: Look, rng) -> None:
    lens = mix((20, 20, 26), TINTS[rng.integers(len(TINTS))], rng.uniform(0, 0.25))
    frame = (212, 178, 90) if rng.random() < 0.3 else (12, 12, 16)
    look = look if look.eye_x > 0.33 else _spread(look)
    _framed(pen, look, str(rng.choice(["round", "wide", "drop", "cat"])), 0.06, frame, lens, 1.0)


def _spread(look: Look) -> Look:
    from dataclasses import replace

    return replace(look, eye_x=0.34)


def _strap(pen: Pen, look: Look, y: float, width: float, colour) -> None:
    for side in (-1, 1):
        pen.polygon([(side * 0.4, y - width / 2), (side * (look.width + 0.07), y - width / 2 - 0.08), (side * (look.width + 0.07), y + width / 2 - 0.08), (side * 0.4, y + width / 2)], colour)


def _swim(pen: Pen, look: Look, rng) -> None:
    tint, y = TINTS[rng.integers(len(TINTS))], look.eye_y
    rubber = CLOTHES[rng.integers(7)]
    _strap(pen, look, y, 0.15, rubber)
    pen.line([(-0.14, y), (0, y - 0.03), (0.14, y)], 0.09, rubber)
    for side in (-1, 1):
        own = pen.at(side * max(look.eye_x, 0.35), y, 1.22, flip=side < 0)
        cup = [(-0.24, -0.02), (-0.1, -0.17), (0.14, -0.17), (0.3, -0.03), (0.14, 0.16), (-0.1, 0.17)]
        own.blob(cup, darker(rubber, 0.25))
        own.blob([(x * 0.78, v * 0.74) for x, v in cup], lighter(tint, 0.25), 0.85)
        own.blob([(-0.12, -0.08), (0.05, -0.1), (0.0, -0.04), (-0.12, -0.02)], (255, 255, 255), 0.75)


def _ski(pen: Pen, look: Look, rng) -> None:
    tint, y, w = TINTS[rng.integers(4)], look.eye_y, look.width
    frame = [(30, 30, 36), (240, 240, 240), (196, 60, 62)][rng.integers(3)]
    _strap(pen, look, y, 0.26, darker(CLOTHES[rng.integers(len(CLOTHES))], 0.15))
    visor = [(0, -0.3), (0.45 * w, -0.33), (0.92 * w, -0.26), (0.98 * w, 0.02), (0.8 * w, 0.26), (0.3 * w, 0.3), (0, 0.17)]
    own = pen.at(0, y)
    own.polygon(smooth(mirrored(visor)), frame)
    inside = smooth(mirrored([(x * 0.9, v * 0.78) for x, v in visor]))
    own.polygon(inside, tint)
    with own.clip(inside):
        own.polygon([(-1, 0.02), (1, -0.06), (1, 0.5), (-1, 0.5)], darker(tint, 0.45), 0.5)
        own.polygon([(-0.5, 0.4), (-0.3, 0.4), (0.0, -0.4), (-0.2, -0.4)], (255, 255, 255), 0.55)
        own.polygon([(-0.2, 0.4), (-0.13, 0.4), (0.17, -0.4), (0.1, -0.4)], (255, 255, 255), 0.45)


def mask(pen: Pen, look: Look) -> None:
    """A surgical mask over nose and mouth, or a gas mask over the whole face."""
    if look.mask:
        {"surgical": _surgical, "gas": _gas}[look.mask](pen, look, _rng(look, 3))


def _surgical(pen: Pen, look: Look, rng) -> None:
    colour, w = CLOTH_MASKS[rng.integers(len(CLOTH_MASKS))], look.width
    top, line = look.nose_y - 0.17, darker(colour, 0.25) if luminance(colour) > 80 else lighter(colour, 0.3)
    for side in (-1, 1):
        loop = [(side * 0.78 * w, top + 0.1), (side * 1.0 * w, top - 0.16), (side * 1.03 * w, -0.02)]
        pen.line(loop, 0.03, line)
        pen.line([(side * 0.75 * w, 0.72), (side * w * 0.97, 0.4), (side * 1.04 * w, 0.16)], 0.03, line)
    right = [(0, top - 0.06), (0.4 * w, top + 0.02), (0.86 * w, top + 0.12), (0.84 * w, 0.62), (0.5 * w, 0.96), (0, 1.05)]
    points = smooth(mirrored(right))
    pen.polygon(points, colour)
    with pen.clip(points):
        pen.polygon([(-look.lit * 0.35, 0), (-look.lit * 0.2, 1.2), (-look.lit * 1.5, 1.2), (-look.lit * 1.5, 0)], darker(colour, 0.3), 0.25)
        for y in (0.3, 0.55, 0.8):
            v = top + (1.05 - top) * y
            pen.line([(-w, v - 0.05), (0, v + 0.04), (w, v - 0.05)], 0.025, line)
    pen.line(points[[*range(len(points)), 0, 1]], 0.02, line, curved=False)


def _gas(pen: Pen, look: Look, rng) -> None:
    rubber = [(46, 50, 48), (72, 84, 62), (38, 40, 46), (104, 98, 76)][rng.integers(4)]
    w, y = look.width, look.eye_y
    for top in (-0.95, -0.45):
        pen.line([(-w * 1.02, top + 0.3), (-0.3, top + 0.02), (0.3, top + 0.02), (w * 1.02, top + 0.3)], 0.09, darker(rubber, 0.4))
    right = [(0, -0.5), (0.6 * w, -0.48), (0.98 * w, -0.15), (w, 0.3), (0.8 * w, 0.8), (0.4 * w, 1.08), (0, 1.12)]
    points = smooth(mirrored(right))
    pen.polygon(points, rubber)
    with pen.clip(points):
        pen.blob([(-look.lit * 0.5, -1), (-look.lit * 0.3, 0.4), (0, 1.3), (-look.lit * 1.6, 1.2), (-look.lit * 1.6, -1)], darker(rubber, 0.5), 0.5)
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
    right = [(0, top + 0.02), (0.35 * w, top), (0.8 * w, y - 0.07), ends, (0.7 * w, y + 0.05), (0.3 * w, y + 0.02), (0, y - 0.03)]
    pen.polygon(smooth(mirrored(right)), colour)
    for x in (-0.6, -0.35, 0.35, 0.6):
        pen.line([(x * w * 0.6, top + 0.03), (x * w, y)], 0.018, lighter(colour, 0.25), 0.7)


def _sideburns(pen: Pen, look: Look, colour) -> None:
    w, jaw = look.width, look.jaw
    for s in (-1, 1):
        shape = [(s * w * 1.02, -0.3), (s * w * 0.84, -0.26), (s * w * 0.8, 0.1), (s * w * 0.74, 0.36), (s * w * 0.48, 0.58)]
        shape += [(s * w * jaw * 0.8, 0.78), (s * w * jaw * 1.06, 0.66), (s * w * 0.99, 0.34), (s * w * 1.02, 0)]
        pen.blob(shape, colour)
        for k in (0.1, 0.3, 0.48):
            pen.line([(s * w * 0.93, k - 0.08), (s * w * 0.84, k + 0.08)], 0.022, lighter(colour, 0.22), 0.7)


def _goatee(pen: Pen, look: Look, colour) -> None:
    w, y = look.mouth_w * 1.2, look.mouth_y
    long = 1.08 + 0.16 * (look.detail % 3)
    ring = [(0, y + 0.17), (0.5 * w, y + 0.14), (0.86 * w, y - 0.02), (1.06 * w, y + 0.02), (0.98 * w, y + 0.22), (0.6 * w, 0.98), (0, long)]
    if look.detail % 2:
        ring = [(0, y + 0.16), (0.35 * w, y + 0.16), (0.75 * w, y + 0.24), (0.5 * w, 0.98), (0, long)]
    pen.polygon(smooth(mirrored(ring)), colour)
    for x in (-0.3, 0, 0.3):
        pen.line([(x * w, y + 0.24), (x * w * 0.7, 0.95)], 0.022, lighter(colour, 0.22), 0.7)


def earrings(pen: Pen, look: Look) -> None:
    """Large earrings at both lobes."""
    if not look.earrings:
        return
    rng = _rng(look, 4)
    metal = [(236, 190, 60), (222, 224, 230), (230, 80, 110), (60, 190, 190)][rng.integers(4)]
    stone = [(226, 50, 80), (50, 140, 220), (70, 190, 110), (250, 246, 238)][rng.integers(4)]
    for side in (-1, 1):
        own = pen.at(side * (look.width + 0.06), 0.33, 1, 0)
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
