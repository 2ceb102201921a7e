"""What a raw folder notes beside its shards: what was asked for, what was searched, and what goes back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field

from builder.common.documents import Document, Malformed, parse_sealed, sealed
from builder.common.errors import UserError
from builder.common.files import atomic
from builder.raw.layout import is_file
from builder.raw.rows import Count


class Note(Document):
    """What one of these files says."""

    digest: str


class Asked(Note):
    """asked.json: which part of its table a build's latest run was asked for; see `Plan`."""

    only: tuple[str, ...]
    scale: Annotated[float, Field(gt=0, le=1)]
    limit: Annotated[int, Field(ge=1, lt=2**63)] | None
    twins: bool = False


class Searched(Note):
    """searched.json: the digest of the rows that are known to hold no duplicates; `twins` says that each twin was also
    found to follow from the picture that it is the twin of.
    """

    rows: str
    twins: bool = False


class Loser(Document):
    """A picture that is another one again: its try, and why it is rejected."""

    attempt: Count
    reason: str
    detail: str


class Decided(Note):
    """duplicates.json: the pictures that go back, by shard and id."""

    losers: dict[str, dict[str, Loser]]


N = TypeVar("N", bound=Note)


def read(kind: type[N], path: Path) -> N | None:
    """Return a note, None where there is none. Raises UserError for a damaged one."""
    if not os.path.lexists(path):
        return None
    try:
        if not is_file(path):
            raise Malformed("a link or a folder")
        return parse_sealed(kind, path.read_bytes())
    except FileNotFoundError:  # another process has just taken it away
        return None
    except Malformed as error:
        raise damaged(path, error) from None


def damaged(path: Path, reason: object) -> UserError:
    """Return the error of a note that cannot be followed."""
    return UserError(f"{path}: damaged ({reason}); remove it, and run the builder again")


def write(path: Path, **values: Any) -> None:
    """Write a note, whole."""
    with atomic(path) as file:
        file.write(json.dumps(sealed(values)).encode())
