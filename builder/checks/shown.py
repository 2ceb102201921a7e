"""How surely a picture shows a feature that can be measured: by its light, its sharpness, and how its face is held."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from PIL import Image

from builder.checks.verdict import Seen
from builder.spec.criteria import SHAPES, Shown

NEARLY_WHITE = 242
"""The least value, 0 to 255, of a highlight."""
LIGHT, ANGLE, PITCH, HEIGHT, SHARP, SHAPE = 0.05, 5.0, 3.0, 0.05, 3.0, 0.1
"""How fast a score changes around its limit: by 0.23 for each, from 0.5 at the limit itself."""
FACE_DARKER = 5 / 6
"""A dark picture's face, too, must be dark: its mean luminance, as a share of the picture's limit. 0.25 for 0.3."""


def measured_score(check: Shown, image: Image.Image, seen: Seen) -> float | None:
    """Return the least of the scores of what can be measured, 0.5 at the limit; None where nothing is, or could be.

    What was not seen is not measured: without a face, light is the whole picture's, and nobody knows which way it
    looks. The limits' sources stand beside them in the table.
    """
    distances = [*_light(check, image, seen.get("face_box")), *_geometry(check, image.height, seen)]
    return min(map(_score, distances), default=None)


def _score(distance: float) -> float:
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, distance))))


def _light(check: Shown, image: Image.Image, box: tuple[float, ...] | None) -> Iterator[float]:
    """The distances from the limits of light, of the picture and of the face in its box."""
    if check.darker_than is None and check.highlights_over is None:
        return
    grey = np.asarray(image.convert("L"))
    face = _part(grey, box)
    if check.darker_than is not None:
        limit = check.darker_than * (FACE_DARKER if box else 1)
        yield (check.darker_than - float(grey.mean()) / 255) / LIGHT
        yield (limit - float(face.mean()) / 255) / LIGHT
    if check.highlights_over is not None:
        for part in (grey, face):
            yield (float((part >= NEARLY_WHITE).mean()) - check.highlights_over) / LIGHT


def _part(grey: np.ndarray, box: tuple[float, ...] | None) -> np.ndarray:
    """The part of a picture in a box that may stick out of it; the whole picture where there is no box."""
    if box is None:
        return grey
    left, top, width, height = box
    part = grey[max(0, int(top)) : max(0, int(top + height)), max(0, int(left)) : max(0, int(left + width))]
    return part if part.size else grey


def _geometry(check: Shown, height: int, seen: Seen) -> Iterator[float]:
    """The distances from the limits of what the face detector and the check of sharpness have seen."""
    box, yaw, roll = seen.get("face_box"), seen.get("yaw"), seen.get("roll")
    over = [
        (None if yaw is None else abs(yaw), check.yaw_over, ANGLE),
        (None if roll is None else abs(roll), check.tilt, ANGLE),
        *((seen.get(shape), getattr(check, shape), SHAPE) for shape in SHAPES),
    ]
    under = [
        (None if yaw is None else abs(yaw), check.yaw_under, ANGLE),
        (seen.get("pitch"), check.pitch_under, PITCH),
        (None if box is None else box[3] / height, check.face_height_under, HEIGHT),
        (seen.get("sharpness"), check.sharpness_under, SHARP),
    ]
    for sign, rules in ((1, over), (-1, under)):
        yield from (
            sign * (value - limit) / softness
            for value, limit, softness in rules
            if value is not None and limit is not None
        )
