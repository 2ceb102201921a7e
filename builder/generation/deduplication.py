"""Pictures that are another one again go back: their tries count as rejected, and the next try gets a new seed.

They are looked for once everything asked for is there, over the whole folder. What goes is written down before the
first one goes, so that what stays depends neither on the number of processes nor on batches, and not on when a run was
killed.
"""

from __future__ import annotations

import sys

from builder.checks.duplicates import copies
from builder.common.files import sync_folder
from builder.engine.engine import Engine
from builder.generation.picture_hashes import Picture, PictureHashes
from builder.plan.plan import Plan, Shard
from builder.raw import notes
from builder.raw.build import Finished, RawBuild
from builder.raw.layout import DECIDED, SEARCHED
from builder.raw.notes import Loser
from builder.raw.rejected_pictures import RejectedPictures
from builder.raw.rows import DUPLICATE, NEAR_DUPLICATE, NO_TWIN, rejection
from builder.spec.criteria import Duplicates

Losers = dict[str, dict[str, dict[str, object]]]
PATIENCE = 10
"""Seconds to wait for the lock of a shard: who has just written its receipt lets it go a moment later."""


def take_back(
    raw: RawBuild, plan: Plan, rejects: RejectedPictures | None = None, engine: Engine | None = None
) -> int | None:
    """Take back every duplicate among the pictures of a finished plan; returns how many there were.

    None where the plan is not finished: another process is making pictures, and will look by itself. A crash at any
    moment leaves each picture either as it was or taken back, and the next run, see `resume`, goes on with the rest.
    Nothing is done where the table has no check for duplicates, or they were looked for since the last picture was
    made. A few of the pictures go to `rejects`. Shards are read by `engine`, on all cores of this machine where it is
    None and there are many; of each picture some twenty bytes are kept.
    """
    criteria = plan.spec.checks.duplicates
    if criteria is None:
        return 0
    with raw.lock():
        if not (raw.folder / DECIDED).exists():
            if not all(raw.is_done(plan, shard) for shard in plan.shards):
                return None
            finished = raw.finished()
            raw.require_done(finished, plan)  # another process may have opened one again meanwhile
            if raw.is_searched(finished, plan.twins):
                return 0
            if not (losers := decide(raw, plan, finished, criteria, engine)):
                raw.note_searched(finished, plan.twins)
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


def decide(raw: RawBuild, plan: Plan, finished: Finished, criteria: Duplicates, engine: Engine | None = None) -> Losers:
    """Return the duplicates among a finished plan's pictures, by shard and id, as `notes.Decided` holds them.

    They are compared with all that is there; what this plan would not make again, another run's pictures, stays.
    """
    pictures = PictureHashes.of(raw, plan, finished, engine)
    losers: Losers = {}
    for stale in pictures.stale:
        _add(losers, stale, NO_TWIN, f"{stale.twin_of} was taken back")
    found = copies(pictures.hashes, pictures.cells, criteria, pictures.settled, pictures.twin_of, _say)
    known = pictures.read({place for copy in found for place in (copy.place, copy.of)})
    for copy in found:
        own, other = known[copy.place], known[copy.of]
        reason = DUPLICATE if own.digest == other.digest else NEAR_DUPLICATE
        _add(losers, own, reason, f"of {other.id}, {copy.distance} bits of 64")
    return losers


def _add(losers: Losers, own: Picture, reason: str, detail: str) -> None:
    """Note that a picture goes back, and why."""
    loser = Loser(attempt=own.attempt, reason=reason, detail=detail)
    losers.setdefault(own.shard.name, {})[own.id] = loser.model_dump()


def _say(line: str) -> None:
    print(f"duplicates: {line}", file=sys.stderr, flush=True)


def _carry_out(raw: RawBuild, plan: Plan, rejects: RejectedPictures | None) -> int:
    """Take back what was decided, if there is anything; returns how many pictures that was."""
    decided = raw.decided
    if decided is None:
        return 0
    for name, losers in decided.losers.items():
        take_back_of(raw, plan, raw.shards[name], losers, rejects)
    (raw.folder / DECIDED).unlink()
    sync_folder(raw.folder)
    return sum(len(losers) for losers in decided.losers.values())


def take_back_of(
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
