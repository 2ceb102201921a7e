"""Pictures that are another one again go back: their tries count as rejected, and the next try gets a new seed.

They are looked for once everything asked for is there, over the whole folder. What goes is written down before the
first one goes, so that what stays depends neither on the number of processes nor on batches, and not on when a run was
killed.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from agfd30k import read_rows
from builder.checks.duplicates import numbers, twins
from builder.common.errors import UserError
from builder.common.files import atomic, sync_folder
from builder.plan.plan import Plan, Shard
from builder.raw.build import Finished, RawBuild
from builder.raw.layout import SEARCHED
from builder.raw.receipts import require_sound
from builder.raw.rows import rejection
from builder.spec.criteria import Duplicates

DECIDED = "duplicates.json"
"""While duplicates are taken back: which, by shard. Whoever finds it finishes the work."""
PATIENCE = 10
"""Seconds to wait for the lock of a shard: who has just written its receipt lets it go a moment later."""


def take_back(raw: RawBuild, plan: Plan) -> int | None:
    """Take back every duplicate among the pictures of a finished plan; returns how many there were.

    None where the plan is not finished: another process is making pictures, and will look by itself. A crash at any
    moment leaves each picture either as it was or taken back, and the next run, see `resume`, goes on with the rest.
    Nothing is done where the table has no check for duplicates, or they were looked for since the last picture was
    made. Memory: some 400 bytes a picture.
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
            if not (decided := _decide(raw, plan, finished, criteria)):
                raw.note_searched(finished)
                return 0
            with atomic(raw.folder / DECIDED) as file:
                file.write(json.dumps(decided).encode())
            sync_folder(raw.folder)
        return _carry_out(raw, plan)


def resume(raw: RawBuild, plan: Plan) -> None:
    """Finish what a killed process has left half done; to be called before anything is made."""
    with raw.lock():
        for name in (DECIDED, SEARCHED):
            for torn in raw.folder.glob(f".{name}.*.tmp"):
                torn.unlink(missing_ok=True)
        _carry_out(raw, plan)


class _Picture(NamedTuple):
    """What is known of a picture that may be a duplicate; `shard` is None where the plan does not make it."""

    shard: Shard | None
    id: str
    attempt: int
    digest: str
    hash: str
    cell: int


def _decide(raw: RawBuild, plan: Plan, finished: Finished, criteria: Duplicates) -> list[dict[str, Any]]:
    """Return the duplicates among a finished plan's pictures, by shard: for each id its attempt, a reason and a detail.

    They are compared with all that is there; what this plan would not make again, another run's pictures, stays.
    """
    pictures, settled = _pictures(raw, plan, finished)
    cells = np.array([picture.cell for picture in pictures], dtype=np.int64)
    hashes = numbers([picture.hash for picture in pictures])
    by_shard: dict[Shard, dict[str, tuple[int, str, str]]] = {}
    for twin in twins(hashes, cells, criteria, settled):
        own, other = pictures[twin.place], pictures[twin.of]
        if own.id == other.id:
            raise UserError(f"{own.id}: stands twice in {raw.folder}; `agfd30k verify {raw.folder}` says where")
        if own.shard is None:
            raise ValueError(f"{own.id}: another run's picture stays, whatever it shows")
        reason = "duplicate" if own.digest == other.digest else "near duplicate"
        detail = f"of {other.id}, {twin.distance} bits of 64"
        by_shard.setdefault(own.shard, {})[own.id] = (own.attempt, reason, detail)
    return [{"shard": asdict(shard), "losers": losers} for shard, losers in by_shard.items()]


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
        require_sound(path)
        for row in read_rows(path):
            cell = cells.setdefault((row["feature"], row["sex"]), len(cells))
            mine = row["id"] in own_ids
            picture = _Picture(
                shard if mine else None, row["id"], row["attempt"], row["sha256"], row["checks"]["hash"], cell
            )
            (own if mine else others).append(picture)
    return others + own, len(others)


def _carry_out(raw: RawBuild, plan: Plan) -> int:
    """Take back what was decided, if there is anything; returns how many pictures that was."""
    path = raw.folder / DECIDED
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
        decided = [(Shard(**each["shard"]), dict(each["losers"])) for each in notes]
    except FileNotFoundError:
        return 0
    except (LookupError, TypeError, ValueError):
        raise UserError(f"{path}: damaged; remove it, and duplicates are looked for again") from None
    for shard, losers in decided:
        _take_back(raw, plan, shard, losers)
    path.unlink()
    sync_folder(raw.folder)
    return sum(len(losers) for _, losers in decided)


def _take_back(raw: RawBuild, plan: Plan, shard: Shard, losers: dict[str, list[Any]]) -> None:
    """Take back some pictures of one shard, by id with (attempt, reason, detail); those already gone stay gone."""
    with raw.writer(plan, shard, PATIENCE) as writer:
        gone = []
        for row in writer.rows:
            attempt, reason, detail = losers.get(row["id"], (None, "", ""))
            if row["attempt"] == attempt:
                gone.append(rejection(plan.attempt(writer.whole[row["id"]], attempt), reason, detail, row["checks"]))
        writer.take_back(gone)
