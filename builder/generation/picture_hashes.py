"""The hashes of all finished pictures, in some twenty bytes for each, and what else is known of a few of them.

Reading the lines of shards is most of the work, and shards are read as tasks, so that a large build uses all cores. A
shard of twins is read together with the one whose twins it holds: only there are the tries that they follow from.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from builder.engine.engine import Engine
from builder.engine.here import Here
from builder.plan.plan import Plan, Shard
from builder.raw.build import Finished, RawBuild
from builder.raw.layout import ROWS
from builder.raw.receipts import Damaged, receipt, reopened, require_sound
from builder.spec.field_types import TWIN

MOST = 2**31
"""More than any try's number."""
ROW = 0.15e-3
"""Seconds in which a row is read, to choose how many processes."""
OWN, OTHER, STALE = range(3)


class Picture(NamedTuple):
    """A picture: its shard, its id, its try, its file's digest, and the id of what it is the twin of."""

    shard: Shard
    id: str
    attempt: int
    digest: str
    twin_of: str | None

    @classmethod
    def of(cls, shard: Shard, row: dict[str, Any]) -> Picture:
        """Return the picture of a row."""
        return cls(shard, row["id"], row["attempt"], row["sha256"], row.get("twin_of"))


@dataclass(frozen=True)
class ShardHashes:
    """What is kept of a shard's n rows: `hashes` uint64, `cells` uint32, and `kinds` uint8: OWN for those that the plan
    makes, OTHER for another run's, STALE for twins of which the picture that they are the twins of was made again since
    or was given up, which are in `stale` too. `originals`, int64, has the rows of these pictures, -1 for none.
    """

    shard: Shard
    hashes: np.ndarray
    cells: np.ndarray
    kinds: np.ndarray
    originals: np.ndarray
    stale: tuple[Picture, ...]


@dataclass(frozen=True)
class Reader:
    """Reads shards of a build; `plan` is what its latest run was asked for."""

    raw: RawBuild
    plan: Plan

    def __call__(self, names: tuple[str, ...]) -> list[ShardHashes]:
        """Read a shard, that of its twins, or both in this order. Raises Damaged for one that is not sound."""
        found: list[ShardHashes] = []
        before: dict[str, tuple[int, int]] = {}
        for name in names:
            shard = self.raw.shards[name]
            rows = self.raw.sound_lines(self.raw.shard_folder(shard)).made
            found.append(self._hashes(shard, rows, before if shard.of else {}))
            before = {row["id"]: (number, row["attempt"]) for number, row in enumerate(rows)}
        return found

    def _hashes(self, shard: Shard, rows: list[dict[str, Any]], originals: dict[str, tuple[int, int]]) -> ShardHashes:
        """Return what is kept of rows; `originals` are those of the shard they are the twins of: number and try."""
        hashes, own_ids = np.zeros(len(rows), np.uint64), set(self.plan.ids(shard))
        cells, kinds = np.zeros(len(rows), np.uint32), np.zeros(len(rows), np.uint8)
        of, stale = np.full(len(rows), -1), []
        for number, row in enumerate(rows):
            if row["checks"]["hash"] is None:
                folder = self.raw.shard_folder(shard)
                raise Damaged(f"{folder}: {row['id']} has no hash, by which duplicates are found", folder)
            hashes[number] = int(row["checks"]["hash"], 16)
            cells[number] = self._cells[row["feature"], row["sex"]]
            of[number], first_try = originals.get(row.get("twin_of") or "", (-1, MOST))
            kinds[number] = OWN if row["id"] in own_ids else OTHER
            if shard.of and kinds[number] == OWN and row["attempt"] < first_try:
                kinds[number] = STALE
                stale.append(Picture.of(shard, row))
        return ShardHashes(shard, hashes, cells, kinds, of, tuple(stale))

    @cached_property
    def _cells(self) -> dict[tuple[str, str], int]:
        """A number for every feature and sex."""
        names = [(cell.feature.name, cell.sex) for cell in self.raw.plan.cells]
        return {name: number for number, name in enumerate(dict.fromkeys([*names, *((TWIN, sex) for _, sex in names)]))}

    def __reduce__(self) -> tuple[Callable[..., Reader], tuple[Any, ...]]:
        """Another process opens the build once, for all shards that it reads."""
        plan = self.plan
        return _reader, (self.raw.folder, tuple(plan.only), plan.scale, plan.limit, plan.shard_size, plan.twins)


@cache
def _reader(folder: Path, only: tuple[str, ...], *choice: Any) -> Reader:
    raw = RawBuild.open(folder)
    return Reader(raw, Plan(raw.spec, only, *choice))


