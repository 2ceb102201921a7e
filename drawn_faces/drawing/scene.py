"""What is behind a person, and what light, water, night or a lens do to the finished picture."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from drawn_faces.drawing.canvas import Canvas, Pen, darker, lighter, mix
from drawn_faces.drawing.person import Look

DARK_MEAN = (20.0, 38.0)
"""Mean luminance of dark pictures, between 0 and 255."""
BRIGHT_MEAN = 92.0
"""All other pictures are at least this bright on average."""


def backdrop(canvas: Canvas, look: Look) -> None:
    """The background, from edge to edge."""
    pen = Pen.on(canvas)
    if look.light == "water":
        _water(canvas, pen, look)
    elif look.light in ("night", "dim", "black"):
        _night(canvas, pen, look)
    elif look.light in ("behind", "hard"):
        _sky(canvas, pen, look)
    else:
        one, two, _ = look.back_colours
        _fade(canvas, lighter(one, 0.15), darker(two, 0.06), look.lit * 0.4)
        _BACKDROPS.get(look.backdrop, lambda pen, look: None)(pen, look)


def _fade(canvas: Canvas, top, bottom, slant: float = 0.0) -> None:
    y, x = np.mgrid[0:1:8j, 0:1:8j]
    share = np.clip(y + slant * (x - 0.5), 0, 1)[..., None]
    canvas.gradient(np.array(top) * (1 - share) + np.array(bottom) * share)


def _disc(pen: Pen, look: Look) -> None:
    pen.ellipse(look.x, look.y, 0.4, 0.4, look.back_colours[2], 0.75)


def _stripes(pen: Pen, look: Look) -> None:
    for n in range(-2, 12):
        x = n * 0.14
        pen.polygon([(x, 0), (x + 0.06, 0), (x + 0.06 - 0.2, 1), (x - 0.2, 1)], look.back_colours[2], 0.5)


def _hills(pen: Pen, look: Look) -> None:
    rng = np.random.default_rng([look.detail, 8])
    for n, y in enumerate((0.5, 0.68)):
        tops = [(x, y + rng.uniform(-0.09, 0.09)) for x in (-0.1, 0.2, 0.5, 0.8, 1.1)]
        pen.blob([(-0.3, 1.3), *tops, (1.3, 1.3)], darker(look.back_colours[2 - n], 0.05 + 0.06 * n), 0.8)


def _window(pen: Pen, look: Look) -> None:
    x = 0.62 if look.lit > 0 else 0.04
    pen.polygon([(x, 0.08), (x + 0.34, 0.08), (x + 0.34, 0.62), (x, 0.62)], lighter(look.back_colours[2], 0.6))
    for line in ([(x, 0.35), (x + 0.34, 0.35)], [(x + 0.17, 0.08), (x + 0.17, 0.62)]):
        pen.line(line, 0.014, darker(look.back_colours[2], 0.15))


def _dots(pen: Pen, look: Look) -> None:
    rng = np.random.default_rng([look.detail, 8])
    for x, y, r in rng.uniform((0, 0, 0.02), (1, 1, 0.09), (14, 3)):
        pen.ellipse(x, y, r, r, look.back_colours[2], 0.5)


_BACKDROPS = {"disc": _disc, "stripes": _stripes, "hills": _hills, "window": _window, "dots": _dots}


def _water(canvas: Canvas, pen: Pen, look: Look) -> None:
    _fade(canvas, (120, 214, 222), (14, 78, 120))
    for n in range(5):
        x = 0.05 + 0.22 * n
        pen.polygon(
            [(x, -0.1), (x + 0.07, -0.1), (x + 0.12 - look.lit * 0.2, 1.1), (x - 0.08 - look.lit * 0.2, 1.1)],
            (220, 255, 250),
            0.22,
        )


def _night(canvas: Canvas, pen: Pen, look: Look) -> None:
    rng = np.random.default_rng([look.detail, 9])
    if look.light != "night":
        tint = mix(look.back_colours[0], (60, 60, 80), 0.6)
        _fade(canvas, tint, darker(tint, 0.6))
        return
    _fade(canvas, (30, 40, 90), (60, 66, 120))
    for x, y, r in rng.uniform((0, 0, 0.004), (1, 0.7, 0.009), (36, 3)):
        pen.ellipse(x, y, r, r, (255, 255, 240))
    x, y = 0.5 + look.lit * 0.36, rng.uniform(0.12, 0.2)
    pen.ellipse(x, y, 0.1, 0.1, (255, 250, 215))
    if look.part > 0:
        pen.ellipse(x - look.lit * 0.05, y - 0.02, 0.09, 0.09, (34, 44, 94))


def _sky(canvas: Canvas, pen: Pen, look: Look) -> None:
    warm = look.light == "behind"
    _fade(canvas, (255, 214, 140) if warm else (120, 190, 240), (255, 170, 110) if warm else (220, 240, 250))
    x, y = sun(look)
    for angle in np.arange(0, 360, 30.0) + look.detail % 30:
        ray = pen.at(x, y, angle=angle)
        ray.polygon([(0.08, -0.015), (1.6, -0.13), (1.6, 0.13), (0.08, 0.015)], (255, 250, 200), 0.55)
    for r, alpha in ((0.27, 0.35), (0.21, 0.5), (0.155, 1.0)):
        pen.ellipse(x, y, r, r, (255, 250, 214), alpha)


def sun(look: Look) -> tuple[float, float]:
    """Where the sun stands in the picture."""
    if look.light == "behind":
        return look.x + look.lit * 0.24, look.y - 0.25
    return 0.5 + look.lit * 0.4, 0.1


def foreground(canvas: Canvas, look: Look) -> None:
    """What floats before a person: bubbles under water."""
    if look.light == "water":
        pen, rng = Pen.on(canvas), np.random.default_rng([look.detail, 11])
        for x, y, r in rng.uniform((0.02, 0.02, 0.012), (0.98, 0.98, 0.042), (18, 3)):
            pen.ellipse(x, y, r, r, (220, 255, 255), 0.45)
            pen.ring(x, y, r, r, 0.008, (255, 255, 255))
            pen.ellipse(x - r * 0.35, y - r * 0.35, r * 0.25, r * 0.25, (255, 255, 255))


def finish(image: Image.Image, look: Look) -> Image.Image:
    """The picture under the look's light, and out of focus if asked."""
    pixels = np.asarray(image).astype(np.float32)
    if look.light == "water":
        pixels = _submerged(pixels)
    elif look.light in ("behind", "hard"):
        pixels = _glare(pixels, look)
    if look.light in ("night", "dim", "black"):
        pixels = _darkened(pixels, look)
    elif (mean := _mean(pixels)) < BRIGHT_MEAN:
        pixels = pixels + (255 - pixels) * np.float32((BRIGHT_MEAN - mean) / (255 - mean))
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return image.filter(ImageFilter.GaussianBlur(image.width * 0.022)) if look.blurry else image


