"""Packing a release, beside what one would otherwise use on the same files.

Peers: `datasets`' `from_generator` and `to_parquet`, its ImageFolder prepared as Parquet, and webdataset's TarWriter.
The limit: the same pictures written one after another into one file.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import datasets
from harness import SPREAD, Seconds, Table, alternating, ratio
from pictures import raw_build

import agfd30k
from builder.dataset import packing
from builder.dataset.statistics import Statistics
from builder.raw.build import RawBuild

datasets.disable_progress_bars()
SIZES = (384, 1_152)
"""Pictures of two builds: the difference is what further pictures cost."""
REPEATS = 3
PEER = "datasets: from_generator + to_parquet"


def run(scale: float = 1.0) -> Iterator[Table]:
    """Both builds, packed by each way."""
    with tempfile.TemporaryDirectory() as name:
        builds = [Path(name, str(size)) for size in SIZES]
        for number, (folder, size) in enumerate(zip(builds, SIZES), 1):
            raw_build(folder / "raw", max(64 * number, int(size * scale)))
        yield _packing(builds)


def rows(folder: Path) -> Iterator[dict]:
    """Every row of the raw build with its picture's bytes."""
    return _rows(agfd30k.shards(folder / "raw"))


def _rows(shards: list[Path]) -> Iterator[dict]:
    for shard in shards:
        for row in agfd30k.read_rows(shard):
            yield row | {"image": {"bytes": (shard / row["file_name"]).read_bytes(), "path": row["file_name"]}}


def _packing(builds: list[Path]) -> Table:
    small, large = (_packed(folder) for folder in builds)
    counts = [len(list(rows(folder))) for folder in builds]
    size = sum(len(row["image"]["bytes"]) for row in rows(builds[1]))
    further = {name: (large[name] - small[name]) / (counts[1] - counts[0]) for name in large}
    columns = ["way", "s", "pictures/s", "MB/s", "× from_generator", "± %", "ms a further picture", "× from_generator "]
    table = Table(f"Release: packing {counts[1]:,} pictures, {size / 1e6:,.0f} MB", columns)
    for name, time in large.items():
        all_in, each = ratio(large[PEER], time), further[PEER] / further[name]
        table.add(name, time, counts[1] / time, size / time / 1e6, *all_in, 1000 * further[name], each)
    table.notes.append(SPREAD.format(REPEATS))
    table.notes.append(
        "Each way until its output is on the disk; caches need not be. Ours also verifies every picture's digest, and "
        f"packs {packing.THREADS} attributes at a time; release.make draws contact sheets and charts too. A further "
        f"picture is one beyond {counts[0]:,}."
    )
    return table


def _packed(folder: Path) -> dict[str, Seconds]:
    """Median seconds of every way to pack a build, until its output is on the disk."""
    least = sum(path.stat().st_size for path in picture_files(folder))
    work = {name: partial(_whole, name, run, folder / "out", least) for name, run in ways(folder).items()}
    return alternating(work, REPEATS, partial(clear, folder))


def ways(folder: Path) -> dict[str, Callable[[], object]]:
    """Every way to pack the build in folder/raw into folder/out; caches go to folder/cache."""
    return {
        "limit: the pictures into one file": lambda: _one_file(folder),
        "ours: release.make": lambda: packing.pack(RawBuild.open(folder / "raw"), folder / "out" / "release"),
        "ours: the Parquet files of it alone": lambda: _parquet(folder),
        PEER: lambda: _from_generator(folder),
        f"the same with num_proc={os.cpu_count()}": lambda: _from_generator(folder, os.cpu_count()),
        "datasets: imagefolder, prepared as Parquet": lambda: _imagefolder(folder),
        "webdataset: TarWriter": lambda: tar(folder),
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


def clear(folder: Path) -> None:
    """Nothing is left of the time before: every cache and every output is new, and the disk is at rest."""
    for place in ("cache", "out"):
        shutil.rmtree(folder / place, ignore_errors=True)
        (folder / place).mkdir()
    os.sync()


def picture_files(folder: Path) -> list[Path]:
    return sorted((folder / "raw").glob("shards/*/images/*.png"))


def _one_file(folder: Path) -> None:
    with open(folder / "out" / "pictures", "wb") as file:
        for path in picture_files(folder):
            file.write(path.read_bytes())


def _parquet(folder: Path) -> None:
    raw = RawBuild.open(folder / "raw")
    shards, labels = raw.finished(), raw.spec.labels
    packing.write_files(folder / "out", labels, shards, Statistics.of(raw, shards))


def _from_generator(folder: Path, processes: int | None = None) -> None:
    features = agfd30k.features(RawBuild.open(folder / "raw").spec.labels)
    made = datasets.Dataset.from_generator(
        _labelled,
        features=features,
        cache_dir=str(folder / "cache"),
        gen_kwargs={"shards": agfd30k.shards(folder / "raw"), "columns": tuple(features)},
        num_proc=processes,
    )
    made.to_parquet(folder / "out" / "train.parquet")


def _labelled(shards: list[Path], columns: tuple[str, ...]) -> Iterator[dict]:
    for row in _rows(shards):
        yield {key: value for key, value in agfd30k.flat(row).items() if key in columns}


def _imagefolder(folder: Path) -> None:
    builder = datasets.load_dataset_builder(
        "imagefolder", data_dir=str(folder / "raw"), cache_dir=str(folder / "cache")
    )
    builder.download_and_prepare(str(folder / "out" / "parquet"), file_format="parquet")


def tar(folder: Path) -> None:
    import webdataset

    with webdataset.TarWriter(str(folder / "out" / "train.tar")) as writer:
        for row in rows(folder):
            label = {key: value for key, value in row.items() if key != "image"}
            writer.write({"__key__": row["id"], "png": row["image"]["bytes"], "json": label})
