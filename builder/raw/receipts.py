"""A shard's receipt: that it is done, of what, and that its rows are still those it was written for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from builder.common.errors import UserError
from builder.common.files import sha256
from builder.raw.layout import RECEIPT, REJECTED, ROWS

KEYS = {"asked", "unfilled", "sha256", "rejections", "fingerprint", "versions"}


class Damaged(UserError):
    """A shard's files contradict each other or the plan."""

    def __init__(self, fault: str, folder: Path):
        self.fault = fault
        super().__init__(f"{fault}; `agfd30k verify {folder.parent.parent}` lists every fault, --repair mends")


class Reopened(Damaged):
    """A finished shard to which another process has just begun to add pictures."""


def receipt(folder: Path) -> dict[str, Any] | None:
    """Return a shard's receipt, or None while it has none."""
    try:
        facts = json.loads((folder / RECEIPT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        facts = None
    if not isinstance(facts, dict) or not set(facts) >= KEYS:
        raise Damaged(f"{folder / RECEIPT}: not a receipt", folder)
    return facts


def require_sound(folder: Path) -> dict[str, Any]:
    """Return a finished shard's receipt. Raises Damaged where the rows are not those that it was written for.

    That is Reopened where it is finished no more.
    """
    facts = receipt(folder)
    if facts is None:
        raise Reopened(f"{folder}: another process is writing here; wait for it, then run again", folder)
    try:
        expected = facts["sha256"], facts["rejections"]
        actual = sha256(folder / ROWS), sha256(folder / REJECTED)
    except OSError as error:
        raise Damaged(f"{error.filename}: {error.strerror}", folder) from None
    for name, one, other in zip((ROWS, REJECTED), expected, actual):
        if one != other:
            raise Damaged(f"{folder / name}: not what the receipt was written for", folder)
    return facts


def is_done(folder: Path, ids: Iterable[str]) -> bool:
    """Return True when everything asked for is accounted for, as a picture or as unfilled."""
    asked = set(ids)
    facts = receipt(folder) if asked else None
    return not asked or (facts is not None and asked.issubset(facts["asked"]))
