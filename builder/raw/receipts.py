"""A shard's receipt: that it is done, of what, and that its rows are still those it was written for."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from builder.common.documents import Document, Malformed, parse_sealed, sealed
from builder.common.errors import UserError
from builder.common.files import sha256
from builder.raw.layout import RECEIPT, REJECTED, ROWS, is_file, is_whole, misplaced
from builder.raw.rows import Rules, Sha256, next_tries

Count = Annotated[int, Field(ge=0)]
Rows = list[dict[str, Any]]


class Damaged(UserError):
    """A shard's files contradict each other or the plan."""

    def __init__(self, fault: str, folder: Path):
        self.fault = fault
        self.folder = folder
        super().__init__(f"{fault}; `agfd30k verify {folder.parent.parent}` lists every fault, --repair mends")

    def __reduce__(self) -> tuple[type[Damaged], tuple[str, Path]]:
        """Errors go from one process to another."""
        return type(self), (self.fault, self.folder)


class Reopened(Damaged):
    """A finished shard to which another process has just begun to add pictures."""


def reopened(folder: Path) -> Reopened:
    """Return the error of a shard that was finished, or should be."""
    return Reopened(f"{folder}: another process is writing here; wait for it, then run again", folder)


class Receipt(Document):
    """What receipt.json says: how many lines there are, which ids were asked for and which of them given up, the bytes
    of all pictures, the digests of both files of lines, and by which recipe and versions they were made.
    """

    rows: Count
    rejected: Count
    unfilled: tuple[str, ...]
    asked: tuple[str, ...]
    bytes: Count
    sha256: Sha256
    rejections: Sha256
    fingerprint: str
    versions: dict[str, str]
    finished: str
    digest: str

    @classmethod
    def of(cls, folder: Path, rows: Rows, rejected: Rows, rules: Rules, **facts: Any) -> Receipt:
        """Return the receipt of a shard whose lines and pictures are on disk; `facts` are `fingerprint`, `versions` and
        `finished`.
        """
        asked, unfilled = accounted(rows, rejected, rules)
        values = {
            "rows": len(rows),
            "rejected": len(rejected),
            "unfilled": unfilled,
            "asked": asked,
            "bytes": sum((folder / row["file_name"]).stat().st_size for row in rows),
            "sha256": sha256(folder / ROWS),
            "rejections": sha256(folder / REJECTED),
            **facts,
        }
        return cls.model_validate(sealed(values))


@dataclass(frozen=True, slots=True)
class Summary:
    """What is kept of each receipt of a build: not the ids that were asked for, which would take more memory than all
    else that is known of its pictures.
    """

    rows: int
    bytes: int
    unfilled: tuple[str, ...]
    sha256: str
    versions: dict[str, str]
    digest: str

    @classmethod
    def of(cls, receipt: Receipt) -> Summary:
        """Return what is kept of a receipt. Those of the same versions share them."""
        versions = _shared(tuple(receipt.versions.items()))
        return cls(receipt.rows, receipt.bytes, receipt.unfilled, receipt.sha256, versions, receipt.digest)


@cache
def _shared(versions: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return dict(versions)


def accounted(rows: Rows, rejected: Rows, rules: Rules) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the ids that are made or given up, and those that are given up, in plan order."""
    made = {row["id"] for row in rows}
    given_up = {id for id, number in next_tries(rejected).items() if number >= rules.most and id not in made}
    asked = tuple(id for id in rules.whole if id in made or id in given_up)
    return asked, tuple(id for id in asked if id in given_up)


def receipt(folder: Path) -> Receipt | None:
    """Return a shard's receipt, or None while it has none. Raises Damaged for anything else in its place."""
    try:
        if not os.path.lexists(folder / RECEIPT):
            return None
        if not is_file(folder / RECEIPT):
            raise Damaged(f"{folder / RECEIPT}: not a receipt (a link or a folder)", folder)
        return parse_sealed(Receipt, (folder / RECEIPT).read_bytes())
    except FileNotFoundError:  # reopened at this moment
        return None
    except Malformed as error:
        raise Damaged(f"{folder / RECEIPT}: not a receipt ({error})", folder) from None
    except OSError as error:
        raise Damaged(f"{folder / RECEIPT}: cannot be read ({error.strerror})", folder) from None


def require_sound(folder: Path) -> Receipt:
    """Return a finished shard's receipt. Raises Damaged where the rows are not those that it was written for.

    That is Reopened where it is finished no more.
    """
    facts = receipt(folder)
    if facts is None:
        raise reopened(folder)
    for path in misplaced(folder):
        raise Damaged(f"{path}: is a link, or of another kind than it should be", folder)
    try:
        actual = sha256(folder / ROWS), sha256(folder / REJECTED)
    except OSError as error:
        raise Damaged(f"{error.filename}: {error.strerror}", folder) from None
    for name, one, other in zip((ROWS, REJECTED), (facts.sha256, facts.rejections), actual):
        if one != other:
            raise Damaged(f"{folder / name}: not what the receipt was written for", folder)
    return facts


def is_done(folder: Path, ids: Iterable[str]) -> bool:
    """Return True when everything asked for is accounted for, as a picture or as unfilled, and its files are there."""
    asked = set(ids)
    facts = receipt(folder) if asked else None
    return not asked or (facts is not None and asked.issubset(facts.asked) and is_whole(folder))
