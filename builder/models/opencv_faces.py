"""OpenCV's own face detectors as they are, with no bar and no rule of ours: for measuring them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from builder.models.source import YUNET

MODEL = Path(__file__).parent / "yunet" / YUNET
LEAST = 0.05
"""Faces that YuNet is less sure of are not listed: there may be thousands."""
Boxes = list[list[float]]


def yunet() -> Callable[[np.ndarray], Boxes]:
    """Return a function that finds faces on a picture, uint8 (height, width, 3), RGB: left, top, width, height, score.

    YuNet looks at the whole picture in its own size, and lists what its own suppression of overlapping boxes leaves.
    """
    network = cv2.FaceDetectorYN.create(str(MODEL), "", (320, 320), score_threshold=LEAST)

    def find(pixels: np.ndarray) -> Boxes:
        network.setInputSize((pixels.shape[1], pixels.shape[0]))
        rows = network.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1]
        return [[*map(float, row[:4]), float(row[14])] for row in (() if rows is None else rows)]

    return find


def haar() -> Callable[[np.ndarray], Boxes]:
    """As `yunet`, for the Haar cascade of faces from the front, with OpenCV's own settings; it knows no score: 1."""
    from cv2.data import haarcascades

    cascade = cv2.CascadeClassifier(f"{haarcascades}haarcascade_frontalface_default.xml")

    def find(pixels: np.ndarray) -> Boxes:
        boxes = cascade.detectMultiScale(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
        return [[*map(float, box), 1.0] for box in boxes]

    return find
