"""Packing a release, beside what one would otherwise use on the same files.

Peers: `datasets`' `from_generator` and `to_parquet`, its ImageFolder prepared as Parquet, and webdataset's TarWriter.
The limit: the same pictures written one after another into one file.
"""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import datasets
from harness import SPREAD, Seconds, Table, alternating, ratio
from pictures import raw_build

import agfd30k
from builder.dataset import packing
from builder.dataset.statistics import Statistics
from builder.engine.engine import Engine
from builder.engine.here import Here
from builder.raw.build import RawBuild

datasets.disable_progress_bars()
SIZES = (384, 1_152)
"""Pictures of two builds: the difference is what further pictures cost."""
REPEATS = 3
PEER = "datasets: from_generator + to_parquet"


def run(scale: float = 1.0) -> Iterator[Table]:
    """Both builds, packed by each way; and the larger one by each engine."""
    with tempfile.TemporaryDirectory() as name:
        builds = [Path(name, str(size)) for size in SIZES]
        for number, (folder, size) in enumerate(zip(builds, SIZES), 1):
            raw_build(folder / "raw", max(64 * number, int(size * scale)))
        yield _packing(builds)
        yield _workers(builds[1])


def rows(folder: Path) -> Iterator[dict]:
    """Every row of the raw build with its picture's bytes."""
    return _rows(agfd30k.shards(folder / "raw"))


def _rows(shards: list[Path]) -> Iterator[dict]:
    for shard in shards:
        for row in agfd30k.read_rows(shard):
            yield row | {"image": {"bytes": (shard / row["file_name"]).read_bytes(), "path": row["file_name"]}}


def _packing(builds: list[Path]) -> Table:
    (small, _), (large, computing) = (_packed(folder) for folder in builds)
    counts = [len(list(rows(folder))) for folder in builds]
    size = sum(len(row["image"]["bytes"]) for row in rows(builds[1]))
    further = {name: (large[name] - small[name]) / (counts[1] - counts[0]) for name in large}
    columns = [
        "way",
        "s",
        "of computing",
        "pictures/s",
        "MB/s",
        "× from_generator",
        "± %",
        "ms a further picture",
        "× from_generator ",
    ]
    table = Table(f"Release: packing {counts[1]:,} pictures, {size / 1e6:,.0f} MB", columns)
    for name, spent in large.items():
        all_in, each = ratio(large[PEER], spent), further[PEER] / further[name]
        speed = counts[1] / spent, size / spent / 1e6
        table.add(name, spent, computing[name], *speed, *all_in, 1000 * further[name], each)
    table.notes.append(SPREAD.format(REPEATS))
    table.notes.append(
        "Each way until its output is on the disk; caches need not be. Ours also verifies every picture's digest, and "
        f"packs {packing.THREADS} files at a time; release.make draws contact sheets and charts too. A further "
        f"picture is one beyond {counts[0]:,}."
    )
    return table


def _packed(folder: Path) -> tuple[dict[str, Seconds], dict[str, float]]:
    """Median seconds of every way to pack a build, until its output is on the disk; and those of computing."""
    least = sum(path.stat().st_size for path in picture_files(folder))
    computing: dict[str, list[float]] = {}
    work = {}
    for name, run in ways(folder).items():
        whole = partial(_whole, name, run, folder / "out", least)
        work[name] = partial(_noted, whole, computing.setdefault(name, []))
    seconds = alternating(work, REPEATS, partial(clear, folder))
    return seconds, {name: median(runs) for name, runs in computing.items()}


class _Counted:
    """An engine that notes how long each of its workers computes: the longest is what two idle cores would take."""

    def __init__(self, engine: Engine):
        self.engine = engine
        self.workers: Counter[int] = Counter()

    def map(self, step, tasks):
        for worker, seconds, result in self.engine.map(partial(_timed, step), tasks):
            self.workers[worker] += seconds
            yield result


def _timed(step, task):
    started = time.thread_time()
    result = step(task)
    return os.getpid(), time.thread_time() - started, result


def _workers(folder: Path) -> Table:
    """One process, and two, which have to be started."""
    raw = RawBuild.open(folder / "raw")
    shards = raw.finished()
    statistics = Statistics.of(raw, shards)
    counts: dict[int, Counter[int]] = {}

    def pack(workers: int) -> None:
        engine = _Counted(Here(workers))
        packing.write_files(folder / "out", raw.spec.labels, shards, statistics, engine=engine)
        counts[workers] = engine.workers

    spent = alternating({str(n): partial(pack, n) for n in (1, 2)}, REPEATS, partial(clear, folder))
    columns = ["processes", "s", "× one", "± %", "of computing in tasks", "the busiest one's", "× one "]
    table = Table(f"Release: the Parquet files of {sum(facts.rows for facts in shards.values()):,} pictures", columns)
    alone = counts[1].total()
    for name, seconds in spent.items():
        own = counts[int(name)]
        table.add(
            int(name), seconds, *ratio(spent["1"], seconds), own.total(), max(own.values()), alone / max(own.values())
        )
    table.notes.append(SPREAD.format(REPEATS))
    table.notes.append(
        "Two processes are started for it, which takes a part of their time; that of computing in tasks is without "
        "it, of the last round. The last column is what would be gained of two idle cores and a release that is large."
    )
    return table


def _noted(run: Callable[[], object], computing: list[float]) -> None:
    """Run, and note the seconds of computing."""
    before = _computing()
    run()
    computing.append(_computing() - before)


def _computing() -> float:
    """Seconds of computing so far, of this process and of those that it has started and seen end."""
    own = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(spent.ru_utime + spent.ru_stime for spent in own)


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
