"""Annotate a release: every picture once, in the order of its rows, into Parquet files of their own.

Neither a picture nor another file of data is touched. What is written lies beside the release until it is whole, and
memory does not grow with the number of pictures.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features
from filelock import Timeout
from PIL import Image

from builder.annotation.annotator import Annotator
from builder.common.errors import UserError
from builder.common.files import sync
from builder.common.progress import counted, duration, heartbeat, progress_bar
from builder.dataset import additions, folder
from builder.dataset.folder import Release
from builder.dataset.parquet import ANNOTATIONS, METADATA, Config, SplitSize, annotation_schema, compression, portable

ROWS_A_GROUP = 1000
READ = ("id", "sha256", "image")


@dataclass
class Annotated:
    """What was annotated: the release, the config, and how many pictures of each split something was found on."""

    folder: Path
    config: str
    rows: dict[str, int] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        shares = [
            f"{split}: found on {self.found[split]:,} of {counted(self.rows[split], 'picture')}" for split in self.rows
        ]
        return "\n".join(
            [*shares, f'{self.folder} is ready: load_dataset("{self.folder.as_posix()}", "{self.config}")']
        )


def annotate(place: Path, annotator: Annotator, batch: int = 32) -> Annotated:
    """Add a config to a release: what an annotator sees on its pictures, which takes the place of what it saw before.

    Raises UserError for a folder that is no release, a damaged picture, and an annotator that fails or does not return
    what its columns say; the release is as it was then, as it is when this is killed.
    """
    place = place.resolve()
    with _alone(place):
        folder.remove_leftovers(place)
        release = Release(place)
        sources = _sources(release)
        done = Annotated(place, f"{ANNOTATIONS}_{annotator.name}")
        with additions.staged(place) as stage:
            config = _write(stage, release, annotator, sources, done, batch)
            additions.describe(release, stage, done.config, config, annotator.name, annotator.digest)
    return done


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    try:
        with folder.lock(place, patience=0):
            yield
    except Timeout:
        raise UserError(f"{place}: another process is writing it; wait for it") from None


def _sources(release: Release) -> dict[str, list[Path]]:
    """Return the files of every split, which have each picture once, in the order of the labels."""
    configs = release.configs()
    if METADATA not in configs or release.default_config == METADATA:
        raise UserError(f"{release.folder}: no release; name its folder, or make one with `agfd30k release`")
    sources = {split: release.matching(globs) for split, globs in configs[release.default_config].items()}
    if lost := [split for split, files in sources.items() if not files]:
        raise UserError(f"{release.folder}: the files of {lost[0]} are not there; `agfd30k lint` lists every fault")
    return sources


def _write(
    stage: Path,
    release: Release,
    annotator: Annotator,
    sources: dict[str, list[Path]],
    done: Annotated,
    batch: int,
) -> Config:
    """Write the files of all splits; returns what the card says of them."""
    columns, started = annotation_schema(annotator.columns), time.monotonic()
    place = stage / ANNOTATIONS / annotator.name
    place.mkdir(parents=True)
    total = sum(pq.read_metadata(path).num_rows for files in sources.values() for path in files)
    with (
        progress_bar(total=total, desc=f"annotate with {annotator.name}", unit="picture") as bar,
        heartbeat(lambda: _line(annotator.name, sum(done.rows.values()), total, time.monotonic() - started)),
    ):
        splits = {}
        for split, files in sources.items():
            writer = _Writer(place / f"{split}-00000-of-00001.parquet", columns)
            done.rows[split] = done.found[split] = 0
            for rows in _batches(release, files, batch):
                seen = _look(annotator, rows)
                writer.add([_row(annotator, row, values) for row, values in zip(rows, seen)])
                done.rows[split] += len(rows)
                done.found[split] += sum(values is not None for values in seen)
                bar.update(len(rows))
            splits[split] = SplitSize(done.rows[split], writer.close())
    patterns = {split: [f"{ANNOTATIONS}/{annotator.name}/{split}-*.parquet"] for split in sources}
    download = sum(path.stat().st_size for path in place.iterdir())
    return Config(columns, patterns, splits, download, sum(done.found.values()))


def _line(name: str, rows: int, total: int, seconds: float) -> str:
    left = f", {duration(seconds / rows * (total - rows))} left" if rows else ""
    return f"annotate with {name}: {rows:,} of {counted(total, 'picture')}{left}"


def _batches(release: Release, files: list[Path], batch: int) -> Iterator[list[dict[str, Any]]]:
    """Yield rows with their pictures, decoded, a few at a time."""
    for path in files:
        name = path.relative_to(release.folder)
        try:
            with pq.ParquetFile(path) as file:
                for part in file.iter_batches(batch, columns=READ):
                    yield [{**row, "image": _decoded(row)} for row in part.to_pylist()]
        except (OSError, pa.ArrowException, ValueError, LookupError, TypeError, SyntaxError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{name}: cannot be read: {reason}; `agfd30k lint` lists every fault") from error


def _decoded(row: dict[str, Any]) -> Image.Image:
    data = row["image"]["bytes"]
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        raise ValueError(f"the picture of {row['id']} is not the one that its row says")
    return Image.open(io.BytesIO(data)).convert("RGB")


def _look(annotator: Annotator, rows: list[dict[str, Any]]) -> Sequence[dict[str, Any] | None]:
    """Return what an annotator sees. Raises UserError where it fails, or returns anything else than its columns."""
    try:
        seen = annotator.annotate([row["image"] for row in rows])
    except Exception as error:  # code of the user's own
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UserError(f"{annotator.name}: fails on the pictures from {rows[0]['id']} on: {reason}") from error
    if not isinstance(seen, Sequence) or isinstance(seen, str) or len(seen) != len(rows):
        count = f"{len(seen)} values" if isinstance(seen, Sequence) else f"a {type(seen).__name__}"
        raise UserError(f"{annotator.name}: returns {count} for {counted(len(rows), 'picture')}, not a list of as many")
    for row, values in zip(rows, seen):
        if values is not None and (not isinstance(values, dict) or values.keys() != annotator.columns.keys()):
            there = sorted(map(str, values)) if isinstance(values, dict) else type(values).__name__
            wanted = sorted(annotator.columns)
            raise UserError(f"{annotator.name}: returns for {row['id']} {there}, its columns are {wanted}")
    return seen


def _row(annotator: Annotator, row: dict[str, Any], values: dict[str, Any] | None) -> dict[str, Any]:
    """Return a row of the config, as Arrow takes it."""
    try:
        seen = annotator.columns.encode_example(values) if values else dict.fromkeys(annotator.columns)
        pa.RecordBatch.from_pylist([seen], schema=annotator.columns.arrow_schema)
    except (ValueError, TypeError, LookupError, AttributeError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{annotator.name}: returns for {row['id']} what its columns do not take: {reason}") from error
    keys = {"id": row["id"], "sha256": row["sha256"], "model": annotator.name, "model_digest": annotator.digest}
    return {**seen, **keys}


class _Writer:
    """A Parquet file that grows by whole row groups."""

    def __init__(self, path: Path, columns: Features):
        self.file = open(path, "wb")
        self.schema = portable(columns)
        options = {"compression": compression(self.schema), "write_page_index": True}
        self.writer = pq.ParquetWriter(self.file, self.schema, use_content_defined_chunking=True, **options)
        self.rows: list[dict[str, Any]] = []
        self.bytes = 0

    def add(self, rows: list[dict[str, Any]]) -> None:
        self.rows += rows
        while len(self.rows) >= ROWS_A_GROUP:
            self._write(self.rows[:ROWS_A_GROUP])
            self.rows = self.rows[ROWS_A_GROUP:]

    def close(self) -> int:
        """Write what is left; returns the bytes that the rows have in memory."""
        if self.rows:
            self._write(self.rows)
        self.writer.close()
        sync(self.file)
        self.file.close()
        return self.bytes

    def _write(self, rows: list[dict[str, Any]]) -> None:
        table = pa.Table.from_pylist(rows, schema=self.schema)
        self.bytes += table.nbytes
        self.writer.write_table(table)
