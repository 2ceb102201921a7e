"""Is this a picture at all? Black, flat, noise and blur, by what its pixels are, not by what they show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from PIL import Image

from builder.checks.shown import NEARLY_WHITE
from builder.checks.verdict import Seen, Verdict
from builder.plan.sample import Sample
from builder.spec.criteria import Integrity

BLACK = 8
"""A picture whose brightest value (0 to 255) is below this shows nothing."""
FLAT = 2.0
"""A picture in which no channel has a standard deviation above this is one colour."""
STRONGEST = 99.9
SIDE, SMOOTHING = 512, 1.0
"""Sharpness is measured at this size, so that it means the same for pictures of any size, and under a Gaussian of so
many pixels."""


class IntegrityCheck:
    """Content, noise and sharpness. Without `criteria` a picture only must not be black or flat."""

    name = "integrity"
    version = 2
    rejects = True

    def __init__(self, criteria: Integrity | None, size: tuple[int, int] | None = None):
        self.criteria = criteria
        self.size = size

    def judge(self, samples: list[Sample], images: list[Image.Image], seen: Sequence[Seen] = ()) -> list[Verdict]:
        """Return a verdict for each picture, RGB, in order; what was asked for may exempt it from being sharp."""
        return [self._one(sample, image) for sample, image in zip(samples, images)]

    def _one(self, sample: Sample, image: Image.Image) -> Verdict:
        pixels = np.asarray(image)
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        seen = {
            "luminance": float(grey.mean()) / 255,
            "highlights": float((grey >= NEARLY_WHITE).mean()),
            "sharpness": sharpness(grey),
            "noise": noise(grey),
        }
        if self.size and image.size != self.size:
            return Verdict(False, seen, "wrong size", "{}×{}".format(*image.size))
        if pixels.max() < BLACK:
            return Verdict(False, seen, "black", f"no value over {pixels.max()} of 255")
        spread = float(cv2.meanStdDev(pixels)[1].max())
        if spread < FLAT:
            return Verdict(False, seen, "flat", f"standard deviation {spread:.1f} of 255")
        if self.criteria is None:
            return Verdict(None, seen)
        if seen["noise"] > self.criteria.noise:
            return Verdict(False, seen, "noise", f"{seen['noise']:.2f}, at most {self.criteria.noise}")
        if sample.check.sharp and seen["sharpness"] < self.criteria.sharpness:
            return Verdict(False, seen, "not sharp", f"{seen['sharpness']:.1f}, at least {self.criteria.sharpness}")
        return Verdict(True, seen)


def sharpness(grey: np.ndarray) -> float:
    """Return how strong the strongest edges are, those of one pixel in a thousand, of a grey picture, (height, width).

    It is brought to 512 pixels a side; the 99.9th percentile of the Laplacian's size, under a Gaussian of one pixel.

    The variance of the Laplacian, which is the usual measure, takes the grain of a film for sharpness, however blurred
    the picture is, and a smooth background for blur. Source: Pech-Pacheco et al., Diatom autofocusing in brightfield
    microscopy, 2000; the percentile is our own, measured beside it by `tests/experiments/photographs.py`.
    """
    if max(grey.shape) != SIDE:
        kind = cv2.INTER_AREA if max(grey.shape) > SIDE else cv2.INTER_CUBIC  # areas made larger would have edges
        grey = cv2.resize(grey, (SIDE, SIDE), interpolation=kind)
    smooth = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), SMOOTHING)
    return float(np.percentile(np.abs(cv2.Laplacian(smooth, cv2.CV_32F)), STRONGEST))


def noise(grey: np.ndarray) -> float:
    """Half the mean squared step between neighbouring pixels, over the variance: 1 where neighbours know nothing of
    each other, near 0 where a picture is smooth. 0 for one colour.
    """
    deviation = float(cv2.meanStdDev(grey)[1][0, 0])
    steps = [cv2.norm(one, other, cv2.NORM_L2SQR) / one.size for one, other in _neighbours(grey) if one.size]
    return sum(steps) / len(steps) / (2 * deviation**2) if deviation > 0 else 0.0


def _neighbours(grey: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every pixel beside the one below it, and beside the one to its right."""
    yield grey[1:], grey[:-1]
    yield grey[:, 1:], grey[:, :-1]
