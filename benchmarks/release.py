"""Packing a release, beside what one would otherwise use on the same files; and reading it back.

Peers: `datasets`' `from_generator` and `to_parquet`, its ImageFolder and `to_parquet`, webdataset's TarWriter and
reader, and a plain loop with Pillow. The limit: the same pictures written one after another into one file.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import datasets
import numpy as np
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
        for number, (folder, size) in enumerate(zip(builds, SIZES), 1):
            raw_build(folder / "raw", max(64 * number, int(size * scale)))
        yield _packing(builds)
        yield from _loading(builds[0])


def rows(folder: Path) -> Iterator[dict]:
    """Every row of the raw build with its picture's bytes."""
    return _rows(raw.shard_folders(folder / "raw"))


def _rows(shards: list[Path]) -> Iterator[dict]:
    for shard in shards:
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
        "Each way until its output is on the disk; caches need not be. Ours also verifies every picture's digest, and "
        f"packs {release.THREADS} attributes at a time; release.make draws contact sheets and charts too. A further "
        f"picture is one beyond {counts[0]:,}."
    )
    return table


def _packed(folder: Path) -> dict[str, float]:
    """Median seconds of every way to pack a build, until its output is on the disk."""
    least = sum(path.stat().st_size for path in _pictures(folder))
    work = {name: partial(_whole, name, run, folder / "out", least) for name, run in ways(folder).items()}
    return alternating(work, REPEATS, partial(_clear, folder))


def ways(folder: Path) -> dict[str, Callable[[], object]]:
    """Every way to pack the build in folder/raw into folder/out; caches go to folder/cache."""
    return {
        "limit: the pictures into one file": lambda: _one_file(folder),
        "ours: release.make": lambda: release.make(folder / "raw", folder / "out" / "release"),
        "ours: the Parquet files of it alone": lambda: _parquet(folder),
        PEER: lambda: _from_generator(folder),
        f"the same with num_proc={os.cpu_count()}": lambda: _from_generator(folder, os.cpu_count()),
        "datasets: imagefolder, prepared as Parquet": lambda: _imagefolder(folder),
        "webdataset: TarWriter": lambda: _tar(folder),
    }


def _whole(name: str, run: Callable[[], object], out: Path, least: int) -> None:
    """Run, and wait for the disk. Raises RuntimeError where the output is smaller than the pictures."""
    run()
    size = 0
    for path in (path for path in out.rglob("*") if path.is_file()):
        with open(path, "rb") as file:
            os.fsync(file)
        size += path.stat().st_size
    if size < least:
        raise RuntimeError(f"{name}: {size:,} bytes written for pictures of {least:,}")


def _clear(folder: Path) -> None:
    """Nothing is left of the time before: every cache and every output is new, and the disk is at rest."""
    for place in ("cache", "out"):
        shutil.rmtree(folder / place, ignore_errors=True)
        (folder / place).mkdir()
    os.sync()


def _pictures(folder: Path) -> list[Path]:
    return sorted((folder / "raw").glob("shards/*/images/*.png"))


def _one_file(folder: Path) -> None:
    with open(folder / "out" / "pictures", "wb") as file:
        for path in _pictures(folder):
            file.write(path.read_bytes())


def _parquet(folder: Path) -> None:
    labels = raw.require(folder / "raw")["labels"]
    shards = raw.shard_folders(folder / "raw")
    parts = {name: [s for s in shards if s.name.startswith(f"{name}-")] for name in labels["attribute"]}
    release.pack(folder / "out", labels, parts)


def _from_generator(folder: Path, processes: int | None = None) -> None:
    features = agfd30k.features(raw.require(folder / "raw")["labels"])
    made = datasets.Dataset.from_generator(
        _labelled,
        features=features,
        cache_dir=str(folder / "cache"),
        gen_kwargs={"shards": raw.shard_folders(folder / "raw"), "columns": tuple(features)},
        num_proc=processes,
    )
    made.to_parquet(folder / "out" / "train.parquet")


def _labelled(shards: list[Path], columns: tuple[str, ...]) -> Iterator[dict]:
    for row in _rows(shards):
        yield {key: row[key] for key in columns}


def _imagefolder(folder: Path) -> None:
    builder = datasets.load_dataset_builder(
        "imagefolder", data_dir=str(folder / "raw"), cache_dir=str(folder / "cache")
    )
    builder.download_and_prepare(str(folder / "out" / "parquet"), file_format="parquet")


def _tar(folder: Path) -> None:
    import webdataset

    with webdataset.TarWriter(str(folder / "out" / "train.tar")) as writer:
        for row in rows(folder):
            label = {key: value for key, value in row.items() if key != "image"}
            writer.write({"__key__": row["id"], "png": row["image"]["bytes"], "json": label})


def _loading(folder: Path) -> Iterator[Table]:
    """Full decode of every picture by each way, then first rows, labels alone, and what one attribute reads."""
    import webdataset

    _clear(folder)
    _tar(folder)
    release.make(folder / "raw", folder / "release")
    paths = _pictures(folder)
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
        "first row, streamed": lambda: next(iter(load(release_, "all", split="train", streaming=True))),
        "first row, loaded into an empty cache": lambda: load(release_, "all", split="train")[0],
        "first row, imagefolder into an empty cache": lambda: load("imagefolder", data_dir=raw_, split="train")[0],
        "every label, config metadata": lambda: [
            load(release_, "metadata", split=s)["feature"][:] for s in agfd30k.SPLITS
        ],
    }
    seconds = alternating(work, REPEATS, partial(_clear, folder))
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
