"""People's judgements, one JSON line each: appended and synced, never changed, taken back by another line.

    {"id": "hair-blond-male-00003", "feature": "blond", "answer": "yes", "judge": "ana", "time": "2026-05-01T09:00:00Z"}

`answer` is "yes", "no" (or true, false) or "undone", `judge` and `time` may be left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from builder import UserError
from builder.files import sync, sync_folder

ANSWERS = {"yes": True, "no": False, "undone": None}


@dataclass(frozen=True)
class Judgement:
    """What one judge says of one picture and feature: shown or not; None takes the last answer back."""

    id: str
    feature: str
    shown: bool | None
    judge: str = ""

    def __post_init__(self):
        for key in ("id", "feature", "judge"):
            value = getattr(self, key)
            if not isinstance(value, str) or (not value and key != "judge"):
                raise ValueError(f"`{key}` must be text, got {value!r}")

    @property
    def about(self) -> tuple[str, str, str]:
        """Who judged what: of one such key only the last answer counts."""
        return self.judge, self.id, self.feature

    @classmethod
    def parse(cls, line: bytes) -> Judgement:
        """A line of a judgements file. Raises ValueError for any other line."""
        row = _object(line)
        if row is None:
            raise ValueError("not a JSON object")
        answer = row.get("answer")
        if not isinstance(answer, bool):
            if not isinstance(answer, str) or answer not in ANSWERS:
                raise ValueError(f'`answer` must be "yes", "no" or "undone", got {answer!r}')
            answer = ANSWERS[answer]
        return cls(row.get("id"), row.get("feature"), answer, row.get("judge", ""))


def append(path: Path, judgement: Judgement) -> None:
    """Put a judgement at the end of a file; it is on disk when this returns."""
    word = next(word for word, shown in ANSWERS.items() if shown is judgement.shown)
    row = {"id": judgement.id, "feature": judgement.feature, "answer": word, "judge": judgement.judge}
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with open(path, "ab") as file:
        file.write(json.dumps({**row, "time": now}).encode() + b"\n")
        sync(file)


def mend(path: Path) -> None:
    """Make sure that a file is there and ends with a whole line: half a one, which only a crash leaves, is cut off."""
    with open(path, "a+b") as file:
        file.seek(0)
        data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        if _object(data[len(whole) :]):  # all but its end was written
            file.write(b"\n")
        else:
            file.truncate(len(whole))
        sync(file)
    sync_folder(path.absolute().parent)


def standing(path: Path) -> dict[tuple[str, str, str], tuple[int, Judgement]]:
    """The answers that were not taken back, with their line numbers, by what they are about, in order.

    A torn last line does not count. Raises UserError with the number of a line that is no judgement, or that says the
    contrary of an answer that was not taken back.
    """
    found: dict[tuple[str, str, str], tuple[int, Judgement]] = {}
    for number, judgement in _lines(path):
        first, earlier = found.pop(judgement.about, (0, judgement))
        if None not in (judgement.shown, earlier.shown) and judgement.shown != earlier.shown:
            raise UserError(f"{path}, line {number}: {judgement.id} is said to be the contrary in line {first}")
        if judgement.shown is not None:
            found[judgement.about] = (number, judgement)
    return found


def _lines(path: Path) -> Iterator[tuple[int, Judgement]]:
    with open(path, "rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip() or (not line.endswith(b"\n") and _object(line) is None):
                continue
            try:
                yield number, Judgement.parse(line)
            except ValueError as error:
                raise UserError(f"{path}, line {number}: {error}") from None


def _object(line: bytes) -> dict[str, Any] | None:
    """The JSON object that a line is, or None."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