@dataclass(frozen=True)
class PictureHashes:
    """The finished pictures, another run's first, which the plan does not make: these are `settled`.

    `hashes` is uint64 (n,), `cells` uint32 (n,), `twin_of` int (n,) or None where there are no twins: the places of the
    pictures that twins are the twins of, -1 for others. Twins of what was made again since are in `stale` instead.
    `rows` has the number of a picture's row, counted over all shards, whose folders are `folders` and whose first rows
    have the numbers `starts`; None where that is its place.
    """

    raw: RawBuild
    finished: Finished
    folders: list[Path]
    starts: np.ndarray
    hashes: np.ndarray
    cells: np.ndarray
    twin_of: np.ndarray | None
    rows: np.ndarray | None
    settled: int
    stale: list[Picture]

    @classmethod
    def of(cls, raw: RawBuild, plan: Plan, finished: Finished, engine: Engine | None = None) -> PictureHashes:
        """Read them all. Raises Damaged for a shard that is not sound."""
        planned = [path for path in map(raw.shard_folder, plan.shards) if path in finished]
        folders = list(dict.fromkeys([*planned, *finished]))
        starts = np.cumsum([0, *(finished[path].rows for path in folders)])
        engine = engine or Here.sized(ROW * int(starts[-1]))
        first_rows = {path.name: start for path, start in zip(folders, starts.tolist())}
        table = _Table(first_rows, int(starts[-1]), any(raw.shards[path.name].of for path in folders))
        for found in engine.map(Reader(raw, plan), _tasks(raw, folders)):
            for hashes in found:
                _require_same(finished, raw.shard_folder(hashes.shard), len(hashes.hashes))
                table.add(hashes)
        table.require_whole()
        rows = table.order()
        stale = [picture for path in folders for picture in table.stale.get(path.name, ())]
        columns = table.hashes, table.cells, table.twin_of
        return cls(raw, finished, folders, starts, *columns, rows, table.settled, stale)

    def read(self, places: Iterable[int]) -> dict[int, Picture]:
        """Read a few pictures again, by place. Raises Reopened where a shard has changed since."""
        by_folder: dict[Path, dict[int, int]] = defaultdict(dict)
        for place in places:
            row = place if self.rows is None else int(self.rows[place])
            number = int(np.searchsorted(self.starts, row, side="right")) - 1
            by_folder[self.folders[number]][row - int(self.starts[number])] = place
        found = {}
        for folder, wanted in by_folder.items():
            if require_sound(folder).digest != self.finished[folder].digest:
                raise reopened(folder)
            shard = self.raw.shards[folder.name]
            lines = (folder / ROWS).read_bytes().split(b"\n")
            found.update({place: Picture.of(shard, json.loads(lines[number])) for number, place in wanted.items()})
        return found


def _require_same(finished: Finished, folder: Path, rows: int) -> None:
    """Raise Damaged where a shard has not the rows that its receipt says; Reopened where it has another receipt now."""
    if rows == finished[folder].rows:
        return
    facts = receipt(folder)
    if facts is None or facts.digest != finished[folder].digest:
        raise reopened(folder)
    raise Damaged(f"{folder}: its receipt says {finished[folder].rows} rows, there are {rows}", folder)


def _tasks(raw: RawBuild, folders: list[Path]) -> list[tuple[str, ...]]:
    """Return the names of shards, each together with that of its twins where both are there."""
    tasks: dict[str, list[str]] = {}
    for shard in (raw.shards[path.name] for path in folders):
        names = tasks.setdefault((shard.of or shard).name, [])
        names.insert(len(names) if shard.of else 0, shard.name)
    return list(map(tuple, tasks.values()))


class _Table:
    """Columns of n rows, filled shard by shard in any order; `first_rows` says where each shard's begin."""

    def __init__(self, first_rows: dict[str, int], count: int, has_twins: bool):
        self.first_rows = first_rows
        self.missing = {*first_rows}
        self.hashes = np.zeros(count, np.uint64)
        self.cells = np.zeros(count, np.uint32)
        self.kinds = np.zeros(count, np.uint8)
        self.twin_of = np.full(count, -1, np.int32 if count < MOST else np.int64) if has_twins else None
        self.stale: dict[str, tuple[Picture, ...]] = {}
        self.settled = 0

    def add(self, found: ShardHashes) -> None:
        """Fill in a shard."""
        self.missing.discard(found.shard.name)
        start = self.first_rows[found.shard.name]
        own = slice(start, start + len(found.hashes))
        self.hashes[own], self.cells[own], self.kinds[own] = found.hashes, found.cells, found.kinds
        if found.stale:
            self.stale[found.shard.name] = found.stale
        if self.twin_of is not None and found.shard.of and (found.originals >= 0).any():
            first = self.first_rows[found.shard.of.name]
            self.twin_of[own] = np.where(found.originals < 0, -1, first + found.originals)

    def require_whole(self) -> None:
        """Raise RuntimeError where a shard was not filled in: its rows would all look like one picture."""
        if self.missing:
            raise RuntimeError(f"{min(self.missing)}: the engine gave no result")

    def order(self) -> np.ndarray | None:
        """Move another run's rows to the front and drop stale ones; returns the numbers of the rows that stay.

        None where all stay where they are.
        """
        self.settled = int(np.count_nonzero(self.kinds == OTHER))
        if not self.kinds.any():
            return None
        rows = np.concatenate([np.flatnonzero(self.kinds == kind) for kind in (OTHER, OWN)])
        self.hashes, self.cells = self.hashes[rows], self.cells[rows]
        if self.twin_of is not None:
            places = np.full(len(self.kinds), -1, self.twin_of.dtype)
            places[rows] = np.arange(len(rows))
            twin_of = self.twin_of[rows]
            self.twin_of = np.where(twin_of < 0, twin_of, places[twin_of])
        return rows
