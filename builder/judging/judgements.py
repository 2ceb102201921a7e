"""People's judgements, one JSON line each: appended and synced, never changed, taken back by another line.

    {"id": "hair-blond-male-00003", "feature": "blond", "answer": "yes", "judge": "ana", "sha256": "9f86d081884c…",
     "time": "2026-05-01T09:00:00Z"}

`answer` is "yes", "no" (or true, false) or "undone"; `judge`, `sha256` and `time` may be left out. With the digest of
the picture's file a judgement is of that picture alone; without one it is of whatever picture has the id.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from builder.common.errors import UserError
from builder.common.files import sync, sync_folder

ANSWERS = {"yes": True, "no": False, "undone": None}

About = tuple[str, str, str, str]
"""A judge, the id of a picture, a feature, and the digest of the picture."""


@dataclass(frozen=True)
class Judgement:
    """What one judge says of one picture and feature: shown or not; None takes the last answer back.

    `sha256` is the digest of the picture's file, "" where it is not known.
    """

    id: str
    feature: str
    shown: bool | None
    judge: str = ""
    sha256: str = ""

    def __post_init__(self):
        for key in ("id", "feature", "judge", "sha256"):
            value = getattr(self, key)
            if not isinstance(value, str) or (not value and key in ("id", "feature")):
                raise ValueError(f"`{key}` must be text, got {value!r}")

    @property
    def about(self) -> About:
        """Who judged what: of one such key only the last answer counts."""
        return self.judge, self.id, self.feature, self.sha256

    def is_of(self, sha256: str) -> bool:
        """May it count for a picture of its id with this digest?"""
        return self.sha256 in ("", sha256)

    @classmethod
    def parse(cls, line: bytes) -> Judgement:
        """Return a line of a judgements file. Raises ValueError for any other line."""
        row = _object(line)
        if row is None:
            raise ValueError("not a JSON object")
        answer = row.get("answer")
        if not isinstance(answer, bool):
            if not isinstance(answer, str) or answer not in ANSWERS:
                raise ValueError(f'`answer` must be "yes", "no" or "undone", got {answer!r}')
            answer = ANSWERS[answer]
        fields: dict[str, Any] = {"id": None, "feature": None, "judge": "", "sha256": "", **row}
        return cls(fields["id"], fields["feature"], answer, fields["judge"], fields["sha256"])


Standing = dict[About, tuple[int, Judgement]]
"""Answers that were not taken back, with their line numbers."""


def append(path: Path, judgement: Judgement) -> None:
    """Put a judgement at the end of a file; it is on disk when this returns. An OSError leaves nothing of it behind."""
    word = next(word for word, shown in ANSWERS.items() if shown is judgement.shown)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    row = {"id": judgement.id, "feature": judgement.feature, "answer": word, "judge": judgement.judge}
    line = json.dumps({**row, "sha256": judgement.sha256, "time": now}).encode() + b"\n"
    with open(path, "ab", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            if file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            sync(file)
        except OSError:
            file.truncate(size)
            raise


def mend(path: Path) -> None:
    """Make sure that a file is there and ends with a whole line: half a one, which only a crash leaves, is cut off.

    Raises UserError, and changes nothing, where the file is not one of judgements.
    """
    if path.exists():
        _require_judgements(path)
    with open(path, "a+b") as file:
        whole, torn = _parts(file)
        if _object(torn):  # all but its end was written
            file.write(b"\n")
        else:
            file.truncate(len(whole))
        sync(file)
    sync_folder(path.absolute().parent)


def _require_judgements(path: Path) -> None:
    try:
        standing(path)
        with open(path, "rb") as file:
            _, torn = _parts(file)
        if torn.strip() and not torn.startswith(b"{") and not _object(torn):
            raise UserError(f"{path}: its last line is not one of judgements")
    except UserError as error:
        raise UserError(f"{error}; choose another --out, unless this is a file of judgements to put right") from None


def _parts(file: BinaryIO) -> tuple[bytes, bytes]:
    """Return the whole lines of a file, and what stands after the last line feed."""
    file.seek(0)
    data = file.read()
    end = data.rfind(b"\n") + 1
    return data[:end], data[end:]


def standing(path: Path) -> Standing:
    """Return the answers that were not taken back, with their line numbers, by what they are about, in order.

    A torn last line does not count. Raises UserError with the number of a line that is no judgement, or that says the
    contrary of an answer that was not taken back.
    """
    answers: Standing = {}
    for number, judgement in _lines(path):
        first, earlier = answers.pop(judgement.about, (0, judgement))
        if None not in (judgement.shown, earlier.shown) and judgement.shown != earlier.shown:
            raise UserError(f"{path}, line {number}: {judgement.id} is said to be the contrary in line {first}")
        if judgement.shown is not None:
            answers[judgement.about] = (number, judgement)
    return answers


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
    """Return the JSON object that a line is, or None."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
