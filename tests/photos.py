"""One real photograph of a face, and samples that are asked for it by each rule."""

from dataclasses import replace
from functools import cache

import numpy as np
from PIL import Image
from skimage import data

from builder import table
from builder.criteria import Shown
from builder.plan import Plan

SAMPLE = Plan(table.load()).sample(0)
FACE = (154, 100, 380, 326)
"""Where the face lies on `portrait`, as a Haar cascade has it: left, top, right, bottom."""


def sample(**check):
    """A sample whose feature is checked so."""
    return replace(SAMPLE, check=Shown(**check))


@cache
def portrait():
    """Eileen Collins, NASA (public domain; comes with scikit-image): 512×512, the face about half as high."""
    return Image.fromarray(data.astronaut()[10:266, 90:346]).resize((512, 512), Image.Resampling.BICUBIC)


def beside(left, right):
    """Two pictures side by side, as one of the same size."""
    both = np.concatenate([np.asarray(left), np.asarray(right)], axis=1)
    return Image.fromarray(both).resize(left.size, Image.Resampling.BICUBIC)


@cache
def crowd():
    """The same face twice on one picture, each a quarter as high as it: 512×512."""
    narrow = portrait().crop((64, 0, 448, 512)).resize((256, 342), Image.Resampling.BICUBIC)
    paper = Image.new("RGB", (512, 512), (90, 100, 110))
    for left in (0, 256):
        paper.paste(narrow, (left, 85))
    return paper


@cache
def landscape():
    """A photograph without a face: a cup of coffee, 512×512."""
    return Image.fromarray(data.coffee()).resize((512, 512), Image.Resampling.BICUBIC)
