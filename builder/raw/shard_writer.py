"""Crash-safe shards: a row is committed once its line is on disk, and nothing committed is ever lost or doubled.

A shard is a folder that `datasets`' ImageFolder can read:

    metadata.jsonl   one line per accepted picture, every line with every key
    images/<id>.png  appears whole, before its row
    rejected.jsonl   one line per try that gave no picture, and why
    receipt.json     written last: the shard is done
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jsonlines
from filelock import FileLock, Timeout
from PIL import Image

from agfd30k import picture
from builder.common.errors import UserError
from builder.common.files import atomic, sha256, sync, sync_folder
from builder.plan.plan import Plan
from builder.plan.sample import Attempt, Sample
from builder.raw import provenance
from builder.raw.layout import RECEIPT, REJECTED, ROWS
from builder.raw.receipts import Damaged
from builder.raw.rows import picture_fault, planned, rejection_fault, row_fault

IMAGES = "images"
LOCK = ".lock"

FORMATS: dict[str, dict[str, Any]] = {
    "png": {"format": "PNG", "compress_level": 1},
    "webp": {"format": "WEBP", "lossless": True, "method": 0},
    "jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
}
"""How pictures are encoded, by file ending; `python benchmarks encoding` shows what each costs."""


class Locked(UserError):
    """Another run is writing this shard, or has just finished it."""


def encode(image: Image.Image, ending: str, model: str) -> bytes:
    """Return a picture's file, marked as made by this model."""
    buffer = io.BytesIO()
    image.save(buffer, **FORMATS[ending], **provenance.options(ending, model))
    return buffer.getvalue()


def lock(folder: Path, patience: float = 0) -> FileLock:
    """Return a shard's lock, taken. Raises Locked where another run has it for longer than `patience` seconds."""
    taken = FileLock(folder / LOCK)
    try:
        taken.acquire(timeout=patience)
    except Timeout:
        raise Locked(f"{folder}: another process is writing here; wait for it, or stop it and run again") from None
    return taken


