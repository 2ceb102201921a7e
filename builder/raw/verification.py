"""A raw build held against its plan: every row, picture, digest and receipt; and putting aside what is faulty."""

from __future__ import annotations

import io
import itertools
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

import agfd30k
from builder.common.files import atomic, sha256
from builder.common.progress import progress_bar
from builder.plan.sample import Sample
from builder.raw.build import RawBuild
from builder.raw.layout import RECEIPT, REJECTED, ROWS
from builder.raw.receipts import Damaged, receipt, require_sound
from builder.raw.rows import picture_fault, rejection_fault, row_fault
from builder.raw.shard_writer import IMAGES, lock

SET_ASIDE = "faulty"


@dataclass(frozen=True)
class Verification:
    """What a check of a raw build found: `strangers` are folders that are not shards of its plan, `unfinished` shards
    that the latest run was asked for and that are not done.
    """

    rows: int
    faults: int
    strangers: int
    unfinished: int


def verify(folder: Path, repair: bool, say: Callable[[str], None]) -> Verification:
    """Check every shard of a raw build, and tell `say` every fault as it is found.

    `repair` puts aside what is faulty, and raises UserError for a shard that a run is writing.
    """
    raw = RawBuild.open(folder)
    planned = {shard.name: shard for shard in raw.plan.shards}
    rows = faults = 0
    strangers = raw.strangers()
    for path in strangers:
        say(f"{path}: not a shard of this plan")
    for path in progress_bar([path for path in agfd30k.shards(folder) if path not in strangers], unit="shard"):
        held = lock(path) if repair else None
        shard = ShardFaults(path, raw.plan.whole(planned[path.name]), raw)
        rows += shard.rows
        faults += len(shard.faults)
        for fault in shard.faults:
            say(fault)
        if held:
            if shard.faults:
                shard.repair()
            held.release()
    return Verification(rows, faults, len(strangers), _unfinished(raw))


def _unfinished(raw: RawBuild) -> int:
    """How many shards of the latest run are not done; 0 while a damaged receipt, which is a fault, cannot tell."""
    try:
        return len(raw.unfinished())
    except Damaged:
        return 0


class ShardFaults:
    """All faults of one shard: `faults` in words; what is faulty is kept for `repair`."""

    def __init__(self, folder: Path, whole: dict[str, Sample], raw: RawBuild):
        self.folder = folder
        self.fingerprint = raw.fingerprint
        self.faults: list[str] = []
        self.bad: dict[str, set[int]] = {ROWS: set(), REJECTED: set()}
        self.named: set[str] = set()
        self.sound: set[str] = set()
        seen: set[str] = set()
        lines = _lines(folder / ROWS)
        self.rows = len(lines)
        for number, row in enumerate(lines, 1):
            if isinstance(row, dict):
                self.named.add(Path(str(row.get("file_name"))).name)
            fault = row_fault(row, whole, raw.plan, raw.recipe.made_by) or self._picture(row)
            if fault is None and row["id"] in seen:
                fault = f"{row['id']} stands twice"
            if fault:
                self._bad_line(ROWS, number, fault)
            else:
                seen.add(row["id"])
                self.sound.add(Path(row["file_name"]).name)
        for number, row in enumerate(_lines(folder / REJECTED), 1):
            if fault := rejection_fault(row, whole):
                self._bad_line(REJECTED, number, fault)
        self._receipt(seen)

    def _bad_line(self, name: str, number: int, fault: str) -> None:
        self.faults.append(f"{self.folder / name}, line {number}: {fault}")
        self.bad[name].add(number)

    def _picture(self, row: dict[str, Any]) -> str | None:
        """Return what is wrong with a row's picture, or None."""
        if fault := picture_fault(self.folder, row):
            return fault
        path = agfd30k.picture(self.folder, row)
        if sha256(path) != row["sha256"]:
            return f"{row['id']}: {row['file_name']} is not the picture that was committed"
        try:
            Image.open(io.BytesIO(path.read_bytes())).load()
        except (OSError, SyntaxError) as error:
            return f"{row['id']}: {row['file_name']} does not decode: {error}"
        return None

    def _receipt(self, seen: set[str]) -> None:
        """Hold the shard against its receipt. Without one it is not done, and pictures may be ahead of their rows."""
        try:
            facts = receipt(self.folder)
            if facts is None:
                return
            if facts["fingerprint"] != self.fingerprint:
                self.faults.append(f"{self.folder}: was made by another recipe")
            if missing := set(facts["asked"]) - seen - set(facts["unfilled"]):
                first = min(missing)
                self.faults.append(f"{self.folder}: {len(missing)} rows of the receipt are missing, {first} first")
            require_sound(self.folder)
        except Damaged as error:
            self.faults.append(error.fault)
        for path in self._pictures_but(self.named):
            self.faults.append(f"{path}: a picture without a row")

    def _pictures_but(self, names: set[str]) -> list[Path]:
        images = self.folder / IMAGES
        return sorted(path for path in images.iterdir() if path.name not in names) if images.is_dir() else []

    def repair(self) -> None:
        """Keep what is sound, move the rest aside, and take the receipt back: the next run completes the shard."""
        aside = self.folder / SET_ASIDE
        aside.mkdir(exist_ok=True)
        for path in self._pictures_but(self.sound):
            path.rename(_free(aside / path.name))
        for name, bad in self.bad.items():
            if bad:
                lines = (self.folder / name).read_bytes().splitlines(keepends=True)
                with open(aside / name, "ab") as file:
                    file.writelines(line for number, line in enumerate(lines, 1) if number in bad)
                with atomic(self.folder / name) as file:
                    file.writelines(line for number, line in enumerate(lines, 1) if number not in bad)
        if (self.folder / RECEIPT).exists():
            (self.folder / RECEIPT).rename(_free(aside / RECEIPT))


def _free(path: Path) -> Path:
    """Return the path, or the first with a number that nothing has: what was set aside before stays."""
    numbered = (path.with_stem(f"{path.stem}-{n}") for n in itertools.count(2))
    return next(place for place in itertools.chain([path], numbered) if not os.path.lexists(place))


def _lines(path: Path) -> list[Any]:
    """The lines of a file, parsed, None for one that is not JSON; half a line at the end is left to the next run."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            try:
                rows.append(json.loads(line))
            except ValueError:
                rows.append(None)
    return rows
