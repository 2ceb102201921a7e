"""Writing a release's files, each a task of its own: it is on disk under its name, whole, or it is not there."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features

import agfd30k
from builder.common.errors import UserError
from builder.common.files import atomic
from builder.dataset import parquet
from builder.dataset.alignment import Aligner, points_of
from builder.dataset.cutting import Batch, Kind, Lines, OutputFile
from builder.dataset.parquet import ALIGNED, METADATA, SEEN_COLUMNS, Written, compression
from builder.models.identity import ModelId
from builder.raw.layout import ROWS, is_file
from builder.raw.receipts import Damaged

Row = dict[str, Any]


@dataclass(frozen=True)
class Writer:
    """Writes the files of a release into `folder`: of a table's labels, of what a `detector` saw, and of faces that an
    `aligner` makes. Wherever it is sent, it writes the same bytes.
    """

    folder: Path
    labels: dict[str, list[str]]
    detector: ModelId | None = None
    aligner: Aligner | None = None

    def write(self, files: Sequence[OutputFile]) -> list[Written]:
        """Write files of the same rows, whose pictures are read once; one without a row is not there.

        Raises UserError where a picture or a row is not the one that was counted.
        """
        pictures = _Pictures(kept={} if len(files) > 1 else None)
        return [_FileWriter(self, file, pictures).write() for file in files]


class _FileWriter:
    """Writes one file, of which a row group is in memory at a time."""

    def __init__(self, writer: Writer, file: OutputFile, pictures: _Pictures):
        self.writer = writer
        self.file = file
        self.pictures = pictures
        self.path = writer.folder / file.path
        self.features, self.schema = _columns(file.kind, json.dumps(writer.labels))
        self.rows = self.bytes = self.found = 0

    def write(self) -> Written:
        tables = {Kind.PICTURES: self._pictures, Kind.ALIGNED: self._pictures}.get(self.file.kind, self._labels)()
        self._save(tables)
        size = self.path.stat().st_size if self.rows else 0
        file = self.file
        return Written(file.place, file.name, file.split, file.is_first, self.rows, self.bytes, size, self.found)

    def _save(self, tables: Iterator[pa.Table]) -> None:
        """Write row groups; where there is none, no file."""
        table = next(tables, None)
        if table is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(self.path) as file, self._opened(file.name) as groups:
            while table is not None:
                groups.write_table(table, row_group_size=self.file.group)
                table = None  # before the next one is read
                table = next(tables, None)

    @contextmanager
    def _opened(self, name: str) -> Iterator[pq.ParquetWriter]:
        """By its name: through a file of Python every page would wait for Python's lock, and be copied once more."""
        options = {"compression": compression(self.schema), "write_page_index": True}
        sink = pa.OSFile(name, "wb")
        with sink, pq.ParquetWriter(sink, self.schema, use_content_defined_chunking=True, **options) as groups:
            yield groups

    def _table(self, rows: list[Row], images: pa.StructArray | None) -> pa.Table:
        table = agfd30k.to_table(rows, images, self.features, self.schema)
        self.rows += len(table)
        self.bytes += table.nbytes
        return table

    def _pictures(self) -> Iterator[pa.Table]:
        """Yield row groups, each closed by its rows or by the bytes of its pictures."""
        for group in _groups(self._paths(), self.file.group):
            yield from self._packed(group)  # kept under no name, so that it is gone before the next one is read

    def _packed(self, group: list[_Picture]) -> list[pa.Table]:
        """Return a row group, or nothing where no face is aligned."""
        rows, images = [picture.row for picture in group], self.pictures.column(group)
        if self.writer.aligner and self.file.kind is Kind.ALIGNED:
            rows, images = self.writer.aligner.align(rows, images)
        return [self._table(rows, images)] if rows else []

    def _paths(self) -> Iterator[_Picture]:
        """Yield the picture of every row."""
        for batch in self.file.batches:
            shards: dict[Path, _Shard] = {}
            for shard, row in _read(batch):
                yield shards.setdefault(shard, _Shard(shard)).picture(row)

    def _labels(self) -> Iterator[pa.Table]:
        """Yield row groups."""
        waiting: list[pa.Table] = []
        for batch in self.file.batches:
            waiting.append(self._table([self._label(row) for _, row in _read(batch)], None))
            if sum(map(len, waiting)) >= self.file.group:
                table = pa.concat_tables(waiting)
                whole = len(table) - len(table) % self.file.group
                for start in range(0, whole, self.file.group):
                    yield table.slice(start, self.file.group).combine_chunks()
                waiting = [table.slice(whole)]
        if sum(map(len, waiting)):
            yield pa.concat_tables(waiting).combine_chunks()

    def _label(self, row: Row) -> Row:
        if self.file.kind is Kind.LABELS:
            return row
        assert self.writer.detector
        self.found += points_of(row) is not None
        return _seen(row, self.writer.detector)


