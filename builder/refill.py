"""Pictures that are another one again go back: their tries count as rejected, and the next try gets a new seed.

They are looked for once everything asked for is there, over all of it in plan order. What goes is written down before
the first one goes, so that what stays depends neither on the number of processes nor on batches, and not on when a run
was killed.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from agfd30k import read_rows
from builder import UserError, raw
from builder.checks.duplicates import numbers, twins
from builder.files import atomic, sync_folder
from builder.plan import Plan, Shard
from builder.rows import rejection
from builder.shards import ShardWriter, is_done, require_sound

DECIDED = "duplicates.json"
"""While duplicates are taken back: which, by shard. Whoever finds it finishes the work."""
LOCK = ".release.lock"


def take_back(folder: Path, plan: Plan) -> int | None:
    """Take back every duplicate among the pictures of a finished plan; returns how many there were.

    None where the plan is not finished: another process is making pictures, and will look by itself. A crash at any
    moment leaves each picture either as it was or taken back, and the next run, see `resume`, goes on with the rest.
    Nothing is done where the table has no check for duplicates. Memory: some 200 bytes a picture.
    """
    if plan.spec.checks.duplicates is None:
        return 0
    with FileLock(folder / LOCK):
        if not (folder / DECIDED).exists():
            if not all(is_done(folder / raw.SHARDS / shard.name, plan.ids(shard)) for shard in plan.shards):
                return None
            if decided := _decide(folder, plan):
                with atomic(folder / DECIDED) as file:
                    file.write(json.dumps(decided).encode())
                sync_folder(folder)
        return _carry_out(folder, plan)


def resume(folder: Path, plan: Plan) -> None:
    """Finish what a killed process has left half done; to be called before anything is made."""
    with FileLock(folder / LOCK):
        for torn in folder.glob(f".{DECIDED}.*.tmp"):
            torn.unlink(missing_ok=True)
        _carry_out(folder, plan)


def _decide(folder: Path, plan: Plan) -> list[dict[str, Any]]:
    """The duplicates among a finished plan's pictures, by shard: for each id its attempt, a reason and a detail."""
    cells: dict[tuple[str, str], int] = {}
    rows, hashes = [], []
    for shard in plan.shards:
        wanted, path = set(plan.ids(shard)), folder / raw.SHARDS / shard.name
        require_sound(path)
        for row in read_rows(path):
            if row["id"] in wanted:
                cell = cells.setdefault((row["feature"], row["sex"]), len(cells))
                rows.append((shard, row["id"], row["attempt"], row["sha256"], cell))
                hashes.append(row["checks"]["hash"])
    found = twins(numbers(hashes), np.array([row[-1] for row in rows], dtype=np.int64), plan.spec.checks.duplicates)
    by_shard: dict[Shard, dict[str, tuple[int, str, str]]] = {}
    for twin in found:
        shard, id, attempt, digest, _ = rows[twin.place]
        reason = "duplicate" if digest == rows[twin.of][3] else "near duplicate"
        detail = f"of {rows[twin.of][1]}, {twin.distance} bits of 64"
        by_shard.setdefault(shard, {})[id] = (attempt, reason, detail)
    return [{"shard": asdict(shard), "losers": losers} for shard, losers in by_shard.items()]


def _carry_out(folder: Path, plan: Plan) -> int:
    """Take back what was decided, if there is anything; returns how many pictures that was."""
    try:
        decided = json.loads((folder / DECIDED).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return 0
    except ValueError:
        raise UserError(f"{folder / DECIDED}: damaged; remove it, and duplicates are looked for again") from None
    for each in decided:
        _take_back(folder, plan, Shard(**each["shard"]), each["losers"])
    (folder / DECIDED).unlink()
    sync_folder(folder)
    return sum(len(each["losers"]) for each in decided)


def _take_back(folder: Path, plan: Plan, shard: Shard, losers: dict[str, list]) -> None:
    """Take back some pictures of one shard, by id with (attempt, reason, detail); those already gone stay gone."""
    recipe = raw.require(folder)
    made_by = {"model": recipe["model"]["name"], "model_revision": recipe["model"]["revision"]}
    ending = recipe["settings"]["image_format"]
    with ShardWriter(folder / raw.SHARDS / shard.name, plan.whole(shard), plan, ending, made_by) as writer:
        gone = []
        for row in writer.rows:
            attempt, *why = losers.get(row["id"], (None,))
            if row["attempt"] == attempt:
                gone.append(rejection(plan.attempt(writer.whole[row["id"]], attempt), *why, row["checks"]))
        writer.take_back(gone)
