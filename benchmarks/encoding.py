"""What each file format and level costs for 512×512 pictures, to choose `--image-format` by.

The default is PNG, which every tool reads, at level 1 with runs of equal bytes only (RLE): higher levels cost more time
than the bytes that they save. Lossless WebP is smaller and quicker both ways.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial

import numpy as np
from harness import SPREAD, Table, alternating, ratio
from pictures import photo
from PIL import Image

from builder.plan.plan import Plan
from builder.raw.shard_writer import FORMATS
from builder.spec import table as spec_table
from drawn_faces.drawing.draw import draw, labels_of

FIRST = "png level 1"
"""What the others are compared with: what Pillow does at that level."""
CANDIDATES = {
    **{f"png level {level}": {"format": "PNG", "compress_level": level} for level in (0, 1, 3, 6)},
    "webp lossless, method 0": {"format": "WEBP", "lossless": True, "method": 0},
    "webp lossless, method 4": {"format": "WEBP", "lossless": True, "method": 4},
    **{f"--image-format {name}": options for name, options in FORMATS.items()},
}
PICTURES = 4
ROUNDS = 5


def run(scale: float = 1.0) -> Iterator[Table]:
    """Two tables: of pictures like photographs, and of drawings with flat colours."""
    rounds = max(1, round(ROUNDS * scale))
    yield _table("photo-like", [photo(seed) for seed in range(PICTURES)], rounds)
    yield _table("drawn faces, flat colours", _drawings(), rounds)


def _drawings() -> list[Image.Image]:
    """Return what the preview model learnt from."""
    plan = Plan(spec_table.load())
    samples = [plan.sample(number * len(plan) // PICTURES) for number in range(PICTURES)]
    return [draw(labels_of(sample), number) for number, sample in enumerate(samples)]


def _table(what: str, pictures: list[Image.Image], rounds: int) -> Table:
    files = {name: [_encode(picture, options) for picture in pictures] for name, options in CANDIDATES.items()}
    for name, data in files.items():
        _require_lossless(name, data, pictures)
    writing = {name: partial(_all, _encode, pictures, options) for name, options in CANDIDATES.items()}
    reading = {name: partial(_all, _decode, data) for name, data in files.items()}
    encode, decode = alternating(writing, rounds), alternating(reading, rounds)
    columns = ["encoder", "ms", f"× as fast as {FIRST}", "± %", "KB", "× its size", "decode ms"]
    table = Table(f"Encoding: 512×512, {what}, one thread", columns)
    first = sum(map(len, files[FIRST]))
    for name in CANDIDATES:
        size = sum(map(len, files[name]))
        times = (1000 * encode[name] / PICTURES, *ratio(encode[FIRST], encode[name]))
        table.add(name, *times, size / PICTURES / 1000, size / first, 1000 * decode[name] / PICTURES)
    table.notes.append(f"All but jpg give back the same pixels. {SPREAD.format(rounds)}")
    return table


def _require_lossless(name: str, files: list[bytes], pictures: list[Image.Image]) -> None:
    """Raise RuntimeError for an encoder that calls itself lossless and is not."""
    if name.endswith("jpg"):
        return
    for data, picture in zip(files, pictures):
        if not np.array_equal(_decode(data), picture):
            raise RuntimeError(f"{name}: other pixels come back")


def _all(work, items, *arguments) -> None:
    for item in items:
        work(item, *arguments)


def _encode(picture: Image.Image, options: dict) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, **options)
    return buffer.getvalue()


def _decode(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image
