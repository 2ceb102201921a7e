"""Hair from the front: a layer behind the head and body, a layer over the head."""

from __future__ import annotations

import numpy as np

from drawn_faces.drawing.canvas import Pen, darker, lighter, luminance, mirrored, oval, smooth
from drawn_faces.drawing.head import outline
from drawn_faces.drawing.person import Look


def behind(pen: Pen, look: Look) -> None:
    """What shows around the head and behind the shoulders."""
    colour, w = darker(look.hair_colour, 0.22), look.width
    style = look.hair
    if style == "short":
        pen.ellipse(0, -0.3, w + 0.05, 0.68, colour)
    elif style in ("medium", "long"):
        _curtain(pen, look, colour)
    elif style == "bun":
        pen.ellipse(0, -0.25, w + 0.06, 0.75, colour)
        pen.ellipse(0, -1.22 - look.volume, 0.3 + 0.1 * look.length, 0.28, look.hair_colour)
        pen.line([(-0.2, -1.25), (0, -1.32), (0.2, -1.2)], 0.03, _strand(look), 0.7)
    elif style == "curly":
        size = 0.2 + 0.4 * look.length
        _curls(pen, look, colour, np.linspace(-200, 20, 15), 0.95 + size * 0.3, 0.22 + size * 0.25)
    elif style == "floating":
        _floating(pen, look)


def over(pen: Pen, look: Look) -> None:
    """What lies on the head: the cap from the crown to the hairline, strands, and locks before the shoulders."""
    if look.hair == "bald":
        _sheen(pen, look)
    elif look.hair == "fuzz":
        _fuzz(pen, look)
    else:
        _cap(pen, look)
        if look.hair == "long" and look.pose == "front" and not look.earrings:
            _locks(pen, look)


def _strand(look: Look):
    dark = luminance(look.hair_colour) < 70
    return lighter(look.hair_colour, 0.2) if dark else darker(look.hair_colour, 0.28)


def _bottom(look: Look) -> float:
    return 0.62 + 0.5 * look.length if look.hair == "medium" else 1.45 + 0.8 * look.length


def _side(look: Look, low: float, wide: float, top: float = -0.5) -> np.ndarray:
    """The right edge of hanging hair from y = top to y = low, waved if the hair is."""
    y = np.linspace(top, low, 18)
    share = (y - top) / (low - top)
    x = look.width + 0.1 + wide * np.sin(share * 2.2) + look.wave * np.sin(y * 9 + look.detail % 7) * (0.4 + share)
    return np.stack([x, y], 1)


def _curtain(pen: Pen, look: Look, colour) -> None:
    low, wide = _bottom(look), 0.06 + 0.9 * look.volume
    if look.wave == 0:
        wide *= 0.6
    right = _side(look, low, wide)
    top = [(0, -1.05 - look.volume * 0.5), (look.width * 0.72, -0.95 - look.volume * 0.3)]
    end = [(right[-1, 0] * 0.7, low + 0.06), (0, low + 0.08)]
    pen.polygon(smooth(mirrored([*top, *right, *end])), colour)
    for share in (0.35, 0.6, 0.85):
        for side in (-1, 1):
            pen.line(right[4:] * (side * share, 0.97), 0.03, _strand(look), 0.4, ends=(0.3, 0.3), curved=False)


def _locks(pen: Pen, look: Look) -> None:
    """Long hair that falls before the shoulders on both sides of the face."""
    low, wide = _bottom(look), (0.06 + 0.9 * look.volume) * (0.6 if look.wave == 0 else 1)
    edge = _side(look, low, wide)
    inner = edge[::-1] * (1, 1)
    inner[:, 0] = look.width * 0.9 - 0.05 + 0.55 * look.wave * np.sin(inner[:, 1] * 9 + look.detail % 7)
    inner[:, 0] -= np.interp(inner[:, 1], [0.9, 1.5, 3], [0, 0.12, 0.2])
    shape = np.concatenate([edge, inner])
    for side in (-1, 1):
        points = smooth(shape * (side, 1))
        pen.polygon(points, look.hair_colour)
        for share in (0.3, 0.65):
            middle = edge * (1 - share) + inner[::-1] * share
            pen.line(middle[2:-1] * (side, 1), 0.028, _strand(look), 0.75, ends=(0.3, 0.3))


