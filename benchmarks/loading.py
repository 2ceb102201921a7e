"""Loading a release, beside what one would otherwise use on the same pictures.

Peers: `datasets`' ImageFolder, webdataset's reader, and a plain loop with Pillow, which is the limit of one process.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import datasets
import numpy as np
from harness import SPREAD, Table, alternating, ratio
from pictures import raw_build
from PIL import Image
from release import clear, picture_files, tar

import agfd30k
from builder.dataset import packing
from builder.raw.build import RawBuild

datasets.disable_progress_bars()
SIZE = 192
REPEATS = 3
THREADS = 4
"""That decode while a stream is read."""


def run(scale: float = 1.0) -> Iterator[Table]:
    """One build, loaded by each way."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raw_build(folder / "raw", max(64, int(SIZE * scale)))
        clear(folder)
        tar(folder)
        packing.pack(RawBuild.open(folder / "raw"), folder / "release")
        yield _every_picture(folder)
        yield _first(folder, len(picture_files(folder)))
        yield _bytes_read(folder)


def _every_picture(folder: Path) -> Table:
    """Full decode of every picture by each way."""
    import webdataset

    paths = picture_files(folder)
    cache = str(folder / "loaded")
    ours = datasets.load_dataset(str(folder / "release"), "all", cache_dir=cache)
    imagefolder = datasets.load_dataset("imagefolder", data_dir=str(folder / "raw"), split="train", cache_dir=cache)
    tarred = str(folder / "out" / "train.tar")
    work = {
        "Pillow's own loop over the files": lambda: [_pixels(Image.open(path)) for path in paths],
        "ours: load_dataset(release)": lambda: [_pixels(row["image"]) for split in ours.values() for row in split],
        "ours: streaming": lambda: _decode(_streamed(folder)),
        f"ours: streaming, .decode(num_threads={THREADS})": lambda: _decode(_streamed(folder), THREADS),
        "datasets: imagefolder": lambda: [_pixels(row["image"]) for row in imagefolder],
        "webdataset": lambda: [
            _pixels(row[0]) for row in webdataset.WebDataset(tarred, shardshuffle=False).decode("pil").to_tuple("png")
        ],
    }
    seconds = alternating(work, REPEATS)
    columns = ["way", "pictures/s", "× Pillow's loop", "± %"]
    title = f"Load: every picture decoded, one process, {os.cpu_count()} cores"
    table = Table(title, columns, notes=[SPREAD.format(REPEATS)])
    for name, time in seconds.items():
        table.add(name, len(paths) / time, *ratio(seconds["Pillow's own loop over the files"], time))
    return table


def _streamed(folder: Path, config: str = "all") -> datasets.IterableDatasetDict:
    return datasets.load_dataset(str(folder / "release"), config, streaming=True)


def _decode(splits: datasets.IterableDatasetDict, threads: int = 0) -> None:
    for split in splits.values():
        for row in split.decode(num_threads=threads):
            _pixels(row["image"])


def _pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image)


def _first(folder: Path, count: int) -> Table:
    """From the call to the first row, and the labels of all rows."""

    def load(name: str, *args, **options):
        return datasets.load_dataset(name, *args, cache_dir=str(folder / "cache"), **options)

    release_, raw_ = str(folder / "release"), str(folder / "raw")
    work = {
        "first row, streamed": lambda: next(iter(load(release_, "all", split="train", streaming=True))),
        "first row, loaded into an empty cache": lambda: load(release_, "all", split="train")[0],
        "first row, imagefolder into an empty cache": lambda: load("imagefolder", data_dir=raw_, split="train")[0],
        "every label, config metadata": lambda: [
            load(release_, "metadata", split=s)["feature"][:] for s in agfd30k.SPLITS
        ],
    }
    seconds = alternating(work, REPEATS, partial(clear, folder))
    table = Table(f"Load: {count} pictures, from the call on", ["what", "s"])
    for name, time in seconds.items():
        table.add(name, time)
    return table


def _bytes_read(folder: Path) -> Table:
    """Reading one attribute must not read the others: bytes that the process read, where the system counts them."""
    table = Table("Load: bytes read for one attribute, streamed", ["config", "MB of pictures", "MB read"])
    for config in ("illumination", "all"):
        place = folder / "release" / "data"
        files = (place / config if config != "all" else place).rglob("*.parquet")
        size = sum(path.stat().st_size for path in files)
        before = _read_so_far()
        _decode(_streamed(folder, config))
        table.add(config, size / 1e6, (_read_so_far() - before) / 1e6 if before is not None else None)
    return table


def _read_so_far() -> int | None:
    """Bytes that this process has read so far, or None where the system does not say."""
    try:
        return int(Path("/proc/self/io").read_text().split()[1])
    except OSError:
        return None
