"""Parquet files of a release: row groups small enough for the viewer, pictures copied byte for byte."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features

import agfd30k
from agfd30k import SPLITS
from builder.common.files import sync
from builder.raw.layout import is_file
from builder.raw.receipts import Damaged

ROWS_A_GROUP, BYTES_A_GROUP = 100, 100_000_000
"""A row group is closed at so many rows, or once its pictures have more bytes."""
LABEL_ROWS_A_GROUP = 10_000
FILE_BYTES = 500_000_000
"""A file is closed once it is larger than this."""


@dataclass(frozen=True)
class SplitSize:
    """Rows of a split, and their bytes in memory."""

    rows: int
    bytes: int


@dataclass(frozen=True)
class Config:
    """A config of a release: its schema, its files as a glob by split, the splits' sizes, and bytes to download."""

    features: Features
    patterns: dict[str, str]
    splits: dict[str, SplitSize]
    download: int


class ReleaseWriter:
    """The Parquet files of a release: per attribute and split, and the labels of all of them per split."""

    def __init__(self, folder: Path, labels: dict[str, list[str]]):
        self.folder = folder
        self.labels = labels
        self.schema = agfd30k.features(labels)
        self.label_schema = agfd30k.features(labels, "metadata")
        self.open: dict[tuple[str, str], _Files] = {}
        self.sizes: dict[str, dict[str, SplitSize]] = {}
        self.downloads: Counter = Counter()

    def add_pictures(self, attribute: str, shard: Path) -> None:
        """Append a shard's rows, in their order, each to its split's file of its attribute.

        Different attributes may be written by different threads.
        """
        for split, rows in _by_split(shard).items():
            files = self._files(attribute, split, self.schema, ROWS_A_GROUP)
            for row in rows:
                files.add(shard, row)

    def add_labels(self, shard: Path) -> None:
        """Append a shard's rows, in their order and without pictures, each to its split's file of all attributes."""
        for split, rows in _by_split(shard).items():
            files = self._files("metadata", split, self.label_schema, LABEL_ROWS_A_GROUP)
            files.write(rows, None)

    def close(self, name: str) -> None:
        """Finish the files of a config, or of `metadata`, and note their sizes."""
        for split in SPLITS:
            files = self.open.pop((name, split), None)
            if files is not None:
                self.downloads[name] += files.close()
                self.sizes.setdefault(name, {})[split] = SplitSize(files.rows, files.bytes)

    def configs(self) -> dict[str, Config]:
        """Return what the card says of every config; attributes without a picture have none."""
        attributes = [name for name in self.labels["attribute"] if name in self.sizes]
        configs = {name: self._config(name, f"data/{name}", [name]) for name in attributes}
        configs["all"] = self._config("all", "data/*", attributes)
        configs["metadata"] = self._config("metadata", "metadata", ["metadata"])
        return configs

    def _config(self, name: str, place: str, parts: list[str]) -> Config:
        splits = {}
        for split in SPLITS:
            sizes = [self.sizes[part][split] for part in parts if split in self.sizes[part]]
            if sizes:
                splits[split] = SplitSize(sum(size.rows for size in sizes), sum(size.bytes for size in sizes))
        return Config(
            features=self.label_schema if name == "metadata" else self.schema,
            patterns={split: f"{place}/{split}-*.parquet" for split in splits},
            splits=splits,
            download=sum(self.downloads[part] for part in parts),
        )

    def _files(self, name: str, split: str, schema, group: int) -> _Files:
        if (name, split) not in self.open:
            folder = self.folder / ("metadata" if name == "metadata" else f"data/{name}")
            folder.mkdir(parents=True, exist_ok=True)
            self.open[name, split] = _Files(folder, split, schema, group)
        return self.open[name, split]


