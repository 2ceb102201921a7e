"""Pictures that are another one again go back: their tries count as rejected, and the next try gets a new seed.

They are looked for once everything asked for is there, over the whole folder. What goes is written down before the
first one goes, so that what stays depends neither on the number of processes nor on batches, and not on when a run was
killed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from builder.checks.duplicates import copies, numbers
from builder.common.files import sync_folder
from builder.plan.plan import Plan, Shard
from builder.raw import notes
from builder.raw.build import Finished, RawBuild
from builder.raw.layout import DECIDED, SEARCHED
from builder.raw.notes import Loser
from builder.raw.receipts import Damaged
from builder.raw.rejected_pictures import RejectedPictures
from builder.raw.rows import DUPLICATE, NEAR_DUPLICATE, NO_TWIN, rejection
from builder.spec.criteria import Duplicates

MOST = 2**31
"""More than any try's number."""
PATIENCE = 10
"""Seconds to wait for the lock of a shard: who has just written its receipt lets it go a moment later."""


def take_back(raw: RawBuild, plan: Plan, rejects: RejectedPictures | None = None) -> int | None:
    """Take back every duplicate among the pictures of a finished plan; returns how many there were.

    None where the plan is not finished: another process is making pictures, and will look by itself. A crash at any
    moment leaves each picture either as it was or taken back, and the next run, see `resume`, goes on with the rest.
    Nothing is done where the table has no check for duplicates, or they were looked for since the last picture was
    made. A few of the pictures go to `rejects`. Memory: some 400 bytes a picture.
    """
    criteria = plan.spec.checks.duplicates
    if criteria is None:
        return 0
    with raw.lock():
        if not (raw.folder / DECIDED).exists():
            if not all(raw.is_done(plan, shard) for shard in plan.shards):
                return None
            finished = raw.finished()
            if raw.is_searched(finished):
                return 0
            if not (losers := _decide(raw, plan, finished, criteria)):
                raw.note_searched(finished)
                return 0
            notes.write(raw.folder / DECIDED, losers=losers)
            sync_folder(raw.folder)
        return _carry_out(raw, plan, rejects)


def resume(raw: RawBuild, plan: Plan, rejects: RejectedPictures | None = None) -> None:
    """Finish what a killed process has left half done; to be called before anything is made."""
    with raw.lock():
        for name in (DECIDED, SEARCHED):
            for torn in raw.folder.glob(f".{name}.*.tmp"):
                torn.unlink(missing_ok=True)
        _carry_out(raw, plan, rejects)


class _Picture(NamedTuple):
    """What is known of a picture that may be a duplicate; `shard` is None where the plan does not make it."""

    shard: Shard | None
    id: str
    attempt: int
    digest: str
    hash: str
    cell: int
    twin_of: str | None


def _decide(
    raw: RawBuild, plan: Plan, finished: Finished, criteria: Duplicates
) -> dict[str, dict[str, dict[str, object]]]:
    """Return the duplicates among a finished plan's pictures, by shard and id, as `notes.Decided` holds them.

    They are compared with all that is there; what this plan would not make again, another run's pictures, stays.
    """
    pictures, settled = _pictures(raw, plan, finished)
    by_shard: dict[str, dict[str, dict[str, object]]] = {}
    stale = _stale(pictures)
    for place in stale:
        _add(by_shard, pictures[place], NO_TWIN, f"{pictures[place].twin_of} was taken back")
    pictures = [picture for place, picture in enumerate(pictures) if place not in stale]
    cells = np.array([picture.cell for picture in pictures], dtype=np.int64)
    hashes = numbers([picture.hash for picture in pictures])
    for copy in copies(hashes, cells, criteria, settled, _twins(pictures)):
        own, other = pictures[copy.place], pictures[copy.of]
        reason = DUPLICATE if own.digest == other.digest else NEAR_DUPLICATE
        _add(by_shard, own, reason, f"of {other.id}, {copy.distance} bits of 64")
    return by_shard


def _twins(pictures: list[_Picture]) -> dict[int, int]:
    """Return the places of twins, each with that of the picture whose twin it is."""
    places = {picture.id: place for place, picture in enumerate(pictures)}
    twins = ((place, places.get(picture.twin_of or "")) for place, picture in enumerate(pictures))
    return {place: original for place, original in twins if original is not None}


def _stale(pictures: list[_Picture]) -> set[int]:
    """Return the places of this plan's twins of which the picture that they are the twins of was made again since, with
    a later seed, or was given up.
    """
    attempts = {picture.id: picture.attempt for picture in pictures}
    own = ((place, picture) for place, picture in enumerate(pictures) if picture.shard and picture.twin_of)
    return {place for place, picture in own if picture.attempt < attempts.get(picture.twin_of or "", MOST)}


def _add(by_shard: dict[str, dict[str, dict[str, object]]], own: _Picture, reason: str, detail: str) -> None:
    """Note that a picture goes back, and why."""
    if own.shard is None:
        raise ValueError(f"{own.id}: another run's picture stays, whatever it shows")
    loser = Loser(attempt=own.attempt, reason=reason, detail=detail)
    by_shard.setdefault(own.shard.name, {})[own.id] = loser.model_dump()


def _pictures(raw: RawBuild, plan: Plan, finished: Finished) -> tuple[list[_Picture], int]:
    """Return every finished picture, those first that the plan does not make; and how many these are."""
    planned = {raw.shard_folder(shard): shard for shard in plan.shards}
    cells: dict[tuple[str, str], int] = {}
    own: list[_Picture] = []
    others: list[_Picture] = []
    strangers = [path for path in finished if path not in planned]
    for path in [*(path for path in planned if path in finished), *strangers]:
        shard = planned.get(path)
        own_ids = set(plan.ids(shard)) if shard else ()
        for row in raw.sound_lines(path).made:
            if row["checks"]["hash"] is None:
                raise Damaged(f"{path}: {row['id']} has no hash, by which duplicates are found", path)
            cell = cells.setdefault((row["feature"], row["sex"]), len(cells))
            mine = row["id"] in own_ids
            picture = _Picture(
                *(shard if mine else None, row["id"], row["attempt"], row["sha256"], row["checks"]["hash"], cell),
                twin_of=row.get("twin_of"),
            )
            (own if mine else others).append(picture)
    return others + own, len(others)


def _carry_out(raw: RawBuild, plan: Plan, rejects: RejectedPictures | None) -> int:
    """Take back what was decided, if there is anything; returns how many pictures that was."""
    decided = raw.decided
    if decided is None:
        return 0
    for name, losers in decided.losers.items():
        _take_back(raw, plan, raw.shards[name], losers, rejects)
    (raw.folder / DECIDED).unlink()
    sync_folder(raw.folder)
    return sum(len(losers) for losers in decided.losers.values())


def _take_back(
    raw: RawBuild, plan: Plan, shard: Shard, losers: dict[str, Loser], rejects: RejectedPictures | None
) -> None:
    """Take back some pictures of one shard, by id; those already gone stay gone."""
    with raw.writer(plan, shard, PATIENCE) as writer:
        gone = []
        for row in writer.rows:
            loser = losers.get(row["id"])
            if loser and row["attempt"] == loser.attempt:
                attempt = plan.attempt(writer.rules.whole[row["id"]], loser.attempt)
                gone.append(rejection(attempt, loser.reason, loser.detail, row["checks"]))
                if rejects:
                    name, path = writer.rules.rejected_name(row["id"], loser.attempt), writer.folder / row["file_name"]
                    rejects.keep(loser.reason, name, path.read_bytes)
        writer.take_back(gone)
