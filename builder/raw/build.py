"""What a raw folder was asked for, what of it is finished, and whether duplicates were looked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import agfd30k
from builder.common.errors import UserError
from builder.common.files import atomic
from builder.plan.plan import Plan, Shard
from builder.raw.layout import ASKED, ROWS, SEARCHED, SHARDS
from builder.raw.receipts import Damaged, is_done, receipt
from builder.raw.recipe import _recipe_lock, require
from builder.spec.spec import spec_of


def note_asked(raw: Path, plan: Plan) -> None:
    """Remember what the latest run was asked to make."""
    with _recipe_lock(raw), atomic(raw / ASKED) as file:
        file.write(json.dumps({"only": list(plan.only), "scale": plan.scale, "limit": plan.limit}).encode())


def unfinished(raw: Path) -> list[str]:
    """Shards that the latest run was asked for and that are not done. Raises UserError where there is no build."""
    recipe = require(raw)
    try:
        asked = json.loads((raw / ASKED).read_text(encoding="utf-8")) if (raw / ASKED).exists() else {}
        plan = Plan(spec_of(recipe), shard_size=recipe["settings"]["shard_size"], **asked)
    except (TypeError, ValueError):
        raise UserError(f"{raw / ASKED}: damaged; remove it, or run the builder again") from None
    return [shard.name for shard in plan.shards if not is_done(raw / SHARDS / shard.name, plan.ids(shard))]


def finished(raw: Path) -> dict[Path, str]:
    """Every shard folder that has its receipt, in the order of `agfd30k.shards`, and the digest of its rows.

    Raises Damaged for one that was made by another recipe.
    """
    fingerprint = require(raw)["fingerprint"]
    receipts = {folder: receipt(folder) for folder in agfd30k.shards(raw)}
    done = {folder: facts for folder, facts in receipts.items() if facts is not None}
    for folder, facts in done.items():
        if facts["fingerprint"] != fingerprint:
            raise Damaged(f"{folder}: was made by another recipe", folder)
    return {folder: facts["sha256"] for folder, facts in done.items()}


def digest(shards: dict[Path, str]) -> str:
    """One digest of all that some finished shards hold."""
    lines = "".join(f"{folder.name} {rows}\n" for folder, rows in shards.items())
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def note_searched(raw: Path, shards: dict[Path, str]) -> None:
    """Remember that no two pictures of these shards, which are all there are, show the same."""
    with atomic(raw / SEARCHED) as file:
        file.write(json.dumps({"rows": digest(shards)}).encode())


def is_searched(raw: Path, criteria: Any, shards: dict[Path, str]) -> bool:
    """True when duplicates were looked for in these very shards, or the table's `criteria` ask for no such search."""
    try:
        return criteria is None or json.loads((raw / SEARCHED).read_text(encoding="utf-8"))["rows"] == digest(shards)
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return False


class RowCount:
    """Committed lines of a raw folder, counted from the files; only what was appended since is read again."""

    def __init__(self, raw: Path, name: str = ROWS):
        self.raw = raw
        self.name = name
        self.seen: dict[Path, tuple[int, int, int]] = {}

    def __call__(self, shards: Iterable[Shard]) -> int:
        """Lines in the given shards."""
        return sum(self._rows(self.raw / SHARDS / shard.name / self.name) for shard in shards)

    def _rows(self, path: Path) -> int:
        try:
            now = path.stat()
        except FileNotFoundError:
            return 0
        inode, offset, rows = self.seen.get(path, (now.st_ino, 0, 0))
        if inode != now.st_ino or now.st_size < offset:  # a finished shard's rows were put into order
            offset, rows = 0, 0
        if now.st_size > offset:
            with open(path, "rb") as file:
                file.seek(offset)
                new = file.read(now.st_size - offset)
            offset, rows = offset + new.rfind(b"\n") + 1, rows + new.count(b"\n")
        self.seen[path] = (now.st_ino, offset, rows)
        return rows
