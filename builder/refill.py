"""Pictures that are another one again go back: their tries count as rejected, and the next try gets a new seed.

They are looked for once everything asked for is there, over all of it in plan order, so that what stays depends
neither on the number of processes nor on batches, and not on when a run was killed.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
from filelock import FileLock

from agfd30k import read_rows
from builder import raw
from builder.checks.duplicates import numbers, twins
from builder.plan import Plan
from builder.shards import ShardWriter, rejection


def take_back(folder: Path, plan: Plan) -> int:
    """Take back every duplicate among the finished pictures of a plan; returns how many there were.

    A crash at any moment leaves each of them either as it was or taken back. Nothing is done where the table has no
    check for duplicates. Memory: some 200 bytes a picture.
    """
    criteria = plan.spec.checks.duplicates
    if criteria is None:
        return 0
    with FileLock(folder / ".release.lock"):
        ids, shards, cells, hashes, digests = [], [], [], [], []
        cell_numbers: dict[tuple[str, str], int] = {}
        for number, shard in enumerate(plan.shards):
            wanted = set(plan.ids(shard))
            for row in read_rows(folder / raw.SHARDS / shard.name):
                if row["id"] in wanted:
                    cells.append(cell_numbers.setdefault((row["feature"], row["sex"]), len(cell_numbers)))
                    ids.append(row["id"])
                    shards.append(number)
                    hashes.append(row["checks"]["hash"])
                    digests.append(row["sha256"])
        found = twins(numbers(hashes), np.array(cells, dtype=np.int64), criteria)
        by_shard: dict[int, dict[str, tuple[str, str]]] = defaultdict(dict)
        for twin in found:
            reason = "duplicate" if digests[twin.place] == digests[twin.of] else "near duplicate"
            by_shard[shards[twin.place]][ids[twin.place]] = (reason, f"of {ids[twin.of]}, {twin.distance} bits of 64")
        for number, losers in by_shard.items():
            _take_back(folder, plan, number, losers)
    return len(found)


def _take_back(folder: Path, plan: Plan, number: int, losers: dict[str, tuple[str, str]]) -> None:
    """Take back some pictures of one shard, by id with reason and detail."""
    shard = plan.shards[number]
    path = folder / raw.SHARDS / shard.name
    first = next(read_rows(path))
    made_by = {key: first[key] for key in ("model", "model_revision")}
    ending = Path(first["file_name"]).suffix[1:]
    with ShardWriter(path, plan.whole(shard), plan, ending, made_by) as writer:
        tries = {row["id"]: plan.attempt(writer.whole[row["id"]], row["attempt"]) for row in writer.rows}
        checks = {row["id"]: row["checks"] for row in writer.rows}
        writer.take_back([rejection(tries[id], *why, checks[id]) for id, why in losers.items()])
