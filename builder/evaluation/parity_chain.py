"""The one way by which every picture of a parity pack, generated or real, becomes a JPEG file.

Whatever is drawn is drawn by the digest of the source's file, from the same ranges for both kinds:

1. as it is seen: orientation applied, colours in sRGB, alpha laid on white, eight bits;
2. a square around the largest face, or in the middle where there is none;
3. reduced to a side that is drawn;
4. encoded as JPEG for the first time, at a quality and a subsampling that are drawn, and decoded again;
5. cut so that the grid of 8 × 8 pixels lies anywhere, and reduced to the pack's size;
6. encoded at one quality of the ladder, 4:2:0, with nothing in the file but the picture.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms, ImageOps

from builder.models.boxes import Box
from builder.models.face_detectors import YuNet

GRID = 8
"""Pixels on a side of a JPEG block."""
AROUND = 2.0
"""The side of the square around a face, in heights of the face."""
FIRST_QUALITIES = range(70, 99)
SUBSAMPLINGS = (0, 2)
"""4:4:4 and 4:2:0, as Pillow numbers them."""
COLOURLESS = 0.03
"""Saturation under which a picture counts as grey: the mean difference between its largest and its least channel, as a
share of the mean of its largest. Toned photographs have some, and dark ones with little light as much as others.
"""


class Unfit(Exception):
    """A picture that does not go into a pack; the text is the reason, as it is counted."""


@dataclass(frozen=True)
class Draws:
    """What is drawn for one picture."""

    side: int
    first_quality: int
    first_subsampling: int
    left: int
    top: int
    quality: int

    @classmethod
    def of(cls, digest: str, size: int, qualities: tuple[int, ...], seed: int) -> Draws:
        """Return the draws of a file with this digest; the same for the same seed."""
        number = int.from_bytes(hashlib.sha256(f"{seed} {digest}".encode()).digest()[:8], "big")
        rng = np.random.default_rng(number)
        return cls(
            side=int(rng.integers(size * 6 // 5 + GRID, needed(size) + 1)),
            first_quality=int(rng.choice(FIRST_QUALITIES)),
            first_subsampling=int(rng.choice(SUBSAMPLINGS)),
            left=int(rng.integers(GRID)),
            top=int(rng.integers(GRID)),
            quality=int(rng.choice(qualities)),
        )


def needed(size: int) -> int:
    """Return the least side of a picture that becomes one of `size` pixels without being enlarged at any step.

    >>> needed(256)
    392
    """
    return size * 3 // 2 + GRID


def seen(image: Image.Image) -> Image.Image:
    """Return a picture as it is shown, in RGB and sRGB, with nothing else that its file said."""
    profile = image.info.get("icc_profile")
    image = ImageOps.exif_transpose(image)
    if "transparency" in image.info or image.mode in ("LA", "PA", "La", "RGBa"):
        image = image.convert("RGBA")
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if image.mode not in ("RGB", "CMYK"):
        image = image.convert("RGB")
    if profile:
        image = _in_srgb(image, profile)
    return Image.fromarray(np.asarray(image.convert("RGB")))  # the pixels alone: Pillow carries comments on


def is_grey(image: Image.Image) -> bool:
    """Return True for a picture without colour, whatever its mode."""
    small = np.asarray(image.resize((64, 64), Image.Resampling.BOX), dtype=float)
    largest = small.max(axis=2)
    return float((largest - small.min(axis=2)).sum()) <= COLOURLESS * float(largest.sum())


def square(width: int, height: int, face: Box | None, least: int) -> tuple[int, int, int]:
    """Return left, top and side of the square that is cut out of a picture, `least` pixels wide at least.

    >>> square(1000, 600, None, 392), square(1000, 600, Box(900, 10, 80, 100), 392)
    ((200, 0, 600), (608, 0, 392))
    """
    if face is None:
        side = min(width, height)
        return (width - side) // 2, (height - side) // 2, side
    side = min(width, height, max(least, round(AROUND * face.height)))
    left = round(face.left + face.width / 2 - side / 2)
    top = round(face.top + face.height / 2 - side / 2)
    return min(max(left, 0), width - side), min(max(top, 0), height - side), side


def cut(image: Image.Image, detector: YuNet, size: int) -> tuple[Image.Image, bool]:
    """Return a picture's square, and whether a face is in its middle. Raises Unfit for what a pack does not take."""
    if min(image.size) < needed(size):
        raise Unfit(f"smaller than {needed(size)} px")
    if is_grey(image):
        raise Unfit("without colour")
    face = detector.largest(np.asarray(image))
    left, top, side = square(*image.size, face, needed(size))
    return image.crop((left, top, left + side, top + side)), face is not None


def encode(image: Image.Image, draws: Draws, size: int) -> bytes:
    """Return the file of a square picture in RGB."""
    image = _reduced(image, draws.side)
    first = io.BytesIO()
    image.save(first, "JPEG", quality=draws.first_quality, subsampling=draws.first_subsampling)
    with Image.open(first) as again:
        side = draws.side - GRID
        image = again.crop((draws.left, draws.top, draws.left + side, draws.top + side))
    last = io.BytesIO()
    _reduced(image, size).save(last, "JPEG", quality=draws.quality, subsampling=2, optimize=False)
    return last.getvalue()


def _reduced(image: Image.Image, side: int) -> Image.Image:
    if side > image.width:
        raise ValueError("a picture would be enlarged")
    return image.resize((side, side), Image.Resampling.LANCZOS)


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Return a picture whose colours are those that its profile means; a broken profile means nothing."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return converted or image
