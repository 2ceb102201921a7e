"""The names of a raw folder's files, and what kind of file each must be."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

RECIPE = "recipe.json"

ASKED = "asked.json"

SHARDS = "shards"

LOCK = ".release.lock"
"""Held while the whole folder is read, or pictures are taken back."""

SEARCHED = "searched.json"
"""Which rows are known to hold no duplicates."""

DECIDED = "duplicates.json"
"""While duplicates are taken back: which, by shard. Whoever finds it finishes the work."""

ROWS = "metadata.jsonl"

REJECTED = "rejected.jsonl"

RECEIPT = "receipt.json"

IMAGES = "images"

LINES_ONLY = ".lines-only"
"""In a raw folder that holds the lines of a build without their pictures, which lie elsewhere."""

REJECTS = "rejected"
"""Where `--keep-rejected` puts a few rejected pictures, for a look."""

SET_ASIDE = "faulty"
"""Where --repair puts what is faulty, in a shard and in the raw folder."""


def is_file(path: Path) -> bool:
    """Return True for a file of its own: no link, which may lead out of the folder, no pipe."""
    return _is(path, stat.S_ISREG)


def is_folder(path: Path) -> bool:
    """Return True for a folder that is no link."""
    return _is(path, stat.S_ISDIR)


def misplaced(shard: Path) -> list[Path]:
    """Return what lies in a shard in the place of its files, and is a link, a folder or the like."""
    kinds = {ROWS: is_file, REJECTED: is_file, RECEIPT: is_file, IMAGES: is_folder}
    return [shard / name for name, is_right in kinds.items() if _is(shard / name) and not is_right(shard / name)]


def is_whole(shard: Path) -> bool:
    """Return True where a finished shard has its files and its folder of pictures, whatever is in them."""
    return is_file(shard / ROWS) and is_file(shard / REJECTED) and is_folder(shard / IMAGES)


def _is(path: Path, kind: Callable[[int], bool] = lambda mode: True) -> bool:
    try:
        return kind(path.lstat().st_mode)
    except OSError:
        return False
