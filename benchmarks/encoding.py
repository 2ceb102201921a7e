"""What each file format and level costs for 512×512 pictures, to choose `--image-format` by.

The default is PNG, which every tool reads, at level 1: higher levels cost more time than the bytes that they save.
Lossless WebP is smaller and quicker both ways.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial

from harness import Table, alternating
from pictures import photo
from PIL import Image

CANDIDATES = {
    **{f"png level {level}": {"format": "PNG", "compress_level": level} for level in (0, 1, 3, 6, 9)},
    "webp lossless method 0": {"format": "WEBP", "lossless": True, "method": 0},
    "webp lossless method 4": {"format": "WEBP", "lossless": True, "method": 4},
    "jpg quality 95, 4:4:4": {"format": "JPEG", "quality": 95, "subsampling": 0},
}
PHOTOS = 4


def run(scale: float = 1.0) -> Iterator[Table]:
    """One table."""
    photos = [photo(seed) for seed in range(PHOTOS)]
    files = {name: [_encode(picture, options) for picture in photos] for name, options in CANDIDATES.items()}
    repeats = max(1, round(3 * scale))
    writing = {name: partial(_all, _encode, photos, options) for name, options in CANDIDATES.items()}
    reading = {name: partial(_all, _decode, data) for name, data in files.items()}
    encode, decode = alternating(writing, repeats), alternating(reading, repeats)
    table = Table("Encoding: 512×512, photo-like, one thread", ["encoder", "ms", "KB", "decode ms"])
    for name in CANDIDATES:
        size = sum(map(len, files[name])) / PHOTOS / 1000
        table.add(name, 1000 * encode[name] / PHOTOS, size, 1000 * decode[name] / PHOTOS)
    yield table


def _all(work, items, *arguments) -> None:
    for item in items:
        work(item, *arguments)


def _encode(picture: Image.Image, options: dict) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, **options)
    return buffer.getvalue()


def _decode(data: bytes) -> None:
    Image.open(io.BytesIO(data)).load()
