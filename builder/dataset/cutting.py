"""Where every row of a release goes, planned before anything is written: its Parquet files, each of them one task.

The plan follows from the receipts and from which split every row belongs to, so that it is the same however many
processes write the files, and in whichever order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np

import agfd30k
from agfd30k import SPLITS
from builder.dataset import parquet
from builder.dataset.first_page import FirstPage
from builder.dataset.parquet import ALIGNED, FIRST_PAGE, METADATA, SEEN
from builder.dataset.statistics import Statistics
from builder.raw.build import Finished

LABEL_BYTES, LABEL_WORK = 300, 40_000
"""Bytes that a row of labels takes in a file at most, and those of a picture that take about as long to pack."""
ON_FIRST_PAGE = 255
"""Stands in the place of a split's number."""


class Kind(Enum):
    """What a file's rows have: pictures, labels without them, what the face detector saw, or aligned faces."""

    PICTURES = "pictures"
    LABELS = "labels"
    SEEN = "seen"
    ALIGNED = "aligned"


@dataclass(frozen=True, eq=False)
class Lines:
    """Some lines of a shard's rows, by number from 0, in the order in which they are written.

    `digest` is that of the file of rows that was counted.
    """

    shard: Path
    digest: str
    numbers: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)


Batch = tuple[Lines, ...]
"""Lines that become one table: those of a shard, or of a first page, which are of many."""


@dataclass(frozen=True)
class OutputFile:
    """A Parquet file of a release: its place in the folder, its name, its rows.

    `group` is how many rows a row group has, `work` about how many bytes of pictures take as long to pack.
    """

    place: str
    name: str
    split: str
    kind: Kind
    batches: tuple[Batch, ...]
    group: int
    work: int

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return _rows(self.batches)

    @property
    def path(self) -> str:
        """Its path inside the release folder."""
        return f"{self.place}/{self.name}"

    @property
    def is_first(self) -> bool:
        """True for the rows of a first page that stand with their attribute."""
        return self.name.endswith(f"-{_FIRST}")

    def __str__(self) -> str:
        return self.path


_FIRST = "first.parquet"


@dataclass(frozen=True)
class FileTask:
    """A file to write; or those of a first page, which have the same pictures."""

    files: tuple[OutputFile, ...]

    @property
    def work(self) -> int:
        """About how many bytes of pictures take as long to pack."""
        return sum(file.work for file in self.files)

    def __str__(self) -> str:
        return str(self.files[0])


def file_tasks(files: Iterable[OutputFile]) -> list[FileTask]:
    """Return the tasks that write files, of which those of a first page follow each other, the mixed one first."""
    groups: list[list[OutputFile]] = []
    for file in files:
        if file.is_first and groups and groups[-1][0].place == FIRST_PAGE:
            groups[-1].append(file)
        else:
            groups.append([file])
    return [FileTask(tuple(group)) for group in groups]


