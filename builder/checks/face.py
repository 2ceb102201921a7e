"""Is there exactly one face, where, and how large? Haar cascades that come with OpenCV, or the more accurate YuNet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

from builder import UserError
from builder.checks.verdict import Verdict
from builder.criteria import Face
from builder.plan import Sample

if TYPE_CHECKING:
    from builder.checks.readers import Reader

ONE_FACE = "one_face"
NEIGHBOURS = {"one": 3, "profile": 3, "covered": 2}
"""Haar's bar: how many overlapping windows make a face."""
CERTAIN = {"one": 0.8, "profile": 0.6, "covered": 0.5}
"""YuNet's bar: the least score of a face."""
SAME = 0.3
"""Boxes that share more of their area than this are one face."""


@dataclass(frozen=True)
class Box:
    """A face that was found: left, top, width and height in pixels, and how certain it is (0 to 1, None for Haar)."""

    left: float
    top: float
    width: float
    height: float
    score: float | None = None


class FaceCheck:
    """One face, large enough. `detector` finds faces in a picture by a feature's rule, see criteria.Shown."""

    name = "face"
    version = 1
    rejects = True

    def __init__(self, criteria: Face, detector: Haar | YuNet):
        self.criteria = criteria
        self.detector = detector

    def judge(self, samples: list[Sample], images: list[Image.Image]) -> list[Verdict]:
        """A verdict for each picture, RGB, in order; None where the feature hides faces from a detector."""
        return [self._one(sample, image) for sample, image in zip(samples, images)]

    def _one(self, sample: Sample, image: Image.Image) -> Verdict:
        rule = sample.check.face
        if rule == "any":
            return Verdict(None)
        own = sample.check.smallest_face
        least = self.criteria.smallest if own is None else own
        boxes = self.detector.find(np.asarray(image), rule, least)
        seen: dict[str, Any] = {"faces": len(boxes)}
        if boxes:
            largest = max(boxes, key=lambda box: box.height)
            seen["face_box"] = [float(largest.left), float(largest.top), float(largest.width), float(largest.height)]
            seen["face_score"] = largest.score
        if len(boxes) == 1:
            return Verdict(True, seen)
        if boxes:
            return Verdict(False, seen, "several faces", f"{len(boxes)} found")
        if rule == "one":
            return Verdict(False, seen, "no face", f"none of at least {least:.0%} of the height")
        return Verdict(None, seen)


class ReadFaceCheck:
    """One whole face, as an image classifier with a label `one_face` reads it; it does not say where."""

    name = "face"
    version = 1
    rejects = True

    def __init__(self, reader: Reader):
        if ONE_FACE not in reader.labels:
            raise UserError(f"face check: the attribute check's model has no label {ONE_FACE}; use another detector")
        self.reader = reader
        self.place = reader.labels.index(ONE_FACE)

    def judge(self, samples: list[Sample], images: list[Image.Image]) -> list[Verdict]:
        """A verdict for each picture, RGB, in order; None where the feature says that faces are not looked for."""
        scores = self.reader.read(images)[:, self.place]
        return [self._one(sample, float(score)) for sample, score in zip(samples, scores)]

    def _one(self, sample: Sample, score: float) -> Verdict:
        if sample.check.face == "any":
            return Verdict(None)
        if score < 0.5:
            return Verdict(False, {"face_score": score}, "no single face", f"{score:.2f}, at least 0.5")
        return Verdict(True, {"faces": 1, "face_score": score})


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
        self.cascades = {name: Spare(lambda name=name: _cascade(name)) for name in names}

    def find(self, pixels: np.ndarray, rule: str, smallest: float) -> list[Box]:
        """Faces in a picture, uint8 (height, width, 3), RGB, at least `smallest` of its height."""
        grey = cv2.equalizeHist(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
        found = self._run("frontalface_alt2", grey, rule, smallest)
        if rule == "profile":
            found += self._run("profileface", grey, rule, smallest)
            mirrored = self._run("profileface", grey[:, ::-1].copy(), rule, smallest)
            width = grey.shape[1]
            found += [Box(width - box.left - box.width, box.top, box.width, box.height) for box in mirrored]
        return _distinct(found)

    def _run(self, name: str, grey: np.ndarray, rule: str, smallest: float) -> list[Box]:
        side = max(20, round(smallest * grey.shape[0]))
        with self.cascades[name].one() as cascade:
            found = cascade.detectMultiScale(grey, 1.1, NEIGHBOURS[rule], minSize=(side, side))
        return [Box(*map(float, box)) for box in found]


def _cascade(name: str) -> cv2.CascadeClassifier:
    return cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_{name}.xml")


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
        """Faces in a picture, uint8 (height, width, 3), RGB, at least `smallest` of its height."""
        height, width = pixels.shape[:2]
        with self.networks.one() as network:
            network.setInputSize((width, height))
            network.setScoreThreshold(CERTAIN[rule])
            rows = network.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1]
        found = [Box(*map(float, row[:4]), score=float(row[-1])) for row in (() if rows is None else rows)]
        return [box for box in _distinct(found) if box.height >= smallest * height]


def _distinct(boxes: list[Box]) -> list[Box]:
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
