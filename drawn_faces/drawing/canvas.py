"""A supersampled canvas: smooth closed curves, tapered strokes and clipping, in coordinates that know no pixels.

Every shape is given in the coordinates of a Pen, so a drawing has the same composition at any size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Points = Sequence[tuple[float, float]] | np.ndarray


class Canvas:
    """A square picture drawn at a multiple of its size; `finish` averages it down."""

    def __init__(self, size: int):
        self.size = size
        self.factor = 2 if size >= 256 else 3
        self.corner = np.zeros(2)
        self._target(Image.new("RGB", (size * self.factor,) * 2))

    def _target(self, image: Image.Image) -> None:
        self.image = image
        self.draw = ImageDraw.Draw(image, "RGBA")

    def finish(self) -> Image.Image:
        return self.image.reduce(self.factor)

    def gradient(self, grid: np.ndarray) -> None:
        """Cover everything with a coarse grid of colours (rows × columns × 3), interpolated smoothly."""
        image = Image.fromarray(np.clip(grid, 0, 255).astype(np.uint8))
        self.image.paste(image.resize(self.image.size, Image.Resampling.BICUBIC))

    def polygon(self, pixels: np.ndarray, colour: Colour, alpha: float = 1.0) -> None:
        fill = colour if alpha >= 1 else (*colour, round(255 * alpha))
        self.draw.polygon((pixels - self.corner).ravel().tolist(), fill=fill)

    @contextmanager
    def clip(self, pixels: np.ndarray) -> Iterator[None]:
        """Whatever is drawn meanwhile appears only within the polygon."""
        whole, corner = self.image, self.corner
        inside = pixels - corner
        low = np.maximum(np.floor(inside.min(0)).astype(int), 0)
        high = np.minimum(np.ceil(inside.max(0)).astype(int) + 1, whole.size)
        box = (*low.tolist(), *np.maximum(high, low + 1).tolist())
        mask = Image.new("L", (box[2] - box[0], box[3] - box[1]))
        ImageDraw.Draw(mask).polygon((inside - low).ravel().tolist(), fill=255)
        self._target(whole.crop(box))
        self.corner = corner + low
        try:
            yield
        finally:
            part, self.corner = self.image, corner
            self._target(whole)
            whole.paste(part, box[:2], mask)


class Pen:
    """Draws on a canvas in coordinates of its own: x right, y down, `scale` of the canvas a unit."""

    def __init__(self, canvas: Canvas, matrix: np.ndarray, origin: np.ndarray):
        self.canvas, self.matrix, self.origin = canvas, matrix, origin

    @classmethod
    def on(cls, canvas: Canvas) -> Pen:
        """The pen whose unit square is the canvas."""
        return cls(canvas, np.eye(2) * canvas.size * canvas.factor, np.zeros(2))

    def at(self, x: float, y: float, scale: float = 1.0, angle: float = 0.0, flip: bool = False) -> Pen:
        """A pen with its origin at (x, y), turned clockwise by `angle` degrees, mirrored first if asked."""
        cos, sin = math.cos(math.radians(angle)) * scale, math.sin(math.radians(angle)) * scale
        turn = np.array([[cos, sin], [-sin, cos]])
        if flip:
            turn = np.array([[-1.0, 0.0], [0.0, 1.0]]) @ turn
        return Pen(self.canvas, turn @ self.matrix, self.pixels([(x, y)])[0])

    def pixels(self, points: Points) -> np.ndarray:
        return np.asarray(points, float) @ self.matrix + self.origin

    def polygon(self, points: Points, colour: Colour, alpha: float = 1.0) -> None:
        self.canvas.polygon(self.pixels(points), colour, alpha)

    def blob(self, points: Points, colour: Colour, alpha: float = 1.0) -> None:
        """A smooth closed shape through the points."""
        self.polygon(smooth(points), colour, alpha)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour, alpha: float = 1.0) -> None:
        self.polygon(oval(x, y, rx, ry), colour, alpha)

    def line(
        self,
        points: Points,
        width: float,
        colour: Colour,
        alpha: float = 1.0,
        ends: tuple[float, float] = (1.0, 1.0),
        curved: bool = True,
    ) -> None:
        """A stroke of that width in the middle; `ends` are the widths of its ends, as shares of it."""
        path = smooth(points, closed=False) if curved and len(points) > 2 else np.asarray(points, float)
        self.polygon(_outline(path, width / 2, ends), colour, alpha)

    def ring(self, x: float, y: float, rx: float, ry: float, width: float, colour: Colour) -> None:
        self.line(oval(x, y, rx, ry)[[*range(len(_circle())), 0, 1]], width, colour, curved=False)

    def clip(self, points: Points):
        return self.canvas.clip(self.pixels(points))


def smooth(points: Points, closed: bool = True) -> np.ndarray:
    """A Catmull-Rom curve through the points, eight pieces between two of them."""
    points = np.asarray(points, float)
    if closed:
        around = np.concatenate([points[-1:], points, points[:2]])
    else:
        around = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    four = np.stack([around[:-3], around[1:-2], around[2:-1], around[3:]])
    curve = np.einsum("sk,knd->nsd", _basis(), four).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, points[-1:]])


@cache
def _basis(steps: int = 8) -> np.ndarray:
    t = np.arange(steps)[:, None] / steps
    return np.hstack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2]) / 2


@cache
def _circle(steps: int = 40) -> np.ndarray:
    angle = np.arange(steps) * 2 * np.pi / steps
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def oval(x: float, y: float, rx: float, ry: float) -> np.ndarray:
    return _circle() * (rx, ry) + (x, y)


def mirrored(points: Points) -> np.ndarray:
    """A closed outline from its right half, listed from top to bottom, with x > 0 but for points on the axis."""
    right = np.asarray(points, float)
    left = right[right[:, 0] > 1e-9][::-1] * (-1, 1)
    return np.concatenate([right, left])


def _outline(path: np.ndarray, radius: float, ends: tuple[float, float]) -> np.ndarray:
    """The polygon around a path, with round ends."""
    along = np.gradient(path, axis=0)
    length = np.hypot(along[:, 0], along[:, 1])[:, None]
    along = along / np.maximum(length, 1e-9)
    radii = radius * np.interp(np.linspace(0, 1, len(path)), [0, 0.5, 1], [ends[0], 1, ends[1]])[:, None]
    across = np.stack([-along[:, 1], along[:, 0]], 1) * radii
    cap = np.linspace(0, np.pi, 8)[1:-1, None]
    tip = path[-1] + np.cos(cap) * across[-1] + np.sin(cap) * along[-1] * radii[-1]
    tail = path[0] - np.cos(cap) * across[0] - np.sin(cap) * along[0] * radii[0]
    return np.concatenate([path + across, tip, (path - across)[::-1], tail])


def mix(one: Colour, two: Colour, share: float) -> Colour:
    """The colour that is `share` of the way from one to two."""
    return tuple(round(a + (b - a) * share) for a, b in zip(one, two))


def darker(colour: Colour, share: float) -> Colour:
    return mix(colour, (20, 12, 16), share)


def lighter(colour: Colour, share: float) -> Colour:
    return mix(colour, (255, 252, 248), share)


def luminance(colour: Colour) -> float:
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
