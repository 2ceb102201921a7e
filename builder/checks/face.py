"""Is there exactly one face, where, and how large? YuNet, or the Haar cascades that come with OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from agfd30k import POSE
from builder.checks.verdict import Seen, Verdict
from builder.common.errors import UserError
from builder.models.boxes import Box, Detector
from builder.models.face_detectors import YuNet
from builder.plan.sample import Sample
from builder.spec.criteria import Face

if TYPE_CHECKING:
    from builder.models.classifiers import Reader

ONE_FACE = "one_face"


class FaceCheck:
    """One face, large enough. `detector` finds faces in a picture by a feature's rule, see criteria.Shown."""

    name = "face"
    version = 3
    rejects = True

    def __init__(self, criteria: Face, detector: Detector):
        self.criteria = criteria
        self.detector = detector

    def judge(self, samples: list[Sample], images: list[Image.Image], seen: Sequence[Seen] = ()) -> list[Verdict]:
        """Return a verdict for each picture, RGB, in order; None where the feature hides faces from a detector."""
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
            seen |= _observed(max(boxes, key=lambda box: box.height))
        if len(boxes) == 1:
            return Verdict(True, seen)
        if boxes:
            return Verdict(False, seen, "several faces", f"{len(boxes)} found")
        if rule == "one":
            return Verdict(False, seen, "no face", f"none of at least {least:.0%} of the height")
        return Verdict(None, seen)


class ReadFaceCheck:
    """One whole face, as an image classifier with a label `one_face` reads it. It does not say where: YuNet does."""

    name = "face"
    version = 1
    rejects = True

    def __init__(self, reader: Reader, detector: YuNet):
        if ONE_FACE not in reader.labels:
            raise UserError(f"face check: the attribute check's model has no label {ONE_FACE}; use another detector")
        self.reader = reader
        self.detector = detector
        self.place = reader.labels.index(ONE_FACE)

    def judge(self, samples: list[Sample], images: list[Image.Image], seen: Sequence[Seen] = ()) -> list[Verdict]:
        """A verdict for each picture, RGB, in order; None where the feature says that faces are not looked for."""
        scores = self.reader.read(images)[:, self.place]
        return [self._one(*each) for each in zip(samples, images, map(float, scores))]

    def _one(self, sample: Sample, image: Image.Image, score: float) -> Verdict:
        if sample.check.face == "any":
            return Verdict(None)
        if score < 0.5:
            return Verdict(False, {"face_score": score}, "no single face", f"{score:.2f}, at least 0.5")
        largest = self.detector.largest(np.asarray(image))
        return Verdict(True, {**(_observed(largest) if largest else {}), "faces": 1, "face_score": score})


def _observed(box: Box) -> dict[str, Any]:
    """Return what a face's row says of it, in quarters of a pixel and of a degree: a detector is not more exact."""
    place = [_quarters(edge) for edge in (box.left, box.top, box.width, box.height)]
    points = box.points and [_quarters(value) for value in box.points]
    pose = dict(zip(POSE, (angle if angle is None else _quarters(angle) for angle in box.pose)))
    return {"face_box": place, "face_score": box.score, "points": points, **pose, **box.shapes}


def _quarters(value: float) -> float:
    return round(4 * value) / 4