class _Files:
    """One split's Parquet files: rows are buffered to full row groups, files are cut at FILE_BYTES."""

    def __init__(self, folder: Path, split: str, features: Features, group: int):
        self.folder = folder
        self.split = split
        self.features = features
        self.schema = features.arrow_schema
        self.group = group
        self.rows = self.bytes = self.waiting = self.size = 0
        self.pictures: list[tuple[Path, dict]] = []
        self.buffer: list[pa.Table] = []
        self.paths: list[Path] = []
        self.writer: pq.ParquetWriter | None = None

    def add(self, shard: Path, row: dict) -> None:
        """A shard's row with its picture; pictures are read a whole row group at a time, and not copied again."""
        self.pictures.append((shard, row))
        self.size += _path(shard, row).stat().st_size
        if len(self.pictures) == self.group or self.size > BYTES_A_GROUP:
            self._write_pictures()

    def write(self, rows: list[dict], images: pa.StructArray | None) -> None:
        """Rows with their pictures, or without where the schema has none."""
        table = agfd30k.to_table(rows, images, self.features, self.schema)
        self.rows += len(table)
        self.bytes += table.nbytes
        self.buffer.append(table)
        self.waiting += len(table)
        if self.waiting >= self.group:
            self._flush(whole_groups=True)

    def close(self) -> int:
        """Write what is left and give the files their final names; returns their size in bytes."""
        if self.pictures:
            self._write_pictures()
        self._flush(whole_groups=False)
        self._end_file()
        for number, path in enumerate(self.paths):
            path.rename(self.folder / f"{self.split}-{number:05d}-of-{len(self.paths):05d}.parquet")
        return sum(path.stat().st_size for path in self.folder.glob(f"{self.split}-*.parquet"))

    def _write_pictures(self) -> None:
        rows, images = [row for _, row in self.pictures], _images(self.pictures)
        self.pictures, self.size = [], 0
        self.write(rows, images)
        self._flush(whole_groups=False)

    def _flush(self, whole_groups: bool) -> None:
        if not self.waiting:
            return
        table = pa.concat_tables(self.buffer)
        ready = len(table) - len(table) % self.group if whole_groups else len(table)
        for start in range(0, ready, self.group):
            self._group(table.slice(start, min(self.group, ready - start)))
        rest = table.slice(ready)
        self.buffer, self.waiting = ([rest] if len(rest) else []), len(rest)

    def _group(self, table: pa.Table) -> None:
        if self.writer is None:
            self.paths.append(self.folder / f".{self.split}-{len(self.paths):05d}.tmp")
            self.file = open(self.paths[-1], "wb")
            self.writer = pq.ParquetWriter(
                self.file,
                self.schema,
                compression=_compression(self.schema),
                write_page_index=True,
                use_content_defined_chunking=True,
            )
        self.writer.write_table(table.combine_chunks(), row_group_size=self.group)
        if self.file.tell() > FILE_BYTES:
            self._end_file()

    def _end_file(self) -> None:
        if self.writer is not None:
            self.writer.close()
            sync(self.file)
            self.file.close()
            self.writer = None


def _compression(schema: pa.Schema) -> dict[str, str]:
    """Codec of every leaf: pictures are compressed already, all else is not."""
    return {leaf: "none" if leaf.startswith("image.") else "zstd" for field in schema for leaf in _leaves(field)}


def _leaves(field: pa.Field) -> Iterator[str]:
    """Parquet's names for the columns that a field becomes."""
    if pa.types.is_struct(field.type):
        for part in field.type:
            yield from (f"{field.name}.{leaf}" for leaf in _leaves(part))
    elif pa.types.is_list(field.type):
        yield f"{field.name}.list.element"
    else:
        yield field.name


def _by_split(shard: Path) -> dict[str, list[dict]]:
    """Return a shard's rows by split; splits without a row are not there."""
    rows: dict[str, list[dict]] = {}
    for row in agfd30k.read_rows(shard):
        rows.setdefault(row["split"], []).append(row)
    return {split: rows[split] for split in SPLITS if split in rows}


def _images(pictures: list[tuple[Path, dict]]) -> pa.StructArray:
    """Return the rows' pictures as they lie on disk, {"bytes", "path"}, read into one block of memory.

    Raises Damaged where one is lost or not the one that was committed.
    """
    paths = [_path(shard, row) for shard, row in pictures]
    ends = np.cumsum([0, *(path.stat().st_size for path in paths)])
    block = pa.allocate_buffer(int(ends[-1]))
    for (shard, row), path, start, end in zip(pictures, paths, ends, ends[1:]):
        part = memoryview(block)[start:end]
        with open(path, "rb", buffering=0) as file:
            file.readinto(part)
        if hashlib.sha256(part).hexdigest() != row["sha256"]:
            raise Damaged(f"{path}: not the picture that was committed", shard)
    data = pa.BinaryArray.from_buffers(pa.binary(), len(paths), [None, pa.py_buffer(ends.astype(np.int32)), block])
    return pa.StructArray.from_arrays([data, pa.array([path.name for path in paths])], ["bytes", "path"])


def _path(shard: Path, row: dict) -> Path:
    try:
        path = agfd30k.picture(shard, row)
    except ValueError as error:
        raise Damaged(str(error), shard) from None
    if not is_file(path):
        raise Damaged(f"{shard}: the picture of {row['id']} is not there ({row['file_name']})", shard)
    return path