class ShardWriter:
    """One shard, locked and recovered. Use it as a context manager; `commit` batches, then `finish`.

    `made_by` holds the row's `model`, `model_revision` and `safety_checker`. `rows` and `rejected` are what is
    committed; `tries` counts the rejected tries of each id. Raises Locked where another run has the shard for longer
    than `patience` seconds, or where it `is_done` once the lock is taken, which leaves a finished shard as it is; and
    Damaged where committed rows do not fit the plan or lack their picture.
    """

    def __init__(
        self,
        folder: Path,
        whole: dict[str, Sample],
        plan: Plan,
        ending: str,
        made_by: dict[str, str],
        patience: float = 0,
        is_done: Callable[[], bool] = lambda: False,
    ):
        self.folder = folder
        self.whole = whole
        self.plan = plan
        self.ending = ending
        self.made_by = made_by
        self.patience = patience
        self.is_done = is_done
        self.rows: list[dict[str, Any]] = []
        self.rejected: list[dict[str, Any]] = []

    def __enter__(self) -> ShardWriter:
        (self.folder / IMAGES).mkdir(parents=True, exist_ok=True)
        for folder in (self.folder, self.folder.parent):
            sync_folder(folder)
        self.lock = lock(self.folder, self.patience)
        try:
            if self.is_done():
                raise Locked(f"{self.folder}: another process has just finished it")
            self._recover()
        except BaseException:
            self.lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.lock.release()

    @property
    def tries(self) -> Counter[str]:
        return Counter(row["id"] for row in self.rejected)

    def pending(self, asked: Iterable[Sample]) -> list[Attempt]:
        """Return the next try of every sample that is neither made nor given up, in plan order."""
        made_ids, tries = {row["id"] for row in self.rows}, self.tries
        most = self.plan.spec.recipe.max_attempts
        return [self.plan.attempt(s, tries[s.id]) for s in asked if s.id not in made_ids and tries[s.id] < most]

    def write_picture(
        self,
        attempt: Attempt,
        image: Image.Image,
        verified: bool | None,
        checks: dict[str, Any],
    ) -> dict[str, Any]:
        """Put a picture's file in its place; returns the row to commit. Safe to call from several threads.

        `verified` and `checks` are what the checks say of it.
        """
        data = encode(image, self.ending, "{model} {model_revision}".format(**self.made_by))
        name = f"{IMAGES}/{attempt.sample.id}.{self.ending}"
        with atomic(self.folder / name) as file:
            file.write(data)
        return {
            "file_name": name,
            **planned(attempt),
            **self.made_by,
            "verified": verified,
            "checks": checks,
            "sha256": hashlib.sha256(data).hexdigest(),
        }

    def commit(self, rows: list[dict[str, Any]], rejected: list[dict[str, Any]]) -> None:
        """Make a batch durable: its pictures' names first, then what was rejected, then its rows."""
        sync_folder(self.folder / IMAGES)
        new = not ((self.folder / ROWS).exists() and (self.folder / REJECTED).exists())
        _append(self.folder / REJECTED, rejected)
        _append(self.folder / ROWS, rows)
        if new:
            sync_folder(self.folder)
        self.rejected += rejected
        self.rows += rows

    def finish(self, **facts: Any) -> None:
        """Put rows into plan order and write the receipt. The order no longer tells how the work went."""
        place = {id: n for n, id in enumerate(self.whole)}
        self.rows.sort(key=lambda row: place[row["id"]])
        self.rejected.sort(key=lambda row: (place[row["id"]], row["attempt"]))
        for name, rows in ((ROWS, self.rows), (REJECTED, self.rejected)):
            with atomic(self.folder / name) as file:
                file.write(_lines(rows))
        made_ids = {row["id"] for row in self.rows}
        most = self.plan.spec.recipe.max_attempts
        unfilled = [id for id, tries in self.tries.items() if tries >= most and id not in made_ids]
        content = {
            "rows": len(self.rows),
            "rejected": len(self.rejected),
            "unfilled": sorted(unfilled, key=place.__getitem__),
            "asked": sorted([*made_ids, *unfilled], key=place.__getitem__),
            "bytes": sum(picture(self.folder, row).stat().st_size for row in self.rows),
            "sha256": sha256(self.folder / ROWS),
            "rejections": sha256(self.folder / REJECTED),
            **facts,
        }
        with atomic(self.folder / RECEIPT) as file:
            file.write(json.dumps(content, indent=1).encode())
        sync_folder(self.folder)

    def _recover(self) -> None:
        """Go back to what is committed: cut a torn last line, forget files that never got their name."""
        for torn in (*self.folder.glob(".*.tmp"), *(self.folder / IMAGES).glob(".*.tmp")):
            torn.unlink(missing_ok=True)
        self.rejected = _cut_torn(self.folder / REJECTED, self.folder)
        for number, row in enumerate(self.rejected, 1):
            if fault := rejection_fault(row, self.whole):
                raise Damaged(f"{self.folder / REJECTED}, line {number}: {fault}", self.folder)
        self.rows = _cut_torn(self.folder / ROWS, self.folder)
        seen = set()
        for number, row in enumerate(self.rows, 1):
            fault = row_fault(row, self.whole, self.plan, self.made_by) or picture_fault(self.folder, row)
            if fault is None and row["id"] in seen:
                fault = f"{row['id']} stands twice"
            if fault:
                raise Damaged(f"{self.folder / ROWS}, line {number}: {fault}", self.folder)
            seen.add(row["id"])
        self._take_back()
        (self.folder / RECEIPT).unlink(missing_ok=True)
        sync_folder(self.folder)

    def take_back(self, rejected: list[dict[str, Any]]) -> None:
        """Turn committed rows into rejected tries: what another picture has made a duplicate. Their pictures go too."""
        (self.folder / RECEIPT).unlink(missing_ok=True)
        sync_folder(self.folder)
        _append(self.folder / REJECTED, rejected)
        self.rejected += rejected
        self._take_back()

    def _take_back(self) -> None:
        """Drop rows whose try stands among the rejected ones, and pictures that have no row."""
        gone = {(row["id"], row["attempt"]) for row in self.rejected}
        kept = [row for row in self.rows if (row["id"], row["attempt"]) not in gone]
        if len(kept) < len(self.rows):
            self.rows = kept
            with atomic(self.folder / ROWS) as file:
                file.write(_lines(kept))
            sync_folder(self.folder)
        named = {row["file_name"] for row in self.rows}
        for path in (self.folder / IMAGES).iterdir():
            if path.stem in self.whole and f"{IMAGES}/{path.name}" not in named:
                path.unlink()


def _lines(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    with jsonlines.Writer(io.TextIOWrapper(buffer, encoding="utf-8", write_through=True)) as writer:
        writer.write_all(rows)
    return buffer.getvalue()


def _append(path: Path, rows: list[dict[str, Any]]) -> None:
    if rows:
        with open(path, "ab") as file:
            file.write(_lines(rows))
            sync(file)


def _cut_torn(path: Path, folder: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a file; half a line at its end, which only a crash can leave, is cut off."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with open(path, "r+b") as file:
            file.truncate(len(whole))
            sync(file)
    try:
        return list(jsonlines.Reader(io.BytesIO(whole)))
    except (jsonlines.InvalidLineError, UnicodeDecodeError) as error:
        raise Damaged(f"{path}, line {getattr(error, 'lineno', '?')}: not a row", folder) from None