def _hairline(look: Look) -> list[tuple[float, float]]:
    """Points from the right temple to the left one, for a part on the right."""
    w, low = look.width, -0.02 if look.hair != "short" else -0.1
    lines = {
        "side": [(0.8, -0.42), (0.52, -0.74), (0.3, -0.78), (-0.1, -0.56), (-0.55, -0.42), (-0.84, -0.3)],
        "centre": [(0.85, -0.28), (0.62, -0.5), (0.2, -0.72), (0, -0.8), (-0.2, -0.72), (-0.62, -0.5), (-0.85, -0.28)],
        "swept": [(0.82, -0.4), (0.62, -0.66), (0.2, -0.72), (-0.2, -0.72), (-0.62, -0.66), (-0.82, -0.4)],
        "receding": [
            (0.88, -0.45),
            (0.66, -0.86),
            (0.3, -0.86),
            (0, -0.76),
            (-0.3, -0.86),
            (-0.66, -0.86),
            (-0.88, -0.45),
        ],
    }
    line = lines.get(look.hairline, lines["swept"])
    if look.pose == "up":
        line = [(x, max(y - 0.12, -0.84)) for x, y in line]
    return [(0.93 * w, low), *[(x * w * look.part, y) for x, y in line[:: look.part]], (-0.93 * w, low)]


def _cap(pen: Pen, look: Look) -> None:
    w, v, lean = look.width, look.volume, look.volume * look.part * (look.hair == "short") * (look.length - 0.2)
    outer = [(-w - 0.04, 0.0), (-w - 0.05 - v * 0.3, -0.4), (-0.74 * w - v * 0.4, -0.88 - lean), (0, -1.04 - v)]
    outer += [(0.74 * w + v * 0.4, -0.88 + lean), (w + 0.05 + v * 0.3, -0.4), (w + 0.04, 0.0)]
    points = smooth(np.array(outer + _hairline(look)))
    pen.polygon(points, look.hair_colour)
    with pen.clip(points):
        pen.line(
            [(-0.55 * look.part, -0.92), (0, -0.98), (0.5 * look.part, -0.88)],
            0.07,
            lighter(look.hair_colour, 0.35),
            0.35,
            ends=(0.1, 0.1),
        )
        root = (0.3 * w * look.part, -0.8) if look.hairline == "side" else (0, -0.82)
        for x in (-0.95, -0.7, -0.4, 0.4, 0.7, 0.95):
            bend = (x * w * 0.75, -0.82 + 0.12 * abs(x))
            pen.line([root, bend, (x * w * 1.04, -0.25 - 0.1 * abs(x))], 0.024, _strand(look), 0.55, ends=(0.3, 0.3))
    if abs(luminance(look.hair_colour) - luminance(look.skin)) < 40:  # else hair and forehead would run together
        pen.line(_hairline(look), 0.035, darker(look.hair_colour, 0.45), 0.8, ends=(0.4, 0.4))
    if look.hair == "curly":
        _tufts(pen, look)
    if look.hairline == "bangs":
        _bangs(pen, look)


def _bangs(pen: Pen, look: Look) -> None:
    """A straight fringe down to the brows."""
    w, low = look.width, look.eye_y - look.eye_h - 0.1
    notch = np.linspace(-0.86, 0.86, 10)
    fringe = [(x * w, low + (0.035 if n % 2 else 0.0) + 0.06 * x * x) for n, x in enumerate(notch)]
    top = [(1.0 * w, -0.4), (0.66 * w, -0.9), (0, -1.0), (-0.66 * w, -0.9), (-1.0 * w, -0.4)]
    pen.polygon([*fringe, (0.95 * w, low + 0.06), *top, (-0.95 * w, low + 0.06)], look.hair_colour)
    for x in notch[1:-1]:
        pen.line(
            [(x * w * 0.75, -0.9), (x * w * 0.98, -0.6), (x * w, low - 0.01)],
            0.026,
            _strand(look),
            0.8,
            ends=(0.2, 0.7),
        )
    pen.line(
        [(-0.5 * w, -0.72), (0, -0.76), (0.5 * w, -0.72)], 0.08, lighter(look.hair_colour, 0.4), 0.35, ends=(0.1, 0.1)
    )


