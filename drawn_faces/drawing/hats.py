"""Five kinds of hat, in the coordinates of a head pen; each covers the crown and leaves the eyes free."""

from __future__ import annotations

import numpy as np

from drawn_faces.drawing.canvas import Pen, darker, lighter, mirrored, smooth
from drawn_faces.drawing.person import CLOTHES, Look


def hat(pen: Pen, look: Look) -> None:
    """The look's hat, if it has one."""
    if look.hat:
        rng = np.random.default_rng([look.detail, 5])
        one, two = (CLOTHES[n] for n in rng.choice(len(CLOTHES), 2, replace=False))
        _HATS[look.hat](pen, look, one, two)


def _baseball(pen: Pen, look: Look, one, two) -> None:
    w, y = look.width + 0.07, look.eye_y - 0.36
    dome = smooth(
        [
            (-w, y + 0.06),
            (-w * 0.96, -0.75),
            (-0.5 * w, -1.2),
            (0, -1.28),
            (0.5 * w, -1.2),
            (w * 0.96, -0.75),
            (w, y + 0.06),
            (0, y - 0.02),
        ]
    )
    pen.polygon(dome, one)
    with pen.clip(dome):
        pen.polygon(
            [(-w * look.lit * 0.4, -2), (-w * look.lit * 0.7, 1), (-look.lit * 2, 1), (-look.lit * 2, -2)],
            darker(one, 0.4),
            0.35,
        )
        for x in (-0.42, 0.42):
            pen.line([(x * w, y), (x * w * 0.95, -0.9), (0, -1.28)], 0.022, darker(one, 0.4))
    pen.ellipse(0, -1.27, 0.07, 0.045, two)
    pen.blob([(-0.2, y - 0.48), (0.2, y - 0.48), (0.22, y - 0.22), (0, y - 0.14), (-0.22, y - 0.22)], two)
    s = look.part * 0.1
    visor = [
        (-w * 0.86, y - 0.04),
        (s, y - 0.16),
        (w * 0.86, y - 0.04),
        (w * 0.98 + s, y + 0.14),
        (s, y + 0.26),
        (-w * 0.98 + s, y + 0.14),
    ]
    pen.blob(visor, darker(one, 0.45))
    pen.blob([(x, v - 0.04) for x, v in visor], darker(one, 0.18) if look.part > 0 else two)


def _straw(pen: Pen, look: Look, one, two) -> None:
    straw, y, w = (230, 196, 120), look.eye_y - 0.38, look.width
    brim = smooth(
        mirrored([(0, y - 0.3), (1.0, y - 0.24), (1.58, y - 0.08), (1.45, y + 0.12), (0.8, y + 0.16), (0, y + 0.17)])
    )
    pen.polygon(brim, straw)
    with pen.clip(brim):
        for k in (0.35, 0.55, 0.75, 0.95):
            pen.ring(0, y - 0.06, 1.6 * k, 0.26 * k, 0.025, darker(straw, 0.25))
    dome = smooth(mirrored([(0, -1.42), (0.55 * w, -1.36), (0.86 * w, -1.05), (w * 0.98, y - 0.06), (0, y + 0.02)]))
    pen.polygon(dome, lighter(straw, 0.12))
    with pen.clip(dome):
        for v in np.arange(-1.4, y, 0.13):
            pen.line([(-1, v - 0.03), (0, v + 0.05), (1, v - 0.03)], 0.022, darker(straw, 0.25))
        for x in np.arange(-0.8, 0.9, 0.2):
            pen.line([(x, -1.5), (x * 1.15, y)], 0.016, darker(straw, 0.2), 0.7)
        pen.line([(-1.1, y - 0.14), (0, y - 0.07), (1.1, y - 0.14)], 0.2, one)


