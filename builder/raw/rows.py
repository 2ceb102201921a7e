"""The lines of a shard: what a row and a rejected try hold, and what can be wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from agfd30k import CHECKS, features, picture
from builder.plan.plan import Plan
from builder.plan.sample import Attempt, Sample

PLANNED = [
    *["id", "attribute", "feature", "sex", "ethnicity", "age", "age_group", "phrase", "split"],
    *["prompt", "negative_prompt", "guidance_scale", "attempt", "seed"],
]
MADE = ["model", "model_revision", "safety_checker", "verified", "checks", "sha256"]
KEYS = ["file_name", *PLANNED, *MADE]
REJECTED_KEYS = ["id", "attempt", "seed", "reason", "detail", "checks"]
COLUMNS = {field.name: field.type for field in features(config="metadata").arrow_schema if field.name in MADE}
"""The types of what the plan does not say, as they are released."""


def planned(attempt: Attempt) -> dict[str, Any]:
    """Return the part of a row that follows from the table alone."""
    values = {**vars(attempt.sample), "attempt": attempt.number, "seed": attempt.seed}
    return {key: values[key] for key in PLANNED}


def rejection(attempt: Attempt, reason: str, detail: str = "", checks: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the line of rejected.jsonl for a try that is not kept."""
    return dict(zip(REJECTED_KEYS, (attempt.sample.id, attempt.number, attempt.seed, reason, detail, checks)))


def row_fault(row: Any, whole: dict[str, Sample], plan: Plan, made_by: dict[str, str]) -> str | None:
    """Return what a committed row says that the plan and the recipe do not, or None."""
    if row is None:
        return "not a row"
    if not isinstance(row, dict) or list(row) != KEYS:
        return "the row does not have the keys of a row"
    if fault := _try_fault(row, whole):
        return fault
    right = {**planned(plan.attempt(whole[row["id"]], row["attempt"])), **made_by}
    for key, value in right.items():
        if row[key] != value:
            return f"{row['id']}: `{key}` is {row[key]!r}, the plan says {value!r}"
    if not isinstance(row["checks"], dict) or list(row["checks"]) != list(CHECKS):
        return f"{row['id']}: `checks` does not have its keys"
    for key, column in COLUMNS.items():
        try:
            pa.array([row[key]], type=column)
        except (pa.ArrowException, OverflowError):
            return f"{row['id']}: `{key}` is {row[key]!r}, which its column cannot hold"
    return None


def rejection_fault(row: Any, whole: dict[str, Sample]) -> str | None:
    """Return what is wrong with a line of rejected.jsonl, or None."""
    if not isinstance(row, dict) or list(row) != REJECTED_KEYS:
        return "not a rejected try"
    if fault := _try_fault(row, whole):
        return fault
    return None if isinstance(row["reason"], str) else f"{row['id']}: `reason` is {row['reason']!r}"


def _try_fault(row: dict[str, Any], whole: dict[str, Sample]) -> str | None:
    """Return what is wrong with which try of which sample it is, or None."""
    if not isinstance(row["id"], str) or row["id"] not in whole:
        return f"{row['id']!r} does not belong to this shard"
    if not isinstance(row["attempt"], int) or row["attempt"] < 0:
        return f"{row['id']}: `attempt` is {row['attempt']!r}"
    return None


def picture_fault(folder: Path, row: dict[str, Any]) -> str | None:
    """Return what is wrong with where a row's picture should be, or None."""
    try:
        return None if picture(folder, row).is_file() else f"{row['id']}: its picture {row['file_name']} is not there"
    except (ValueError, TypeError) as error:
        return str(error)
