"""Faces that a detector finds: where they are, which way they look."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

SAME = 0.3
"""Boxes that share more of their area than this are one face."""


@dataclass(frozen=True)
class Box:
    """A face that was found: left, top, width and height in pixels; and, but for Haar, how certain it is (0 to 1), and
    x and y of its right eye, left eye, nose, right and left corner of the mouth.

    `pose` is roll, yaw and, if the detector tells, pitch in degrees; `shapes` are criteria.SHAPES, if it tells them.
    """

    left: float
    top: float
    width: float
    height: float
    score: float | None = None
    points: tuple[float, ...] | None = None
    pose: tuple[float | None, ...] = (None, None, None)
    shapes: dict[str, float] = field(default_factory=dict)


class Detector(Protocol):
    """Finds faces."""

    def find(self, pixels: np.ndarray, rule: str, smallest: float) -> list[Box]:
        """Faces in a picture, uint8 (height, width, 3), RGB, at least `smallest` of its height."""


def distinct(boxes: list[Box]) -> list[Box]:
    """Boxes of different faces: of those that overlap the most certain and largest stays."""
    kept: list[Box] = []
    for box in sorted(boxes, key=lambda box: (box.score or 0, box.height, -box.left), reverse=True):
        if all(_overlap(box, other) <= SAME for other in kept):
            kept.append(box)
    return kept


def _overlap(one: Box, other: Box) -> float:
    """Shared area over the smaller one's."""
    wide = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    high = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    return max(wide, 0) * max(high, 0) / min(one.width * one.height, other.width * other.height)
