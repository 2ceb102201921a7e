"""A hand before the face or the hair: four fingers, a thumb, and an arm that comes from the frame's edge."""

from __future__ import annotations

import numpy as np

from drawn_faces.drawing.canvas import Pen, darker, lighter, mix
from drawn_faces.drawing.person import Look


def hands(pen: Pen, look: Look) -> None:
    """The look's hands; a second one comes from the other side."""
    rng = np.random.default_rng([look.detail, 7])
    side = int(rng.choice([-1, 1]))
    for number, where in enumerate(look.hands):
        one = side if number == 0 else -side
        if where == "face":
            x, y, angle = rng.uniform(0.1, 0.4), rng.uniform(0.35, 0.6), rng.uniform(-34, -8)
        else:
            x, y, angle = rng.uniform(0.5, 0.72), rng.uniform(-0.5, -0.32), rng.uniform(-52, -28)
        _hand(pen.at(one * x, y, rng.uniform(0.95, 1.12), one * angle, flip=one < 0), look, where, rng)


def _hand(own: Pen, look: Look, where: str, rng) -> None:
    """A right hand seen from its back; fingers point up, the arm leaves downwards and outwards."""
    skin, line, width = lighter(look.skin, 0.06), darker(look.skin, 0.5), 0.155
    bend = 0.3 if where == "face" else 0.75
    arm = [(0.02, 0.2), (bend * 0.3, 0.9), (bend, 1.7), (bend * 2.2, 3.4)]
    own.line(arm, 0.5, line)
    own.line(arm, 0.44, skin)
    own.line(arm[1:], 0.66, darker(look.cloth, 0.3))
    own.line(arm[1:], 0.6, look.cloth)
    palm = [
        (-0.3, -0.1),
        (-0.15, -0.2),
        (0.1, -0.22),
        (0.3, -0.1),
        (0.3, 0.2),
        (0.2, 0.46),
        (-0.16, 0.46),
        (-0.3, 0.25),
    ]
    thumb = [(-0.2, 0.3), (-0.42, 0.08), (-0.52, -0.16)]
    spread = rng.uniform(0.7, 1.25)
    fingers = [
        [(x, -0.05), (x + lean * 0.5 * spread, -0.05 - tall * 0.5), (x + lean * spread, -0.05 - tall)]
        for x, lean, tall in ((-0.23, -0.14, 0.56), (-0.075, -0.04, 0.68), (0.08, 0.05, 0.64), (0.23, 0.15, 0.48))
    ]
    own.blob([(x * 1.1, y * 1.06) for x, y in palm], line)
    for finger in [thumb, *fingers]:
        own.line(finger, width + 0.055, line, ends=(1, 0.95))
        own.line(finger, width, skin, ends=(1, 0.92))
        tip = finger[-1]
        own.ellipse(tip[0], tip[1] - 0.015, 0.042, 0.055, mix(skin, (250, 200, 200), 0.6))
    own.blob(palm, skin)
    for finger in fingers:
        x, y = finger[1]
        own.line([(x - 0.045, y + 0.01), (x + 0.045, y + 0.01)], 0.018, line, 0.6)
    for x in (-0.15, 0.0, 0.155):
        own.line([(x, -0.2), (x * 0.9, -0.06)], 0.022, line, 0.6)
