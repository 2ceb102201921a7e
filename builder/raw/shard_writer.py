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
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jsonlines
from filelock import FileLock, Timeout
from PIL import Image

from builder.common.documents import sealed
from builder.common.errors import UserError
from builder.common.files import atomic, sync, sync_folder
from builder.plan.sample import Attempt, Sample
from builder.raw import provenance
from builder.raw.layout import IMAGES, RECEIPT, REJECTED, ROWS, misplaced
from builder.raw.lines import Lines, ShardLines
from builder.raw.receipts import Damaged, Receipt, require_sound
from builder.raw.rows import NOTHING_TO_TWIN, Rules, measured, next_tries, planned, rejection
from builder.raw.signing import Signer

LOCK = ".lock"

FORMATS: dict[str, dict[str, Any]] = {
    "png": {"format": "PNG", "compress_level": 1, "compress_type": zlib.Z_RLE},
    "webp": {"format": "WEBP", "lossless": True, "quality": 0, "method": 0},
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


def is_locked(folder: Path) -> bool:
    """Return True where another process is writing a shard at this moment."""
    try:
        if folder.exists():
            lock(folder).release()
    except Locked:
        return True
    return False


class ShardWriter:
    """One shard, locked and recovered. Use it as a context manager; `commit` batches, then `finish`.

    `rules` are what its lines must say. `rows` and `rejected` are what is committed. `first_tries`, of twins, has the
    try that each begins with, by id; what it lacks has nothing to be a twin of. Raises Locked where another run has the
    shard for longer than `patience` seconds, or where it `is_done` once the lock is taken, which leaves a finished
    shard as it is; and Damaged where committed lines break the rules, or lack their picture. Pictures are signed where
    there is a `signer`.
    """

    def __init__(
        self,
        folder: Path,
        rules: Rules,
        patience: float = 0,
        is_done: Callable[[], bool] = lambda: False,
        signer: Signer | None = None,
        first_tries: Mapping[str, int] | None = None,
    ):
        self.folder = folder
        self.rules = rules
        self.signer = signer
        self.patience = patience
        self.is_done = is_done
        self.first_tries = first_tries
        self.rows: list[dict[str, Any]] = []
        self.rejected: list[dict[str, Any]] = []

    def __enter__(self) -> ShardWriter:
        self._require_own()
        self.folder.mkdir(parents=True, exist_ok=True)
        sync_folder(self.folder.parent)
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

    def pending(self, asked: Iterable[Sample]) -> list[Attempt]:
        """Return the next try of every sample that is neither made nor given up, in plan order."""
        made_ids, numbers, first = {row["id"] for row in self.rows}, next_tries(self.rejected), self.first_tries or {}
        left = (sample for sample in asked if sample.id not in made_ids)
        tries = ((sample, max(numbers.get(sample.id, 0), first.get(sample.id, 0))) for sample in left)
        return [self.rules.plan.attempt(sample, number) for sample, number in tries if number < self.rules.most]

    def give_up_untried(self, asked: Iterable[Sample]) -> None:
        """Give up those twins among some samples of which the picture that they are the twins of was given up."""
        if self.first_tries is None:
            return
        made_ids, numbers, last = {row["id"] for row in self.rows}, next_tries(self.rejected), self.rules.most - 1
        left = (sample for sample in asked if sample.id not in made_ids and numbers.get(sample.id, 0) <= last)
        lost = [self.rules.plan.attempt(sample, last) for sample in left if sample.id not in self.first_tries]
        if lost:
            self.commit([], [rejection(attempt, NOTHING_TO_TWIN) for attempt in lost])

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
        name, data = self.rules.file_name(attempt.sample.id), self.encoded(attempt, image)
        with atomic(self.folder / name) as file:
            file.write(data)
        seen = {"verified": verified, "checks": measured(checks), "sha256": hashlib.sha256(data).hexdigest()}
        return sealed({"file_name": name, **planned(attempt), **self.rules.made_by, **seen})

    def encoded(self, attempt: Attempt, image: Image.Image) -> bytes:
        """Return a picture's file, marked as made by the model, and signed where there is a signer."""
        data = encode(image, self.rules.ending, "{model} {model_revision}".format(**self.rules.made_by))
        return self.signer.sign(data, self.rules.ending, self._manifest(attempt)) if self.signer else data

    def _manifest(self, attempt: Attempt) -> dict[str, Any]:
        """Return what is signed of a picture."""
        sample, made_by = attempt.sample, self.rules.made_by
        model, revision = made_by["model"], made_by["model_revision"]
        return provenance.manifest(sample.id, model, revision, sample.prompt, sample.negative_prompt)

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

    def finish(self, fingerprint: str, versions: dict[str, str], finished: str) -> None:
        """Put rows into plan order and write the receipt. The order no longer tells how the work went."""
        place = {id: n for n, id in enumerate(self.rules.whole)}
        self.rows.sort(key=lambda row: place[row["id"]])
        self.rejected.sort(key=lambda row: (place[row["id"]], row["attempt"]))
        for name, rows in ((ROWS, self.rows), (REJECTED, self.rejected)):
            with atomic(self.folder / name) as file:
                file.write(_lines(rows))
        facts = {"fingerprint": fingerprint, "versions": versions, "finished": finished}
        content = Receipt.of(self.folder, self.rows, self.rejected, self.rules, **facts)
        with atomic(self.folder / RECEIPT) as file:
            file.write(json.dumps(content.model_dump(mode="json"), indent=1).encode())
        sync_folder(self.folder)

    def _require_own(self) -> None:
        """Raise Damaged where a file or folder of the shard is a link: nothing outside is read, written or removed."""
        for path in misplaced(self.folder):
            raise Damaged(f"{path}: is a link, or of another kind than it should be", self.folder)

    def _recover(self) -> None:
        """Go back to what is committed: cut a torn last line, forget files that never got their name.

        Of a shard that was finished nothing can be torn: whatever is not as its receipt says is damage.
        """
        self._require_own()
        if (self.folder / RECEIPT).exists():
            require_sound(self.folder)
        for torn in (*self.folder.glob(".*.tmp"), *(self.folder / IMAGES).glob(".*.tmp")):
            torn.unlink(missing_ok=True)
        lines = ShardLines.of(self.folder, self.rules)
        if faults := [*lines.faults, *lines.lost]:
            raise Damaged(str(faults[0]), self.folder)
        (self.folder / IMAGES).mkdir(exist_ok=True)  # not before: a finished shard that has lost it must not look whole
        for part in (lines.rejected, lines.rows):
            _end_lines(part)
        self.rows, self.rejected = list(lines.rows.rows.values()), list(lines.rejected.rows.values())
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
            if path.stem in self.rules.whole and f"{IMAGES}/{path.name}" not in named and not path.is_dir():
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


def _end_lines(lines: Lines) -> None:
    """Cut half a line at the end of a file, which only a crash can leave; end a whole one that lacks its line feed."""
    if lines.is_ended:
        return
    with open(lines.path, "r+b") as file:
        if file.seek(0, io.SEEK_END) > lines.whole:
            file.truncate(lines.whole)
        else:
            file.write(b"\n")
        sync(file)
