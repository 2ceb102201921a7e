"""Rows that a published release lacks: found by their ids, and written into Parquet files of their own.

What is published stays as it is, down to the names of its files: readers have them in their caches. The files of an
appended batch, `train-more001-00000-of-00004.parquet`, are meant by the globs that the card has already, and come after
all others of their place, so that rows keep their numbers.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agfd30k import SPLITS
from builder.checks.duplicates import copies
from builder.common.errors import UserError
from builder.common.files import atomic
from builder.dataset import parquet
from builder.dataset.folder import DATA, FIRST, Release, batch_of
from builder.dataset.labels import Row, columns, digest, key, label_rows
from builder.dataset.parquet import ALIGNED, ANNOTATIONS, KEYS, METADATA, SEEN, Written, compression
from builder.dataset.recount import Recount
from builder.spec.criteria import Duplicates

OF_ROWS = ("data/", f"{ANNOTATIONS}/")
"""What folders of rows begin with, beside those of labels and of aligned faces."""


@dataclass
class Hashes:
    """The hashes of pictures, the published ones first, each with its cell: feature and sex."""

    values: array = field(default_factory=lambda: array("Q"))
    cells: array = field(default_factory=lambda: array("I"))
    ids: list[str] = field(default_factory=list)
    """Those of the new pictures alone."""
    names: dict[tuple[str, str], int] = field(default_factory=dict)
    places: dict[bytes, int] = field(default_factory=dict)
    """Of pictures that may have twins."""
    twins: dict[int, str] = field(default_factory=dict)
    settled: int = 0

    def add(self, row: Row, is_new: bool) -> None:
        """Take in a picture that has a hash."""
        if row["perceptual_hash"] is None:
            return
        if "twin_of" in row:
            self.places[key(row["id"])] = len(self.values)
            if row["twin_of"]:
                self.twins[len(self.values)] = row["twin_of"]
        self.values.append(int(row["perceptual_hash"], 16))
        self.cells.append(self.names.setdefault((row["feature"], row["sex"]), len(self.names)))
        if is_new:
            self.ids.append(row["id"])
        else:
            self.settled += 1

    def copies(self, criteria: Duplicates | None) -> dict[str, int]:
        """Return the new pictures that are another one again, by the build's own rule, each with the bits that differ.

        What is published stays, whatever it shows.
        """
        if criteria is None or not self.ids:
            return {}
        of = np.full(len(self.values), -1) if self.twins else None
        for place, original in self.twins.items():
            assert of is not None
            of[place] = self.places.get(key(original), -1)
        values, cells = np.array(self.values, np.uint64), np.array(self.cells, np.uint32)
        found = copies(values, cells, criteria, self.settled, of)
        return {self.ids[copy.place - self.settled]: copy.distance for copy in found}


@dataclass
class Comparison:
    """What a release has that a published one has not. `new` has ids by attribute; `copies` are pictures that are left
    out, with the bits in which they differ from one that is there; `shared` counts rows that both have, by feature, and
    `published` those that are published. `recount` has counted what is published.
    """

    new: dict[str, set[str]] = field(default_factory=dict)
    copies: dict[str, int] = field(default_factory=dict)
    copied: Counter[str] = field(default_factory=Counter)
    shared: Counter[str] = field(default_factory=Counter)
    published: Counter[str] = field(default_factory=Counter)
    recount: Recount = field(default_factory=Recount)

    @property
    def rows(self) -> int:
        """How many rows are new."""
        return sum(map(len, self.new.values()))

    @classmethod
    def of(cls, published: Path, release: Path, criteria: Duplicates | None, name: str) -> Comparison:
        """Compare all rows, and by `criteria` the pictures.

        Raises UserError where a row that both have is not the same, or where the columns are others.
        """
        _require_same_columns(published, release, name)
        found, known, hashes = cls(), {}, Hashes()
        for split, row in label_rows(published):
            known[key(row["id"])] = digest(split, row)
            found.published[row["feature"]] += 1
            found.recount.add(split, row)
            hashes.add(row, is_new=False)
        other: list[str] = []
        features: dict[str, str] = {}
        twins: dict[str, str] = {}
        for split, row in label_rows(release):
            there = known.get(key(row["id"]))
            if there is None:
                found.new.setdefault(row["attribute"], set()).add(row["id"])
                features[row["id"]] = row["feature"]
                if row.get("twin_of"):
                    twins[row["id"]] = row["twin_of"]
                hashes.add(row, is_new=True)
            elif there != digest(split, row):
                other.append(row["id"])
            else:
                found.shared[row["feature"]] += 1
        if other:
            count = f"{len(other):,} rows are" if len(other) > 1 else "a row is"
            raise UserError(
                f"{release}: {count} published with another picture, label or split, first {other[0]}; what is "
                f"published in {name} does not change by an append: send the whole as a new release without --append"
            )
        found._leave_out(hashes.copies(criteria), features, twins)
        return found

    def _leave_out(self, copied: dict[str, int], features: dict[str, str], twins: dict[str, str]) -> None:
        """Take copies out of what is new, and the twins of what is taken out."""
        gone = {**copied, **{id: 0 for id, of in twins.items() if of in copied}}
        self.copies = copied
        for id in gone:
            self.copied[features[id]] += 1
            self.new[id.partition("-")[0]].discard(id)
        self.new = {attribute: ids for attribute, ids in self.new.items() if ids}


def _require_same_columns(published: Path, release: Path, name: str) -> None:
    there, here = columns(published), columns(release)
    if there != here:
        names = [column for column in dict.fromkeys([*there, *here]) if there.get(column) != here.get(column)]
        raise UserError(
            f"{release}: its rows have other columns or label names than those of {name} ({', '.join(names[:3])}); "
            "only rows of the same kind can be appended"
        )


def next_batch(names: Iterable[str]) -> int:
    """Return the number of the next batch, by the names of the files that are there."""
    return 1 + max(map(batch_of, names), default=0)


def written_rows(release: Release, stage: Path, new: dict[str, set[str]], batch: int) -> list[Written]:
    """Write the rows of `new`, ids by attribute, into files of a batch; returns what was written.

    The same rows give the same files: whoever sends them again has nothing to send.
    """
    written: list[Written] = []
    for place in _places(release):
        for split in SPLITS:
            attribute = place.removeprefix("data/") if place.startswith("data/") else None
            some = [attribute] if attribute else sorted(new)
            runs = [_Run(release, _files(release, place, split), new[name]) for name in some if name in new]
            written += _Files(stage, place, split, batch).write(runs)
    return written


def _places(release: Release) -> list[str]:
    """Return the folders of a release that hold rows of their own, in order."""
    places = dict.fromkeys(name.rpartition("/")[0] for name in release.parquet)
    return [place for place in places if place.startswith(OF_ROWS) or place in (METADATA, ALIGNED)]


def _files(release: Release, place: str, split: str) -> list[Path]:
    """Return the files of a place and split in the order of the labels: those of the first page come first."""
    names = [name for name in release.parquet if name.rpartition("/")[0] == place]
    own = [name for name in names if (part := DATA.fullmatch(name)) and part[2] == split]
    first = [name for name in names if FIRST.fullmatch(name) and name == f"{place}/{split}-first.parquet"]
    return [release.folder / name for name in [*first, *sorted(own, key=lambda name: (batch_of(name), name))]]


class _Run:
    """The rows of some files whose ids are wanted, in their order."""

    def __init__(self, release: Release, files: Sequence[Path], ids: set[str]):
        self.release = release
        self.masks = {path: mask for path in files if (mask := _mask(path, ids)).any()}
        self.rows = sum(int(mask.sum()) for mask in self.masks.values())

    @property
    def size(self) -> int:
        """Bytes that a row takes on disk, by the mean of its files."""
        rows = sum(map(len, self.masks.values()))
        return sum(path.stat().st_size for path in self.masks) // max(1, rows)

    def tables(self) -> Iterator[pa.Table]:
        """Yield the rows, row group by row group."""
        for path, mask in self.masks.items():
            with pq.ParquetFile(path, buffer_size=2**20) as file:
                start = 0
                for group in range(file.num_row_groups):
                    own = mask[start : start + file.metadata.row_group(group).num_rows]
                    start += len(own)
                    if own.any():
                        yield file.read_row_group(group).filter(pa.array(own))


def _mask(path: Path, ids: set[str]) -> np.ndarray:
    """Return which rows of a file have one of some ids, bool (n,)."""
    there = pq.read_table(path, columns=["id"])["id"].to_pylist()
    return np.fromiter((id in ids for id in there), bool, len(there))


class _Files:
    """Writes the files of a place and split, of which a row group is in memory at a time."""

    def __init__(self, stage: Path, place: str, split: str, batch: int):
        self.folder = stage / place
        self.place = place
        self.split = split
        self.batch = batch
        self.is_labels = place == METADATA or place.startswith(f"{ANNOTATIONS}/")
        self.group = parquet.LABEL_ROWS_A_GROUP if self.is_labels else parquet.ROWS_A_GROUP

    def write(self, runs: Sequence[_Run]) -> list[Written]:
        """Write the rows of several runs, one after the other."""
        rows = sum(run.rows for run in runs)
        if not rows:
            return []
        self.folder.mkdir(parents=True, exist_ok=True)
        most = self._rows_a_file(rows, sum(run.rows * run.size for run in runs) // rows)
        count = -(-rows // most)
        tables = _regrouped((table for run in runs for table in run.tables()), self.group, most)
        return [self._write(number, count, tables, min(most, rows - number * most)) for number in range(count)]

    def _rows_a_file(self, rows: int, size: int) -> int:
        """Return how many rows a file has, as in a first release: see builder.dataset.cutting."""
        largest = self.group * max(1, -(-parquet.FILE_BYTES // max(1, size * self.group)))
        if self.is_labels:
            return min(parquet.LABEL_ROWS_A_FILE, largest)
        shared = -(-rows // max(1, min(parquet.FILES, rows // parquet.ROWS_A_FILE)))
        return min(shared, largest)

    def _write(self, number: int, count: int, tables: Iterator[pa.Table], left: int) -> Written:
        name = f"{self.split}-more{self.batch:03d}-{number:05d}-of-{count:05d}.parquet"
        rows, size, found, path = left, 0, 0, self.folder / name
        table = next(tables)
        options = {"compression": compression(table.schema), "write_page_index": True}
        with (
            atomic(path) as file,
            pq.ParquetWriter(file, table.schema, use_content_defined_chunking=True, **options) as to,
        ):
            while True:
                to.write_table(table, row_group_size=self.group)
                size, left = size + table.nbytes, left - len(table)
                found += self._found(table)
                if not left:
                    break
                table = next(tables)
        return Written(self.place, name, self.split, False, rows, size, path.stat().st_size, found)

    def _found(self, table: pa.Table) -> int:
        """Return on how many pictures something was found, where the rows are annotations."""
        if not self.place.startswith(f"{ANNOTATIONS}/"):
            return 0
        own = ["nose_x"] if self.place == SEEN else [name for name in table.column_names if name not in ("id", *KEYS)]
        is_found = np.zeros(len(table), bool)
        for name in own:
            is_found |= table[name].is_valid().to_numpy()
        return int(is_found.sum())


def _regrouped(tables: Iterator[pa.Table], group: int, most: int) -> Iterator[pa.Table]:
    """Yield row groups of `group` rows, or fewer where their bytes are many or a file of `most` rows ends."""
    waiting: list[pa.Table] = []
    rows = size = in_file = 0

    def closed() -> pa.Table:
        return pa.concat_tables(waiting).combine_chunks()

    for table in tables:
        while len(table):
            part = table.slice(0, min(group - rows, most - in_file))
            table = table.slice(len(part))
            waiting.append(part)
            rows, size, in_file = rows + len(part), size + part.nbytes, in_file + len(part)
            if rows == group or in_file == most or size > parquet.BYTES_A_GROUP:
                yield closed()
                waiting.clear()
                rows = size = 0
                in_file %= most
    if waiting:
        yield closed()