def _mean(pixels: np.ndarray) -> float:
    return float(pixels.mean((0, 1)) @ (0.299, 0.587, 0.114))


def _distance(size: int, x: float, y: float) -> np.ndarray:
    """Every pixel's distance from a place, as a share of the picture's size."""
    centres = (np.arange(size, dtype=np.float32) + 0.5) / size
    return np.sqrt((centres[None] - np.float32(x)) ** 2 + (centres[:, None] - np.float32(y)) ** 2)[..., None]


def _submerged(pixels: np.ndarray) -> np.ndarray:
    size = len(pixels)
    depth = np.linspace(0.0, 1.0, size, dtype=np.float32)[:, None, None]
    tint = np.array([20, 150, 178], np.float32) * (1.1 - 0.5 * depth)
    return pixels * 0.6 + tint * 0.4


def _glare(pixels: np.ndarray, look: Look) -> np.ndarray:
    glow = np.exp(-((_distance(len(pixels), *sun(look)) / (0.34 if look.light == "behind" else 0.4)) ** 2))
    washed = 0.16 if look.light == "behind" else 0.06
    return pixels + (np.array([255, 246, 214], np.float32) - pixels) * np.clip(glow * 0.62 + washed, 0, 1)


def _darkened(pixels: np.ndarray, look: Look) -> np.ndarray:
    rng = np.random.default_rng([look.detail, 10])
    tint = {"night": (0.62, 0.72, 1.0), "dim": (1.0, 0.8, 0.55), "black": (0.8, 0.85, 1.0)}[look.light]
    near = {"night": 0.75, "dim": 0.3, "black": 0.42}[look.light]
    place = (look.x + look.lit * 0.28, look.y - 0.05) if look.light == "dim" else (look.x, look.y)
    lamp = np.exp(-((_distance(len(pixels), *place) / near) ** 2))
    grey = pixels.mean(2, keepdims=True)
    lit = (pixels * 0.7 + grey * 0.3) * np.array(tint, np.float32) * (0.12 + lamp)
    goal = rng.uniform(*DARK_MEAN) * (0.7 if look.light == "black" else 1.0)
    for _ in range(2):  # clipping takes some of the light away
        lit = np.clip(lit * np.float32(goal / _mean(lit)), 0, 255)
    return lit