class Cutter:
    """Plans the files of a release of finished shards, which `statistics` has counted."""

    def __init__(self, shards: Finished, statistics: Statistics):
        self.shards = shards
        first_page = statistics.first_page
        self.pages = {split: _page(shards, first_page, split) for split in first_page.of}
        splits = {shard: np.frombuffer(statistics.split_numbers[shard], np.uint8) for shard in shards}
        for lines in (lines for page in self.pages.values() for lines in page):
            splits[lines.shard] = splits[lines.shard].copy()
            splits[lines.shard][lines.numbers] = ON_FIRST_PAGE
        self.lines = {split: self._lines(number, splits) for number, split in enumerate(SPLITS)}
        self.parts: dict[str, list[Path]] = {}
        for shard in shards:
            self.parts.setdefault(agfd30k.config_of(shard), []).append(shard)

    def files(self, has_points: bool = False, side: int | None = None) -> Iterator[OutputFile]:
        """Yield every file: with what the face detector saw where the rows have its points, and with the faces aligned
        where they shall have a `side`, in pixels.
        """
        for attribute in self.parts:
            for split in SPLITS:
                yield from self._pictures(attribute, split)
        for split in SPLITS:
            yield from self._first_page(split)
            kinds = {METADATA: Kind.LABELS, **({SEEN: Kind.SEEN} if has_points else {})}
            yield from self._labels(split, kinds)
            if side:
                yield from self._aligned(split, 2 * side**2)

    def _pictures(self, attribute: str, split: str) -> Iterator[OutputFile]:
        batches = list(self._batches(split, self.parts[attribute]))
        rows = _rows(batches)
        if rows:
            size = sum(len(lines) * self._mean(lines) for (lines,) in batches) // rows
            place, most = f"data/{attribute}", min(_shared(rows), _largest(parquet.ROWS_A_GROUP, size))
            parts = list(_cut(batches, most))
            yield from _numbered(place, split, Kind.PICTURES, parts, parquet.ROWS_A_GROUP, size)

    def _first_page(self, split: str) -> Iterator[OutputFile]:
        page = self.pages.get(split, ())
        by_place = {FIRST_PAGE: list(page)}
        for lines in page:
            by_place.setdefault(f"data/{agfd30k.config_of(lines.shard)}", []).append(lines)
        for place, some in by_place.items() if page else ():
            name = f"{split}.parquet" if place == FIRST_PAGE else f"{split}-{_FIRST}"
            work = sum(map(self._mean, some))
            yield OutputFile(place, name, split, Kind.PICTURES, (tuple(some),), parquet.ROWS_A_GROUP, work)

    def _labels(self, split: str, kinds: dict[str, Kind]) -> Iterator[OutputFile]:
        """Yield files of labels in several places, which share what says where their rows are."""
        most = min(parquet.LABEL_ROWS_A_FILE, _largest(parquet.LABEL_ROWS_A_GROUP, LABEL_BYTES))
        parts = list(_cut(self._all_batches(split), most))
        for place, kind in kinds.items():
            yield from _numbered(place, split, kind, parts, parquet.LABEL_ROWS_A_GROUP, LABEL_WORK)

    def _aligned(self, split: str, size: int) -> Iterator[OutputFile]:
        batches = list(self._all_batches(split))
        most = min(_shared(_rows(batches)), _largest(parquet.ROWS_A_GROUP, size))
        parts = list(_cut(batches, most))
        yield from _numbered(ALIGNED, split, Kind.ALIGNED, parts, parquet.ROWS_A_GROUP, 4 * size)

    def _all_batches(self, split: str) -> Iterator[Batch]:
        """Yield the rows of all attributes, those of the first page first."""
        if split in self.pages:
            yield self.pages[split]
        yield from self._batches(split, (shard for name in sorted(self.parts) for shard in self.parts[name]))

    def _batches(self, split: str, shards: Iterable[Path]) -> Iterator[Batch]:
        """Yield each shard's rows of a split, without those of the first page."""
        for shard in shards:
            if shard in self.lines[split]:
                yield (self.lines[split][shard],)

    def _lines(self, split: int, splits: dict[Path, np.ndarray]) -> dict[Path, Lines]:
        """Return each shard's rows of a split, which all files share that have them."""
        numbers = {shard: np.flatnonzero(own == split).astype(np.uint32) for shard, own in splits.items()}
        return {shard: Lines(shard, self.shards[shard].sha256, some) for shard, some in numbers.items() if len(some)}

    def _mean(self, lines: Lines) -> int:
        """Return the bytes of a shard's pictures, by their mean."""
        facts = self.shards[lines.shard]
        return facts.bytes // max(1, facts.rows)


def _page(shards: Finished, page: FirstPage, split: str) -> Batch:
    """Return where the rows of a split's first page are."""
    ids = page.ids(split)
    numbers: dict[tuple[Path, str], int] = {}
    for shard in dict.fromkeys(shard for shard, _ in page.of[split]):
        for number, row in enumerate(agfd30k.read_rows(shard)):
            if row["id"] in ids:
                numbers[shard, row["id"]] = number
    there = ((shard, numbers[shard, id]) for shard, id in page.of[split] if (shard, id) in numbers)
    return tuple(Lines(shard, shards[shard].sha256, np.array([number], np.uint32)) for shard, number in there)


def _shared(rows: int) -> int:
    """Return how many rows a file has where FILES workers share them."""
    return max(1, -(-rows // max(1, min(parquet.FILES, rows // parquet.ROWS_A_FILE))))


def _largest(group: int, size: int) -> int:
    """Return how many rows a file of FILE_BYTES has, in whole row groups, where a row has `size` bytes."""
    return group * max(1, -(-parquet.FILE_BYTES // max(1, size * group)))


def numbered(split: str, number: int, count: int) -> str:
    """Return the name of one of some files.

    >>> numbered("train", 0, 8)
    'train-00000-of-00008.parquet'
    """
    return f"{split}-{number:05d}-of-{count:05d}.parquet"


def _numbered(
    place: str, split: str, kind: Kind, parts: Sequence[tuple[Batch, ...]], group: int, size: int
) -> Iterator[OutputFile]:
    """Yield a file for each part, with its number."""
    for number, part in enumerate(parts):
        yield OutputFile(place, numbered(split, number, len(parts)), split, kind, part, group, _rows(part) * size)


def _cut(batches: Iterable[Batch], most: int) -> Iterator[tuple[Batch, ...]]:
    """Divide batches, in their order, into parts of `most` rows; the last one may have fewer."""
    part: list[Batch] = []
    left = most
    for batch in batches:
        rest: list[Lines] = []
        for lines in batch:
            while len(lines) > left:
                rest.append(Lines(lines.shard, lines.digest, lines.numbers[:left]))
                lines = Lines(lines.shard, lines.digest, lines.numbers[left:])
                yield tuple(filter(None, (*part, tuple(filter(len, rest)))))
                part, rest, left = [], [], most
            rest.append(lines)
            left -= len(lines)
        part.append(tuple(rest))
    if part:
        yield tuple(part)


def _rows(batches: Iterable[Batch]) -> int:
    return sum(len(lines) for batch in batches for lines in batch)
