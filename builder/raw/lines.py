"""The lines of a shard's two files, held against the plan and against each other.

A line is what ends in a line feed, and nothing else does; what comes after the last one is a line too if it is whole.
The tries at a sample are numbered from 0 without a hole: all but a row's own stand among the rejected ones. Those at a
twin begin with the one that gave the picture it is the twin of.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.common.documents import Malformed, parse
from builder.raw.layout import RECEIPT, REJECTED, ROWS, is_file
from builder.raw.rows import TAKEN_BACK, Rules, picture_fault


@dataclass(frozen=True)
class Fault:
    """What is wrong with line `number` of a file of a shard."""

    path: Path
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}, line {self.number}: {self.text}"


@dataclass
class Lines:
    """The lines of a file: `rows` are the sound ones by their numbers, `faults` what is wrong with the others.

    `whole` counts the bytes up to a torn end, `is_ended` is False where the last line, torn or not, has no line feed.
    """

    path: Path
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    whole: int = 0
    is_ended: bool = True

    @classmethod
    def of(cls, path: Path, read: Callable[[bytes], dict[str, Any]]) -> Lines:
        """Read a file, which need not be there; `read` gives a line's row and raises Malformed."""
        lines = cls(path)
        for number, line in enumerate(split(path.read_bytes()) if is_file(path) else (), 1):
            lines.is_ended = line.endswith(b"\n")
            try:
                lines.rows[number] = read(line)
            except Malformed as error:
                if not lines.is_ended and not _is_json(line):
                    break
                lines.faults.append(Fault(path, number, str(error)))
            lines.whole += len(line)
        return lines

    def drop(self, number: int, text: str) -> None:
        """A line is not sound, because of what other lines say."""
        self.rows.pop(number)
        self.faults.append(Fault(self.path, number, text))


def split(data: bytes) -> list[bytes]:
    """Return the lines of a file, each with its line feed, but for a last one that has none.

    >>> split(b"one\\rmore\\ntwo")
    [b'one\\rmore\\n', b'two']
    """
    *lines, rest = data.split(b"\n")
    return [line + b"\n" for line in lines] + ([rest] if rest else [])


def _is_json(line: bytes) -> bool:
    """Return True for what no crash can leave: no beginning of a line is JSON."""
    try:
        parse(line)
    except Malformed:
        return False
    return True


@dataclass(frozen=True)
class ShardLines:
    """The lines of a shard: `rows` and `rejected`, of which the sound ones fit each other."""

    rows: Lines
    rejected: Lines
    is_finished: bool
    of_twins: bool = False

    @classmethod
    def of(cls, folder: Path, rules: Rules) -> ShardLines:
        """Read a shard's lines; those that are missing are no fault."""
        rows, rejected = Lines.of(folder / ROWS, rules.row), Lines.of(folder / REJECTED, rules.rejection)
        lines = cls(rows, rejected, is_file(folder / RECEIPT), rules.of_twins)
        lines._settle()
        return lines

    @property
    def made(self) -> list[dict[str, Any]]:
        """The sound rows."""
        return list(self.rows.rows.values())

    @property
    def tries(self) -> list[dict[str, Any]]:
        """The sound rejected tries."""
        return list(self.rejected.rows.values())

    @property
    def faults(self) -> list[Fault]:
        """Everything that is wrong, in the order of the lines."""
        return [fault for part in (self.rejected, self.rows) for fault in sorted(part.faults, key=lambda f: f.number)]

    @property
    def lost(self) -> list[Fault]:
        """The sound rows whose pictures are not there, or are no files."""
        missing = {number: picture_fault(self.rows.path.parent, row) for number, row in self.rows.rows.items()}
        return [Fault(self.rows.path, number, text) for number, text in missing.items() if text]

    def _settle(self) -> None:
        """Drop what stands twice, and what lacks the tries before it."""
        rows: dict[str, int] = {}
        for number, row in list(self.rows.rows.items()):
            if rows.setdefault(row["id"], number) != number:
                self.rows.drop(number, f"{row['id']} stands twice")
        tries: dict[str, dict[int, int]] = {}
        for number, row in list(self.rejected.rows.items()):
            if tries.setdefault(row["id"], {}).setdefault(row["attempt"], number) != number:
                self.rejected.drop(number, f"{row['id']}: try {row['attempt']} stands twice")
        for id in dict.fromkeys([*rows, *tries]):
            self._settle_tries(id, rows.get(id), tries.get(id, {}))

    def _settle_tries(self, id: str, row: int | None, tries: dict[int, int]) -> None:
        """Of one sample: the line of its row, and those of its rejected tries."""
        made = -1 if row is None else self.rows.rows[row]["attempt"]
        if made in tries and not self._is_taken_back(made, tries):
            for number in [line for attempt, line in tries.items() if attempt >= made]:
                self.rejected.drop(number, f"{id}: the picture of try {made} is committed")
            tries = {attempt: line for attempt, line in tries.items() if attempt < made}
        missing = self._first_missing(made, tries)
        for number in [line for attempt, line in tries.items() if attempt > missing]:
            self.rejected.drop(number, f"{id}: try {missing} before it is missing")
        if row is not None and made > missing:
            self.rows.drop(row, f"{id}: its rejected try {missing} is missing")

    def _first_missing(self, made: int, tries: dict[int, int]) -> int:
        """Return the first try that does not stand among the rejected ones; at a twin, whose first is any, the one
        behind which there is none.
        """
        if not self.of_twins:
            return next(attempt for attempt in itertools.count() if attempt not in tries)
        return max(tries) if made < 0 and tries else made

    def _is_taken_back(self, made: int, tries: dict[int, int]) -> bool:
        """Return True where a row stands for a picture that is on its way out: its try is the last rejected one.

        The receipt goes before anything is taken back.
        """
        reason = self.rejected.rows[tries[made]]["reason"]
        return not self.is_finished and made == max(tries) and reason in TAKEN_BACK
