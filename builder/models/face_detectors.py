"""Face detectors: YuNet, which comes along, or the Haar cascades that come with OpenCV."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from builder.models import landmarks
from builder.models.boxes import Box, distinct

NEIGHBOURS = {"one": 3, "profile": 3, "covered": 2}
"""Haar's bar: how many overlapping windows make a face."""

CERTAIN = {"one": 0.8, "profile": 0.6, "covered": 0.5}
"""YuNet's bar: the least score of a face."""

SIDE = 320
"""YuNet looks at pictures of at most so many pixels a side, which takes less time; what it finds so, and what at 512,
`tests/experiments/photographs.py` says.
"""

SECOND = 256
"""Pixels a side of the mirrored picture in the second look, which takes half the time of the first."""

MIRRORED = (1, 0, 2, 4, 3)
"""Which point each of the five is in a mirror."""


class Spare:
    """Detectors that only one thread at a time may use, for any number of threads; `make` makes one when none is free.

    Threads come and go with every batch, so what they used is kept for the next ones: loading takes as long as looking.
    """

    def __init__(self, make: Callable[[], Any]):
        self.make = make
        self.free: deque = deque()

    @contextmanager
    def one(self) -> Iterator[Any]:
        """A detector for this thread alone."""
        try:
            taken = self.free.pop()
        except IndexError:
            taken = self.make()
        yield taken
        self.free.append(taken)


class Haar:
    """OpenCV's Haar cascades: nothing to download; blind to tilted heads and most profiles.

    Source: Viola and Jones, Rapid object detection using a boosted cascade of simple features, 2001; the cascades are
    OpenCV's.
    """

    def __init__(self):
        if not hasattr(cv2, "CascadeClassifier"):
            raise ValueError("this OpenCV has no Haar cascades: pip install 'opencv-python-headless<5'")
        names = ("frontalface_alt2", "profileface")
        self.cascades = {name: Spare(partial(_cascade, name)) for name in names}

    def find(self, pixels: np.ndarray, rule: str, smallest: float) -> list[Box]:
        """Faces in a picture, uint8 (height, width, 3), RGB, at least `smallest` of its height."""
        grey = cv2.equalizeHist(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
        boxes = self._run("frontalface_alt2", grey, rule, smallest)
        if rule == "profile":
            boxes += self._run("profileface", grey, rule, smallest)
            mirrored = self._run("profileface", grey[:, ::-1].copy(), rule, smallest)
            width = grey.shape[1]
            boxes += [Box(width - box.left - box.width, box.top, box.width, box.height) for box in mirrored]
        return distinct(boxes)

    def _run(self, name: str, grey: np.ndarray, rule: str, smallest: float) -> list[Box]:
        side = max(20, round(smallest * grey.shape[0]))
        with self.cascades[name].one() as cascade:
            boxes = cascade.detectMultiScale(grey, 1.1, NEIGHBOURS[rule], minSize=(side, side))
        return [Box(float(left), float(top), float(width), float(height)) for left, top, width, height in boxes]


def _cascade(name: str) -> cv2.CascadeClassifier:
    from cv2.data import haarcascades

    return cv2.CascadeClassifier(f"{haarcascades}haarcascade_{name}.xml")


class YuNet:
    """OpenCV's FaceDetectorYN with a YuNet model, a .onnx file.

    Source: Wu, Peng and Yu, YuNet: a tiny millisecond-level face detector, 2023.
    """

    def __init__(self, model: Path):
        try:
            cv2.FaceDetectorYN.create(str(model), "", (320, 320))
        except cv2.error as error:
            raise ValueError(f"{model}: OpenCV cannot read this model: {' '.join(str(error).split())[:200]}") from None
        self.networks = Spare(lambda: cv2.FaceDetectorYN.create(str(model), "", (320, 320)))

    def find(self, pixels: np.ndarray, rule: str, smallest: float) -> list[Box]:
        """Faces in a picture, uint8 (height, width, 3), RGB, at least `smallest` of its height.

        The only one must be believable; a second face is a reason to reject, whatever its points.
        """
        boxes = distinct(self._look(pixels, SIDE, CERTAIN[rule]))
        faces = [box for box in boxes if box.height >= smallest * pixels.shape[0]]
        return faces if len(faces) != 1 or self._is_believable(pixels, faces[0], rule) else []

    def largest(self, pixels: np.ndarray) -> Box | None:
        """The largest face of a picture, as find's, that YuNet is fairly certain of, believable or not."""
        return max(distinct(self._look(pixels, SIDE, CERTAIN["profile"])), key=lambda box: box.height, default=None)

    def _look(self, pixels: np.ndarray, side: int, least: float) -> list[Box]:
        """What YuNet finds in a copy of at most `side` pixels a side; in pixels of the picture itself."""
        scale = min(1, side / max(pixels.shape[:2]))
        small = pixels if scale == 1 else cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        height, width = small.shape[:2]
        with self.networks.one() as network:
            network.setInputSize((width, height))
            network.setScoreThreshold(least)
            rows = network.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))[1]
        return [_box(row, scale) for row in (() if rows is None else rows)]

    def _is_believable(self, pixels: np.ndarray, box: Box, rule: str) -> bool:
        """YuNet takes many a face whose parts were shuffled for one; of some the points tell, of others a second look,
        where a whole face is asked for.
        """
        points = np.reshape(np.array(box.points), (5, 2))
        if not landmarks.plausible(points, (box.left, box.top, box.width, box.height)):
            return False
        if rule != "one" or (box.score or 0) >= landmarks.SURE:
            return True
        looks = self._look(np.ascontiguousarray(pixels[:, ::-1]), SECOND, min(landmarks.AGAIN))
        faces = [(_mirrored(look, pixels.shape[1]), look.score or 0) for look in looks]
        nearest = min(faces, key=lambda face: np.abs(face[0] - points).max(), default=None)
        return nearest is not None and landmarks.steady(points, box.height, *nearest)


def _box(row: np.ndarray, scale: float) -> Box:
    """A row of YuNet's answer at the size of the whole picture: box, five points, score."""
    places = [float(place) / scale for place in row[:14]]
    left, top, width, height = places[:4]
    roll, yaw = landmarks.pose(np.reshape(places[4:], (5, 2)))
    return Box(left, top, width, height, float(row[14]), tuple(places[4:]), (roll, yaw, None))


def _mirrored(box: Box, width: int) -> np.ndarray:
    """The points (5, 2) of a face in the mirrored picture, mirrored back."""
    points = np.reshape(np.array(box.points), (5, 2))[list(MIRRORED)]
    return np.stack([width - points[:, 0], points[:, 1]], axis=1)
