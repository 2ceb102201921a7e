"""Every row of a release stands once among the pictures, and the same among the labels.

Files are read a run at a time, each run a task, and compared as columns. What is kept of a row are 8 bytes, by which
those are found that stand twice.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, zip_longest
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Features

from agfd30k import SPLITS
from builder.dataset.folder import DATA, Release, batch_of
from builder.dataset.parquet import FIRST_PAGE, METADATA
from builder.engine.engine import Engine
from builder.engine.here import Here
from builder.engine.ordered import ordered
from builder.linting.parquet import naming, read, rows_of, stated

AT_ONCE = 10_000
"""Rows that are compared at once, up to the end of a row group."""
ROW = 40e-6
"""Seconds that a row takes on one core, to choose how many processes."""


Starts = dict[str, int]
"""Files that follow each other, each with the number of its first row."""


@dataclass(frozen=True)
class Run:
    """Row groups of a split that follow each other: the numbers of each file's, by its name. Their first row has the
    number `first` in the split; `labels` are the files with the labels of these rows, as far as there are some.
    """

    groups: dict[str, list[int]]
    first: int
    labels: Starts

    def __str__(self) -> str:
        return next(iter(self.groups))


@dataclass(frozen=True)
class Found:
    """What was found in a run: hashes of the ids, uint64 (n,), rows by the number of their feature, and the number
    and id of the first row that is not the same among the labels, or None.
    """

    ids: np.ndarray
    features: Counter[int]
    differs: tuple[int, str] | None


def rows(release: Release, made: Counter, engine: Engine | None = None) -> Iterator[str]:
    """Every picture's row stands once in `data` and the same in `metadata`.

    Pictures by feature are counted into `made`, once all rows are read.
    """
    features = stated(release, METADATA)
    if METADATA not in release.configs() or "id" not in features:  # `configs` says so, or `schema`
        return
    counted: Counter[int] = Counter()
    ids: dict[str, np.ndarray] = {}
    for split in SPLITS:
        names = _names(release, features, "data", split)
        labels, total = _starts(release, _names(release, features, METADATA, split))
        yield from _first_page(release, features, split)
        count, same, done = _starts(release, names)[1], True, 0
        ids[split] = np.zeros(count, np.uint64)
        step = partial(_compared, release.folder, list(features))
        for found in ordered(engine or Here.sized(ROW * count), step, _runs(release, names, labels)):
            ids[split][done : done + len(found.ids)] = found.ids
            done += len(found.ids)
            counted += found.features
            if same and found.differs:
                same = False
                yield _differs(split, *found.differs)
        if same and total > count:
            yield _differs(split, count, _id(release.folder, labels, count))
    yield from _repeated(release, features, ids)
    made.update({features["feature"].int2str(number): count for number, count in counted.items()})


def _starts(release: Release, names: list[str]) -> tuple[Starts, int]:
    """Return where files begin that follow each other, and how many rows they have together."""
    ends = list(accumulate((rows_of(release.folder, name) for name in names), initial=0))
    return dict(zip(names, ends)), ends[-1]


def _overlapping(starts: Starts, first: int, stop: int) -> Starts:
    """Return the files that may have some of the rows from a number to before another one."""
    ends = [*list(starts.values())[1:], stop]
    return {name: start for (name, start), end in zip(starts.items(), ends) if start < stop and end > first}


def _differs(split: str, number: int, id: str) -> str:
    return f"{split}: row {number} ({id}) is not the same in data and metadata"


def _runs(release: Release, names: list[str], labels: Starts) -> Iterator[Run]:
    """Yield row groups together that have AT_ONCE rows or more."""
    groups: dict[str, list[int]] = {}
    first = stop = 0
    for name in names:
        with naming(name):
            metadata = pq.read_metadata(release.folder / name)
        for number in range(metadata.num_row_groups):
            groups.setdefault(name, []).append(number)
            stop += metadata.row_group(number).num_rows
            if stop - first >= AT_ONCE:
                yield Run(groups, first, _overlapping(labels, first, stop))
                groups, first = {}, stop
    if groups:
        yield Run(groups, first, _overlapping(labels, first, stop))


def _compared(folder: Path, columns: list[str], run: Run) -> Iterator[Found]:
    """Compare the rows of a run with those of the labels that have their numbers."""
    own = [_table(folder, name, numbers, columns) for name, numbers in run.groups.items()]
    there = _slice(folder, run.labels, columns, run.first, sum(map(len, own)))
    differs = None
    if not _is_same(own, there):
        pairs = zip_longest(*([row for table in tables for row in table.to_pylist()] for tables in (own, there)))
        numbered = ((number, (row or label)["id"]) for number, (row, label) in enumerate(pairs) if row != label)
        differs = next(((run.first + number, id) for number, id in numbered), None)
    features = (each for table in own for each in pc.value_counts(table["feature"]).to_pylist())
    counted: Counter[int] = Counter()
    for each in features:
        counted[each["values"]] += each["counts"]
    yield Found(_hashed(own), counted, differs)


def _is_same(own: list[pa.Table], there: list[pa.Table]) -> bool:
    """Return True for rows that are the same as columns; others may still be the same as values, of other types."""
    try:
        return pa.concat_tables(own).equals(pa.concat_tables(there))
    except pa.ArrowInvalid:  # files of several schemas, or none
        return False


def _table(folder: Path, name: str, numbers: list[int], columns: list[str]) -> pa.Table:
    with naming(name), pq.ParquetFile(folder / name) as file:
        return file.read_row_groups(numbers, columns, use_threads=False).select(columns)


def _slice(folder: Path, starts: Starts, columns: list[str], first: int, count: int) -> list[pa.Table]:
    """Return some rows of files that follow each other, as many as there are."""
    found: list[pa.Table] = []
    for name, start in starts.items():
        with naming(name), pq.ParquetFile(folder / name) as file:
            for number in range(file.num_row_groups):
                stop = start + file.metadata.row_group(number).num_rows
                if start < first + count and stop > first:
                    skipped, end = max(0, first - start), min(first + count, stop) - start
                    group = file.read_row_group(number, columns, use_threads=False).select(columns)
                    found.append(group.slice(skipped, end - skipped))
                start = stop
    return found


def _hashed(tables: list[pa.Table]) -> np.ndarray:
    ids = (id for table in tables for id in table["id"].to_pylist())
    return np.frombuffer(b"".join(hashlib.blake2b(id.encode(), digest_size=8).digest() for id in ids), np.uint64)


def _repeated(release: Release, features: Features, ids: dict[str, np.ndarray]) -> Iterator[str]:
    """Yield the rows whose id stands before them: those of the same hash are read again."""
    ordered_ids = np.concatenate(list(ids.values()))
    ordered_ids.sort()
    twice = np.unique(ordered_ids[1:][ordered_ids[1:] == ordered_ids[:-1]])
    seen: set[str] = set()
    for split in SPLITS if len(twice) else ():
        starts, _ = _starts(release, _names(release, features, "data", split))
        for number in np.flatnonzero(np.isin(ids[split], twice)).tolist():
            id = _id(release.folder, starts, number)
            if id in seen:
                yield f"{split}: {id} is there twice"
            seen.add(id)


def _id(folder: Path, starts: Starts, number: int) -> str:
    """Return the id of the row with a number in some files."""
    (table,) = _slice(folder, _overlapping(starts, number, number + 1), ["id"], number, 1)
    return table["id"][0].as_py()


def _names(release: Release, features: Features, place: str, split: str) -> list[str]:
    """Return the files of a split in the order in which the release was written."""
    older = release.info and release.info.format == "1"
    order = features["attribute"].names if older else sorted(features["attribute"].names)
    own = [name for name in release.parquet if (part := DATA.fullmatch(name)) and part[1].split("/")[0] == place]
    own = [name for name in own if f"/{split}-" in name]
    own.sort(key=lambda name: (batch_of(name), order.index(name.split("/")[1]) if place == "data" else 0, name))
    first = [name for name in release.parquet if place == "data" and name == f"{FIRST_PAGE}/{split}.parquet"]
    return [*first, *own]


def _first_page(release: Release, features: Features, split: str) -> Iterator[str]:
    """The first page of all pictures holds the rows that each attribute keeps for it."""
    own = [name for name in release.parquet if name.startswith("data/") and name.endswith(f"/{split}-first.parquet")]
    page = [name for name in release.parquet if name == f"{FIRST_PAGE}/{split}.parquet"]
    here, there = (sorted(read(release, names, list(features)), key=lambda row: row["id"]) for names in (page, own))
    if here != there:
        yield f"{split}: the rows of {FIRST_PAGE}/{split}.parquet are not those of data/*/{split}-first.parquet"
    for name in own:
        attribute, rows = name.split("/")[1], read(release, [name], ["attribute"])
        if {features["attribute"].int2str(row["attribute"]) for row in rows} != {attribute}:
            yield f"{name}: holds rows of other attributes than {attribute}"
