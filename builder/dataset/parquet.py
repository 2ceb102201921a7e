"""Parquet files of a release: row groups small enough for the viewer, pictures copied byte for byte."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features, Value

import agfd30k
from agfd30k import SPLITS
from builder.common.files import sync
from builder.dataset.alignment import Aligner, points_of
from builder.dataset.first_page import FirstPage
from builder.models.identity import ModelId
from builder.raw.layout import is_file
from builder.raw.receipts import Damaged

ROWS_A_GROUP, BYTES_A_GROUP = 100, 100_000_000
"""A row group is closed at so many rows, or once its pictures have more bytes."""
LABEL_ROWS_A_GROUP = 10_000
FILE_BYTES = 500_000_000
"""A file is closed once it is larger than this."""
FILES, ROWS_A_FILE = 8, 16
"""An attribute's split is divided into so many files, for as many workers of a loader to share; into fewer where one
would have less rows than that."""
ALL, METADATA, FIRST_PAGE = "all", "metadata", "first_page"
"""The config of all pictures, the config of labels without them, and where the first rows of `all` lie."""
ANNOTATIONS, ALIGNED = "annotations", "aligned"
SEEN = f"{ANNOTATIONS}/{agfd30k.DETECTOR}"
"""Configs beside those: what models saw on the pictures, that which the checks' own saw, and the faces aligned."""


KEYS = ("sha256", "model", "model_digest")
"""What every row of annotations has beside its id: which picture it is of, and which model saw it."""
DETECTED = (*agfd30k.FACE_BOX, "face_score", *agfd30k.POINTS, "roll", "yaw", "pitch")
"""What the checks' face detector tells of a picture."""


def annotation_schema(columns: Features) -> Features:
    """Return the columns of a config of annotations: which picture, what was seen on it, by which model."""
    return Features({"id": Value("string"), **columns, **{name: Value("string") for name in KEYS}})


@dataclass(frozen=True)
class SplitSize:
    """Rows of a split, and their bytes in memory."""

    rows: int
    bytes: int


@dataclass(frozen=True)
class Config:
    """A config of a release: its schema, its files as globs by split, the splits' sizes, and bytes to download; of
    annotations also on how many pictures something was found.
    """

    features: Features
    patterns: dict[str, list[str]]
    splits: dict[str, SplitSize]
    download: int
    found: int | None = None


def is_beside(config: str) -> bool:
    """Return True for a config that has no picture of the build: labels, annotations, and faces aligned."""
    return config in (METADATA, ALIGNED) or is_annotations(config)


def is_annotations(config: str) -> bool:
    """Return True for a config of what a model saw."""
    return config == ANNOTATIONS or config.startswith(f"{ANNOTATIONS}_")


def default_config(configs: dict[str, Config]) -> str:
    """Return the name of the config that is loaded where none is named: `all`, or the only attribute."""
    return ALL if ALL in configs else next(iter(configs))


@dataclass(frozen=True)
class _Part:
    """The files of a split in one place: their rows, and their bytes in memory and on disk."""

    place: str
    split: str
    is_first: bool
    rows: int
    bytes: int
    download: int