def _beanie(pen: Pen, look: Look, one, two) -> None:
    w, y = look.width + 0.07, look.eye_y - 0.3
    tall = -1.3 - 0.15 * look.volume * 5
    dome = smooth(mirrored([(0, tall), (0.5 * w, tall + 0.08), (0.95 * w, -0.8), (w, y), (0, y + 0.03)]))
    if look.detail % 2:
        pen.ellipse(0, tall - 0.1, 0.24, 0.22, two)
        for angle in np.arange(0, 6.2, 0.7):
            pen.ellipse(0.18 * np.cos(angle), tall - 0.1 + 0.16 * np.sin(angle), 0.09, 0.09, lighter(two, 0.15))
    pen.polygon(dome, one)
    with pen.clip(dome):
        for x in np.linspace(-0.9, 0.9, 9):
            pen.line([(x * w, y), (x * w * 0.85, -0.8), (x * 0.25, tall)], 0.03, darker(one, 0.3), 0.8)
    cuff = [
        (-w * 1.04, y - 0.26),
        (0, y - 0.3),
        (w * 1.04, y - 0.26),
        (w * 1.05, y + 0.04),
        (0, y + 0.08),
        (-w * 1.05, y + 0.04),
    ]
    pen.polygon(cuff, two if look.part > 0 else lighter(one, 0.2))
    for x in np.linspace(-0.95, 0.95, 13):
        pen.line([(x * w, y - 0.25), (x * w, y + 0.04)], 0.025, darker(two if look.part > 0 else one, 0.3), 0.7)


def _fedora(pen: Pen, look: Look, one, two) -> None:
    felt, y, w = darker(one, 0.25), look.eye_y - 0.36, look.width
    brim = smooth(
        mirrored([(0, y - 0.16), (0.9, y - 0.22), (1.3, y - 0.34), (1.25, y - 0.12), (0.7, y + 0.1), (0, y + 0.14)])
    )
    crown = smooth(
        mirrored(
            [(0, -1.28), (0.3 * w, -1.46), (0.72 * w, -1.36), (0.9 * w, -0.8), (w * 0.98, y - 0.06), (0, y + 0.02)]
        )
    )
    pen.polygon(crown, felt)
    with pen.clip(crown):
        pen.blob([(-0.12, -1.4), (0, -1.05), (0.12, -1.4)], darker(felt, 0.4), 0.7)
        pen.polygon(
            [(-look.lit * 0.35, -2), (-look.lit * 0.5, 1), (-look.lit * 2, 1), (-look.lit * 2, -2)],
            darker(felt, 0.5),
            0.35,
        )
        pen.line([(-1.1, y - 0.18), (0, y - 0.1), (1.1, y - 0.18)], 0.2, darker(two, 0.1))
    pen.polygon(brim, darker(felt, 0.15))
    pen.line(
        [(-1.2, y - 0.24), (-0.7, y - 0.03), (0, y + 0.02), (0.7, y - 0.03), (1.2, y - 0.24)],
        0.03,
        lighter(felt, 0.3),
        0.6,
    )


def _bucket(pen: Pen, look: Look, one, two) -> None:
    y, w = look.eye_y - 0.42, look.width
    crown = smooth(mirrored([(0, -1.3), (0.62 * w, -1.28), (0.78 * w, -1.2), (w * 1.02, y - 0.04), (0, y + 0.02)]))
    brim = smooth(
        mirrored(
            [
                (0, y - 0.08),
                (0.6 * w, y - 0.1),
                (w * 1.04, y - 0.14),
                (w * 1.42, y + 0.2),
                (w * 0.8, y + 0.3),
                (0, y + 0.32),
            ]
        )
    )
    pen.polygon(brim, darker(one, 0.16))
    with pen.clip(brim):
        for k in (0.06, 0.14, 0.22):
            pen.line([(-w * 1.3, y + k), (0, y + k + 0.06), (w * 1.3, y + k)], 0.02, darker(one, 0.4), 0.8)
    pen.polygon(crown, one)
    with pen.clip(crown):
        if look.detail % 2:
            pen.polygon([(-2, y - 0.24), (2, y - 0.24), (2, y), (-2, y)], two)
        pen.polygon(
            [(-look.lit * 0.4, -2), (-look.lit * 0.55, 1), (-look.lit * 2, 1), (-look.lit * 2, -2)],
            darker(one, 0.5),
            0.3,
        )


_HATS = {"baseball": _baseball, "straw": _straw, "beanie": _beanie, "fedora": _fedora, "bucket": _bucket}
