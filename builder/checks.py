"""Is a picture fit to be kept? Each check returns None, or in one word why not."""

from __future__ import annotations

import numpy as np
from PIL import Image

BLACK = 8
"""A picture whose brightest value (0 to 255) is below this shows nothing."""
FLAT = 2.0
"""A picture in which no channel has a standard deviation above this is one colour."""


def integrity(image: Image.Image) -> str | None:
    """ "black" or "flat" for a picture without content, else None."""
    pixels = np.asarray(image)
    if pixels.max() < BLACK:
        return "black"
    if pixels.std(axis=(0, 1)).max() < FLAT:
        return "flat"
    return None