def _curls(pen: Pen, look: Look, colour, degrees, radius: float, size: float) -> None:
    rng = np.random.default_rng(look.detail)
    angle = np.radians(degrees)
    spread = rng.uniform(0.9, 1.1, (len(angle), 2))
    x, y = np.cos(angle) * radius * look.width / 0.78, np.sin(angle) * radius - 0.15
    pen.polygon(np.stack([x, y], 1), colour)
    for n in range(len(angle)):
        r = size * spread[n, 0]
        pen.ellipse(x[n], y[n] * spread[n, 1], r, r, colour)
        arc = oval(x[n], y[n] * spread[n, 1], r * 0.6, r * 0.6)[2 + n : 18 + n]
        pen.line(arc, 0.025, _strand(look), 0.5, ends=(0.3, 0.3), curved=False)


def _tufts(pen: Pen, look: Look) -> None:
    """Small curls along the hairline and over the cap."""
    rng = np.random.default_rng([look.detail, 1])
    line = smooth(_hairline(look), closed=False)[3:-3:5]
    rest = np.stack([np.cos(a := np.radians(np.arange(-165, -10, 17.0))) * look.width, -0.3 + 0.68 * np.sin(a)], 1)
    for x, y in np.concatenate([line - (0, 0.07), rest]):
        r = rng.uniform(0.1, 0.15)
        pen.ellipse(x, y, r, r, look.hair_colour)
        start = rng.integers(24)
        pen.line(
            oval(x, y, r * 0.55, r * 0.55)[start : start + 14], 0.025, _strand(look), 0.6, (0.3, 0.3), curved=False
        )


def _floating(pen: Pen, look: Look) -> None:
    """Locks that drift upwards and sideways."""
    rng = np.random.default_rng(look.detail)
    pen.ellipse(0, -0.3, look.width + 0.12, 0.85, darker(look.hair_colour, 0.15))
    for angle in np.radians(np.linspace(-205, 25, 13)):
        reach = rng.uniform(0.5, 0.95)
        out = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-out[1], out[0]]) * rng.choice([-1, 1]) * rng.uniform(0.12, 0.25)
        base = out * (look.width, 0.8) * 0.85 + (0, -0.15)
        points = [
            base,
            base + out * reach * 0.4 + across,
            base + out * reach * 0.75 - across,
            base + out * reach + (0, -0.15),
        ]
        pen.line(points, 0.3, darker(look.hair_colour, 0.1), ends=(1.0, 0.08))


def _fuzz(pen: Pen, look: Look) -> None:
    """The thin hair of a baby, with a tuft."""
    with pen.clip(outline(look)):
        for low in (0.04, 0.0, -0.04, -0.08, -0.12, -0.16):
            line = [(-1.1, -0.42), (-0.4, -0.7), (0, -0.74), (0.4, -0.7), (1.1, -0.42), (0.8, -1.3), (-0.8, -1.3)]
            pen.blob([(x, y + low) for x, y in line], look.hair_colour, 0.13)
    s = look.part
    pen.line(
        [(-0.12 * s, -0.92), (0.02 * s, -1.12), (0.16 * s, -1.04), (0.08 * s, -0.96)],
        0.07,
        look.hair_colour,
        ends=(1, 0.4),
    )
    pen.line([(-0.05 * s, -0.94), (-0.14 * s, -1.08), (-0.24 * s, -1.06)], 0.06, look.hair_colour, ends=(1, 0.4))


def _sheen(pen: Pen, look: Look) -> None:
    """The light on a bald head."""
    pen.at(look.lit * 0.22, -0.68, angle=look.lit * 20).ellipse(0, 0, 0.22, 0.09, (255, 255, 255), 0.45)
    pen.at(look.lit * 0.22, -0.7, angle=look.lit * 20).ellipse(0, 0, 0.12, 0.045, (255, 255, 255), 0.6)
