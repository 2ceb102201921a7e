"""Make-up in two layers: what lies on the skin below the eyes and mouth, and what lies over them."""

from __future__ import annotations

import numpy as np

from drawn_faces.drawing.canvas import Pen, mix, smooth
from drawn_faces.drawing.head import WHITE, blush, outline
from drawn_faces.drawing.person import Look

SHADOWS = [(40, 110, 210), (140, 60, 190), (20, 160, 150), (220, 60, 140), (60, 170, 80), (230, 140, 30)]
INK = (16, 12, 16)


def _variant(look: Look) -> str:
    if look.makeup == "halloween":
        return "skull" if look.detail % 2 else "stitches"
    return look.makeup


def under(pen: Pen, look: Look) -> None:
    """Paint on the skin; drawn before eyes, nose and mouth."""
    if look.makeup:
        rng = np.random.default_rng([look.detail, 6])
        with pen.clip(outline(look)):
            {"full": _full, "shadow": _shadow, "liner": _liner, "joker": _white, "skull": _skull, "stitches": _dead}[
                _variant(look)
            ](pen, look, SHADOWS[rng.integers(len(SHADOWS))])


def over(pen: Pen, look: Look) -> None:
    """Paint over eyes and mouth."""
    {"liner": _wings, "full": _wings, "joker": _joker, "skull": _teeth, "stitches": _seams}.get(
        _variant(look), lambda pen, look: None
    )(pen, look)


def _lids(pen: Pen, look: Look, colour, alpha: float, reach: float) -> None:
    for s in (-1, 1):
        own = pen.at(s * look.eye_x, look.eye_y, angle=s * look.eye_tilt, flip=s < 0)
        w, up = look.eye_w, look.brow_gap * reach + look.eye_h * 0.4
        own.blob(
            [
                (-w * 1.15, 0.04),
                (-0.8 * w, -up * 0.8),
                (0.2 * w, -up * 1.05),
                (1.45 * w, -up * 0.95),
                (1.35 * w, 0.02),
                (0, 0.08),
            ],
            colour,
            alpha,
        )


def _full(pen: Pen, look: Look, colour) -> None:
    _shadow(pen, look, colour)
    y = (look.eye_y + look.mouth_y) / 2 + 0.04
    for s in (-1, 1):
        blush(pen.at(s * look.width * 0.66, y, angle=-s * 28), 0, 0, 0.25, 0.13, (226, 40, 90))


def _shadow(pen: Pen, look: Look, colour) -> None:
    _lids(pen, look, colour, 0.9, 1.05)
    _lids(pen, look, mix(colour, (255, 240, 255), 0.45), 0.5, 0.6)


def _liner(pen: Pen, look: Look, colour) -> None:
    _lids(pen, look, (20, 16, 24), 0.45, 0.7)
    for s in (-1, 1):
        pen.ellipse(s * look.eye_x, look.eye_y, look.eye_w * 1.25, look.eye_h * 1.75, INK)


def _wings(pen: Pen, look: Look) -> None:
    for s in (-1, 1):
        own = pen.at(s * look.eye_x, look.eye_y, angle=s * look.eye_tilt, flip=s < 0)
        w, h = look.eye_w, look.eye_h
        thick = 0.06 if look.makeup == "liner" else 0.045
        own.line(
            [(-w, 0.2 * h), (-0.3 * w, -0.85 * h), (0.3 * w, -0.98 * h), (w, -0.1), (1.65 * w, -0.19)],
            thick,
            INK,
            ends=(0.6, 0.3),
        )
        own.line([(-0.6 * w, 0.75 * h), (0.3 * w, 0.9 * h), (w * 1.05, -0.02)], thick * 0.7, INK)


def _white(pen: Pen, look: Look, colour) -> None:
    pen.polygon(outline(look), WHITE, 0.93)
    paint = [(30, 60, 150), (20, 20, 30), (20, 110, 90)][look.detail % 3]
    for s in (-1, 1):
        x, y = s * look.eye_x, look.eye_y
        if look.detail % 5 < 3:
            pen.polygon([(x, y - 0.38), (x + 0.16, y), (x, y + 0.4), (x - 0.16, y)], paint)
        pen.ellipse(x, y, look.eye_w * 1.25, look.eye_h * 1.9, paint)