@lru_cache
def _columns(kind: Kind, labels: str) -> tuple[Features, pa.Schema]:
    """Return the columns of a file, in both forms; `labels` are JSON."""
    config = {Kind.LABELS: METADATA, Kind.ALIGNED: ALIGNED}.get(kind, parquet.ALL)
    features = SEEN_COLUMNS if kind is Kind.SEEN else agfd30k.features(json.loads(labels), config)
    return features, features.arrow_schema


def _seen(row: Row, detector: ModelId) -> Row:
    """Return a raw row with what the face detector saw on its picture, and which one it was."""
    checks = row["checks"]
    points: Sequence[float | None] = points_of(row) or [None] * len(agfd30k.POINTS)
    pose = {name: checks.get(name) for name in ("roll", "yaw", "pitch")}
    which = {"model": detector.name, "model_digest": detector.sha256 or detector.revision}
    return {**row, **dict(zip(agfd30k.POINTS, points)), **pose, **which}


def _read(batch: Batch) -> Iterator[tuple[Path, Row]]:
    """Yield a batch's rows, each with its shard. Raises UserError where a shard was changed since it was counted."""
    by_shard: dict[Path, list[Lines]] = {}
    for lines in batch:
        by_shard.setdefault(lines.shard, []).append(lines)
    rows: dict[tuple[Path, int], Row] = {}
    for shard, some in by_shard.items():
        file = shard / ROWS
        data = file.read_bytes() if is_file(file) else b""
        if hashlib.sha256(data).hexdigest() != some[0].digest:
            raise changed(shard)
        text = data.split(b"\n")
        rows |= {(shard, number): json.loads(text[number]) for lines in some for number in lines.numbers.tolist()}
    for lines in batch:
        for number in lines.numbers.tolist():
            yield lines.shard, rows[lines.shard, number]


def changed(shard: Path) -> UserError:
    """Return the error of a build in whose shard others write meanwhile."""
    return UserError(f"{shard.parent.parent}: was changed while it was read; wait for who writes there")


class _Picture(NamedTuple):
    """A row's picture, as it lies in its shard."""

    shard: Path
    row: Row
    path: Path
    size: int


def _groups(pictures: Iterable[_Picture], most: int) -> Iterator[list[_Picture]]:
    group: list[_Picture] = []
    size = 0
    for picture in pictures:
        group.append(picture)
        size += picture.size
        if len(group) == most or size > parquet.BYTES_A_GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group


class _Shard:
    """A shard, of which every folder is looked at once: a link may lead out of it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.sound: set[str] = set()

    def picture(self, row: Row) -> _Picture:
        """Return where a row's picture lies. Raises Damaged where it lies elsewhere, or is no file."""
        path = self.folder / row["file_name"]
        try:
            facts = os.lstat(path)
        except (OSError, ValueError):  # names that no file can have
            facts = None
        is_sound = facts is not None and stat.S_ISREG(facts.st_mode)
        folder = row["file_name"].rpartition("/")[0]
        if folder not in self.sound or not is_sound:
            self._require_inside(row)
            self.sound.add(folder)
        if facts is None or not is_sound:
            raise Damaged(f"{self.folder}: the picture of {row['id']} is not there ({row['file_name']})", self.folder)
        return _Picture(self.folder, row, path, facts.st_size)

    def _require_inside(self, row: Row) -> None:
        try:
            agfd30k.picture(self.folder, row)
        except ValueError as error:
            raise Damaged(str(error), self.folder) from None


@dataclass(frozen=True)
class _Pictures:
    """Reads pictures, and keeps them where other files of the same rows shall have them too."""

    kept: dict[Path, memoryview] | None

    def column(self, pictures: Sequence[_Picture]) -> pa.StructArray:
        """Return pictures as they lie on disk, {"bytes", "path"}, read into one block of memory.

        Raises Damaged where one is lost or not the one that was committed.
        """
        ends = np.cumsum([0, *(picture.size for picture in pictures)])
        block = pa.allocate_buffer(int(ends[-1]))
        for picture, start, end in zip(pictures, ends, ends[1:]):
            self._fill(memoryview(block)[start:end], picture)
        ends = pa.py_buffer(ends.astype(np.int32))
        data = pa.BinaryArray.from_buffers(pa.binary(), len(pictures), [None, ends, block])
        names = pa.array([picture.path.name for picture in pictures])
        return pa.StructArray.from_arrays([data, names], ["bytes", "path"])

    def _fill(self, part: memoryview, picture: _Picture) -> None:
        if self.kept and picture.path in self.kept:
            part[:] = self.kept[picture.path]
            return
        with open(picture.path, "rb", buffering=0) as file:
            file.readinto(part)
        if hashlib.sha256(part).hexdigest() != picture.row["sha256"]:
            raise Damaged(f"{picture.path}: not the picture that was committed", picture.shard)
        if self.kept is not None:
            self.kept[picture.path] = part