class ReleaseWriter:
    """The Parquet files of a release: per attribute and split, and the labels of all of them per split.

    `rows` says how many rows each (attribute, split) has, `first_page` which of them `all` begins with: these stand in
    files of their own, once mixed, and once with their attribute. Where there is a `detector`, what it saw is written
    beside the labels; where there is an `aligner`, `add_aligned` writes the faces that it makes.
    """

    def __init__(
        self,
        folder: Path,
        labels: dict[str, list[str]],
        rows: Counter,
        first_page: FirstPage,
        detector: ModelId | None = None,
        aligner: Aligner | None = None,
    ):
        self.detector = detector
        self.found = 0
        self.aligner = aligner
        self.seen_schema = annotation_schema(Features({name: Value("float32") for name in DETECTED}))
        self.aligned_schema = agfd30k.features(labels, ALIGNED)
        self.folder = folder
        self.labels = labels
        self.schema = agfd30k.features(labels)
        self.label_schema = agfd30k.features(labels, "metadata")
        self.first_ids = {split: first_page.ids(split) for split in SPLITS}
        self.first_rows = {split: first_page.rows(split) for split in SPLITS if split in first_page.of}
        self.rows = rows
        self.open: dict[tuple[str, str], _Files] = {}
        self.parts: list[_Part] = []

    def add_first_page(self) -> None:
        """Write what `all` begins with, to its own files, to those of the attributes, and to the labels."""
        for split, rows in self.first_rows.items():
            places = [f"data/{attribute}" for attribute in dict.fromkeys(row["attribute"] for _, row in rows)]
            first = {place: self._files(place, f"{split}-first") for place in places}
            first[FIRST_PAGE] = self._files(FIRST_PAGE, split)
            for shard, row in rows:
                for place in (FIRST_PAGE, f"data/{row['attribute']}"):
                    first[place].add(shard, row)
            for place, files in first.items():
                self._end(place, split, files)
            self._write_labels(split, [row for _, row in rows])
            if self.aligner:
                for shard, row in rows:
                    self._aligned(split).add(shard, row)

    def add_pictures(self, attribute: str, shard: Path) -> None:
        """Append a shard's rows, in their order, each to its split's files of its attribute.

        Different attributes may be written by different threads.
        """
        for split, rows in self._by_split(shard).items():
            files = self._pictures(attribute, split)
            for row in rows:
                files.add(shard, row)

    def add_labels(self, shard: Path) -> None:
        """Append a shard's rows, in their order and without pictures, each to its split's file of all attributes."""
        for split, rows in self._by_split(shard).items():
            self._write_labels(split, rows)

    def add_aligned(self, shard: Path) -> None:
        """Append the faces of a shard's rows, aligned, in their order, each to its split's file of all attributes."""
        for split, rows in self._by_split(shard).items():
            for row in rows:
                self._aligned(split).add(shard, row)

    def close(self, name: str) -> None:
        """Finish the files of an attribute, or of `metadata` with the annotations, or of `aligned`."""
        for split in SPLITS:
            for place in (name, SEEN) if name == METADATA else (name,):
                files = self.open.pop((place, split), None)
                if files is not None:
                    self._end(place if place in (METADATA, SEEN, ALIGNED) else f"data/{place}", split, files)

    def configs(self) -> dict[str, Config]:
        """Return what the card says of every config; attributes without a picture have none, and one alone no `all`."""
        pictures = [part for part in self.parts if part.place.startswith("data/")]
        attributes = [name for name in self.labels["attribute"] if f"data/{name}" in {part.place for part in pictures}]
        configs = {}
        for name in attributes:
            own = [part for part in pictures if part.place == f"data/{name}"]
            configs[name] = _config(self.schema, own, {split: [f"data/{name}/{split}-*.parquet"] for split in SPLITS})
        if len(attributes) > 1:
            patterns = {split: [f"data/*/{split}-*-of-*.parquet"] for split in SPLITS}
            for split in self.first_rows:
                patterns[split].insert(0, f"{FIRST_PAGE}/{split}.parquet")
            first = [part for part in self.parts if part.place == FIRST_PAGE]
            numbered = [part for part in pictures if not part.is_first]
            configs[ALL] = _config(self.schema, [*first, *numbered], patterns)
        labels = [part for part in self.parts if part.place == METADATA]
        patterns = {split: [f"{METADATA}/{split}-*.parquet"] for split in SPLITS}
        configs[METADATA] = _config(self.label_schema, labels, patterns)
        for name, place, schema in ((ANNOTATIONS, SEEN, self.seen_schema), (ALIGNED, ALIGNED, self.aligned_schema)):
            if own := [part for part in self.parts if part.place == place and part.rows]:
                patterns = {split: [f"{place}/{split}-*.parquet"] for split in SPLITS}
                found = self.found if name == ANNOTATIONS else None
                configs[name] = replace(_config(schema, own, patterns), found=found)
        return configs

    def _by_split(self, shard: Path) -> dict[str, list[dict]]:
        """Return a shard's rows by split, without those of the first page; splits without a row are not there."""
        rows: dict[str, list[dict]] = {split: [] for split in SPLITS}
        for row in agfd30k.read_rows(shard):
            if row["id"] not in self.first_ids[row["split"]]:
                rows[row["split"]].append(row)
        return {split: some for split, some in rows.items() if some}

    def _pictures(self, attribute: str, split: str) -> _Files:
        if (attribute, split) not in self.open:
            first = sum(row["attribute"] == attribute for _, row in self.first_rows.get(split, []))
            rows = self.rows[attribute, split] - first
            count = max(1, min(FILES, rows // ROWS_A_FILE))
            files = self._files(f"data/{attribute}", split, rows_a_file=max(1, -(-rows // count)))
            self.open[attribute, split] = files
        return self.open[attribute, split]

    def _labels(self, split: str) -> _Files:
        if (METADATA, split) not in self.open:
            place, schema = self.folder / METADATA, self.label_schema
            self.open[METADATA, split] = _Files(place, split, schema, LABEL_ROWS_A_GROUP, sys.maxsize)
        return self.open[METADATA, split]

    def _write_labels(self, split: str, rows: list[dict]) -> None:
        self._labels(split).write(rows, None)
        if self.detector:
            if (SEEN, split) not in self.open:
                place = self.folder / SEEN
                self.open[SEEN, split] = _Files(place, split, self.seen_schema, LABEL_ROWS_A_GROUP, sys.maxsize)
            self.found += sum(points_of(row) is not None for row in rows)
            self.open[SEEN, split].write([_seen(row, self.detector) for row in rows], None)

    def _aligned(self, split: str) -> _Files:
        if (ALIGNED, split) not in self.open:
            assert self.aligner
            rows = sum(count for (_, place), count in self.rows.items() if place == split)
            rows_a_file = -(-rows // max(1, min(FILES, rows // ROWS_A_FILE)))
            place, schema, make = self.folder / ALIGNED, self.aligned_schema, self.aligner.align
            self.open[ALIGNED, split] = _Files(place, split, schema, ROWS_A_GROUP, rows_a_file, make)
        return self.open[ALIGNED, split]

    def _files(self, place: str, name: str, rows_a_file: int | None = None) -> _Files:
        return _Files(self.folder / place, name, self.schema, ROWS_A_GROUP, rows_a_file)

    def _end(self, place: str, split: str, files: _Files) -> None:
        download = files.close()
        self.parts.append(_Part(place, split, files.is_alone, files.rows, files.bytes, download))


def _seen(row: dict, detector: ModelId) -> dict:
    """Return a raw row with what the face detector saw on its picture, and which one it was."""
    checks = row["checks"]
    points: Sequence[float | None] = points_of(row) or [None] * len(agfd30k.POINTS)
    pose = {name: checks.get(name) for name in ("roll", "yaw", "pitch")}
    which = {"model": detector.name, "model_digest": detector.sha256 or detector.revision}
    return {**row, **dict(zip(agfd30k.POINTS, points)), **pose, **which}


def _config(schema: Features, parts: list[_Part], patterns: dict[str, list[str]]) -> Config:
    splits = {
        split: SplitSize(sum(part.rows for part in own), sum(part.bytes for part in own))
        for split in SPLITS
        if (own := [part for part in parts if part.split == split])
    }
    download = sum(part.download for part in parts)
    return Config(schema, {split: patterns[split] for split in splits}, splits, download)


class _Files:
    """Parquet files of a split: rows are buffered to full row groups, files are cut at `rows_a_file` and FILE_BYTES.

    Without `rows_a_file` it is one file, which has no number. `make` makes other rows with other pictures of them, of
    which there may be fewer.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        features: Features,
        group: int,
        rows_a_file: int | None,
        make: Callable[[list[dict], pa.StructArray], tuple[list[dict], pa.StructArray]] | None = None,
    ):
        self.make = make
        self.folder = folder
        self.name = name
        self.features = features
        self.schema = features.arrow_schema
        self.group = group
        self.is_alone = rows_a_file is None
        self.rows_a_file = rows_a_file or sys.maxsize
        self.given = self.rows = self.bytes = self.waiting = self.size = 0
        self.pictures: list[tuple[Path, dict]] = []
        self.buffer: list[pa.Table] = []
        self.paths: list[Path] = []
        self.writer: pq.ParquetWriter | None = None

    def add(self, shard: Path, row: dict) -> None:
        """A shard's row with its picture; pictures are read a whole row group at a time, and not copied again."""
        self.pictures.append((shard, row))
        self.given += 1
        self.size += _path(shard, row).stat().st_size
        is_last = self.given % self.rows_a_file == 0
        if is_last or len(self.pictures) == self.group or self.size > BYTES_A_GROUP:
            self._write_pictures()
        if is_last:
            self._end_file()

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
        size = sum(path.stat().st_size for path in self.paths)
        for number, path in enumerate(self.paths):
            ending = "" if self.is_alone else f"-{number:05d}-of-{len(self.paths):05d}"
            path.rename(self.folder / f"{self.name}{ending}.parquet")
        return size

    def _write_pictures(self) -> None:
        rows, images = [row for _, row in self.pictures], _images(self.pictures)
        self.pictures, self.size = [], 0
        if self.make:
            rows, images = self.make(rows, images)
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
            self.folder.mkdir(parents=True, exist_ok=True)
            self.paths.append(self.folder / f".{self.name}-{len(self.paths):05d}.tmp")
            self.file = open(self.paths[-1], "wb")
            self.writer = pq.ParquetWriter(
                self.file,
                self.schema,
                compression=compression(self.schema),
                write_page_index=True,
                use_content_defined_chunking=True,
            )
        self.writer.write_table(table.combine_chunks(), row_group_size=self.group)
        if self.file.tell() > FILE_BYTES and not self.is_alone:
            self._end_file()

    def _end_file(self) -> None:
        if self.writer is not None:
            self.writer.close()
            sync(self.file)
            self.file.close()
            self.writer = None


def portable(features: Features) -> pa.Schema:
    """Return the Arrow schema of columns as every version of `datasets` reads it: lists have the name of before."""
    schema = features.arrow_schema
    notes = schema.metadata[b"huggingface"].replace(b'"_type": "List"', b'"_type": "Sequence"')
    return schema.with_metadata({b"huggingface": notes})


def compression(schema: pa.Schema) -> dict[str, str]:
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