def _joker(pen: Pen, look: Look) -> None:
    """A painted grin that runs into the cheeks."""
    y, w, red = look.mouth_y, look.mouth_w, (200, 16, 36)
    pen.blob(
        [
            (-w * 2.1, y - 0.26),
            (-w, y - 0.03),
            (0, y - 0.02),
            (w, y - 0.03),
            (w * 2.1, y - 0.26),
            (w * 1.1, y + 0.13),
            (0, y + 0.17),
            (-w * 1.1, y + 0.13),
        ],
        red,
    )
    pen.line(
        [(-w * 1.2, y - 0.01), (-0.5 * w, y + 0.05), (0.5 * w, y + 0.05), (w * 1.2, y - 0.01)],
        0.03,
        (90, 0, 16),
        ends=(0.3, 0.3),
    )
    if look.detail % 2:
        pen.ellipse(0, look.nose_y - 0.04, 0.13, 0.12, red)
        pen.ellipse(-0.04, look.nose_y - 0.08, 0.03, 0.03, (255, 200, 200))


def _skull(pen: Pen, look: Look, colour) -> None:
    pen.polygon(outline(look), (240, 238, 230), 0.95)
    for s in (-1, 1):
        pen.ellipse(s * look.eye_x, look.eye_y, 0.26, 0.25, INK)
        pen.blob([(s * 1.0, 0.2), (s * 0.5, 0.42), (s * 0.56, 0.7), (s * 1.0, 0.9)], INK, 0.85)


def _teeth(pen: Pen, look: Look) -> None:
    y, n = look.mouth_y + 0.01, look.nose_y
    pen.polygon([(0, n - 0.2), (0.13, n + 0.03), (0.04, n + 0.05), (0, n), (-0.04, n + 0.05), (-0.13, n + 0.03)], INK)
    pen.blob(
        [(-0.5, y), (-0.2, y - 0.12), (0.2, y - 0.12), (0.5, y), (0.2, y + 0.12), (-0.2, y + 0.12)], (240, 238, 230)
    )
    pen.line([(-0.54, y - 0.02), (0, y + 0.02), (0.54, y - 0.02)], 0.035, INK, ends=(0.4, 0.4))
    for x in np.linspace(-0.42, 0.42, 8):
        pen.line([(x, y - 0.11), (x, y + 0.12)], 0.03, INK)


def _dead(pen: Pen, look: Look, colour) -> None:
    """A pale green face with dark rings around the eyes."""
    pen.polygon(outline(look), (150, 186, 140), 0.8)
    for s in (-1, 1):
        pen.ellipse(s * look.eye_x, look.eye_y + 0.03, 0.23, 0.2, (70, 30, 70), 0.85)


def _seams(pen: Pen, look: Look) -> None:
    """Stitches across the mouth, a cheek and the forehead."""
    y, s, thread = look.mouth_y, look.part, (40, 10, 20)
    seams = [[(-0.46, y - 0.04), (0, y), (0.46, y - 0.04)]]
    seams += [[(s * 0.3, look.eye_y + 0.16), (s * 0.44, look.eye_y + 0.36), (s * 0.5, look.eye_y + 0.52)]]
    seams += [[(-s * 0.46, -0.36), (-s * 0.2, -0.44), (s * 0.05, -0.4)]]
    for seam in seams:
        path = smooth(seam, closed=False)
        pen.line(path, 0.035, thread, curved=False)
        across = np.gradient(path, axis=0)[:, ::-1] * (-1, 1)
        across /= np.hypot(across[:, 0], across[:, 1])[:, None]
        for point, step in zip(path[1::3], across[1::3]):
            pen.line([point - step * 0.085, point + step * 0.085], 0.032, thread)
    if look.detail % 3:
        pen.line([(s * 0.12, y + 0.04), (s * 0.13, y + 0.24)], 0.05, (170, 10, 20), ends=(0.4, 1.2))
