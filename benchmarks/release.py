"""Packing a release, beside what one would otherwise use on the same files; and reading it back.

Peers: `datasets`' `from_generator` and `to_parquet`, its ImageFolder and `to_parquet`, webdataset's TarWriter and
reader, a plain loop with Pillow, and a plain copy of the files as the limit.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import datasets
import numpy as np
import webdataset
from harness import Table, alternating
from pictures import raw_build
from PIL import Image

import agfd30k
from builder import raw, release

datasets.disable_progress_bars()
SIZES = (384, 1_152)
"""Pictures: the smaller build is loaded, both are packed, and the difference is what further pictures cost."""
REPEATS = 3
THREADS = 4
"""That decode while a stream is read."""
PEER = "datasets: from_generator + to_parquet"


def run(scale: float = 1.0) -> Iterator[Table]:
    """Packing, then what loading takes."""
    with tempfile.TemporaryDirectory() as name:
        builds = [Path(name, str(size)) for size in SIZES]
        for folder, size in zip(builds, SIZES):
            raw_build(folder / "raw", max(64, int(size * scale)))
        yield _packing(builds)
        yield from _loading(builds[0])


def rows(folder: Path) -> Iterator[dict]:
    """Every row of the raw build with its picture's bytes."""
    for shard in raw.shard_folders(folder / "raw"):
        for row in agfd30k.read_rows(shard):
            yield row | {"image": {"bytes": (shard / row["file_name"]).read_bytes(), "path": row["file_name"]}}


def _packing(builds: list[Path]) -> Table:
    small, large = (_packed(folder) for folder in builds)
    counts = [len(list(rows(folder))) for folder in builds]
    size = sum(len(row["image"]["bytes"]) for row in rows(builds[1]))
    further = {name: (large[name] - small[name]) / (counts[1] - counts[0]) for name in large}
    columns = ["way", "s", "pictures/s", "MB/s", "× from_generator", "ms a further picture", "× from_generator "]
    table = Table(f"Release: packing {counts[1]:,} pictures, {size / 1e6:,.0f} MB", columns)
    for name, time in large.items():
        all_in, each = large[PEER] / time, further[PEER] / further[name]
        table.add(name, time, counts[1] / time, size / time / 1e6, all_in, 1000 * further[name], each)
    table.notes.append(
        "Each way until its bytes are on the disk. Ours also verifies every picture's digest; release.make draws "
        "contact sheets and charts too, which takes as long for any number of pictures. A further picture is one "
        f"beyond {counts[0]:,}."
    )
    return table


def _packed(folder: Path) -> dict[str, float]:
    """Median seconds of every way to pack a build, until its bytes are on the disk."""
    features = agfd30k.features(raw.require(folder / "raw")["labels"])
    work = {
        "copy of the files (limit)": lambda: _copy(folder),
        "ours: release.make": lambda: release.make(folder / "raw", folder / "release", anew=True),
        "ours: the Parquet files of it alone": lambda: _parquet(folder),
        PEER: lambda: _from_generator(folder, features),
        "datasets: imagefolder + to_parquet": lambda: _imagefolder(folder),
        "webdataset: TarWriter": lambda: _tar(folder),
    }
    return alternating({name: _fresh(folder, _synced(run)) for name, run in work.items()}, REPEATS)


def _synced(work: Callable) -> Callable:
    def run() -> None:
        work()
        os.sync()

    return run


def _fresh(folder: Path, work: Callable) -> Callable:
    """The work, with nothing left of the time before: every cache and every output is new."""

    def run() -> None:
        for place in ("cache", "out"):
            shutil.rmtree(folder / place, ignore_errors=True)
            (folder / place).mkdir()
        work()

    return run


def _parquet(folder: Path) -> None:
    labels = raw.require(folder / "raw")["labels"]
    shards = raw.shard_folders(folder / "raw")
    parts = {name: [s for s in shards if s.name.startswith(f"{name}-")] for name in labels["attribute"]}
    release.pack(folder / "out", labels, parts)


def _copy(folder: Path) -> None:
    shutil.copytree(folder / "raw", folder / "out" / "raw")


def _from_generator(folder: Path, features: datasets.Features) -> None:
    kept = {key: features[key] for key in features}
    made = datasets.Dataset.from_generator(
        lambda: ({key: row[key] for key in kept} for row in rows(folder)),
        features=features,
        cache_dir=str(folder / "cache"),
    )
    made.to_parquet(folder / "out" / "train.parquet")


def _imagefolder(folder: Path) -> None:
    made = datasets.load_dataset(
        "imagefolder", data_dir=str(folder / "raw"), split="train", cache_dir=str(folder / "cache")
    )
    made.to_parquet(folder / "out" / "train.parquet")


def _tar(folder: Path) -> None:
    with webdataset.TarWriter(str(folder / "out" / "train.tar")) as writer:
        for row in rows(folder):
            label = {key: value for key, value in row.items() if key != "image"}
            writer.write({"__key__": row["id"], "png": row["image"]["bytes"], "json": label})


def _loading(folder: Path) -> Iterator[Table]:
    """Full decode of every picture by each way, then first rows, labels alone, and what one attribute reads."""
    _tar(folder)
    release.make(folder / "raw", folder / "release", anew=True)
    paths = sorted((folder / "raw").glob("shards/*/images/*.png"))
    cache = str(folder / "loaded")
    ours = datasets.load_dataset(str(folder / "release"), "all", cache_dir=cache)
    imagefolder = datasets.load_dataset("imagefolder", data_dir=str(folder / "raw"), split="train", cache_dir=cache)
    tar = str(folder / "out" / "train.tar")
    work = {
        "Pillow's own loop over the files": lambda: [_pixels(Image.open(path)) for path in paths],
        "ours: load_dataset(release)": lambda: [_pixels(row["image"]) for split in ours.values() for row in split],
        "ours: load_dataset(release), images alone": lambda: [
            _pixels(row["image"]) for split in ours.values() for row in split.select_columns("image")
        ],
        "ours: streaming": lambda: _decode(_streamed(folder)),
        f"ours: streaming, .decode(num_threads={THREADS})": lambda: _decode(_streamed(folder), THREADS),
        "datasets: imagefolder": lambda: [_pixels(row["image"]) for row in imagefolder],
        "webdataset": lambda: [
            _pixels(row[0]) for row in webdataset.WebDataset(tar, shardshuffle=False).decode("pil").to_tuple("png")
        ],
    }
    seconds = alternating(work, REPEATS)
    columns = ["way", "pictures/s", "× Pillow's loop"]
    table = Table(f"Load: every picture decoded, one process, {os.cpu_count()} cores", columns)
    for name, time in seconds.items():
        table.add(name, len(paths) / time, seconds["Pillow's own loop over the files"] / time)
    yield table
    yield _first(folder, len(paths))
    yield _bytes_read(folder)


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
        "first row, streamed": lambda: next(iter(load(release_, "pose", split="train", streaming=True))),
        "first row, loaded into an empty cache": lambda: load(release_, "pose", split="train")[0],
        "first row, imagefolder into an empty cache": lambda: load("imagefolder", data_dir=raw_, split="train")[0],
        "every label, config metadata": lambda: [
            load(release_, "metadata", split=s)["feature"][:] for s in agfd30k.SPLITS
        ],
    }
    seconds = alternating({name: _fresh(folder, run) for name, run in work.items()}, REPEATS)
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
