"""Counts the committed rows of a build that goes on, from the files of all processes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from builder.plan.plan import Shard
from builder.raw.layout import ROWS, SHARDS


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
