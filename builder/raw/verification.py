"""A raw build held against its plan: every row, picture, digest and receipt; and putting aside what is faulty."""

from __future__ import annotations

import functools
import itertools
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

import agfd30k
from builder.common.errors import UserError, shortened
from builder.common.files import atomic, sha256
from builder.common.progress import progress_bar
from builder.engine.engine import Engine
from builder.engine.here import Here
from builder.engine.ordered import ordered
from builder.plan.plan import Shard
from builder.raw.build import RawBuild
from builder.raw.layout import IMAGES, RECEIPT, RECIPE, SET_ASIDE, SHARDS, is_file, is_folder, misplaced
from builder.raw.lines import Lines, ShardLines, split
from builder.raw.receipts import Damaged, Receipt, receipt, require_sound
from builder.raw.rows import Rules, picture_fault
from builder.raw.shard_writer import lock
from builder.raw.signatures import Signature, State

ReadSignature = Callable[[bytes, str], Signature]
"""What gives the signature in a picture's file, from its bytes and ending. It goes to other processes: pickle takes it.
"""
ROW, PIXEL = 0.3e-3, 28e-9
"""Seconds that a row takes to check, and a pixel to decode: as measured on one core, to choose how many processes."""


@dataclass(frozen=True)
class Verification:
    """What a check of a raw build found: `strangers` are folders that are not shards of its plan, `unfinished` shards
    that the latest run was asked for and that are not done, `signatures` the pictures' by state, where they were read.
    """

    rows: int
    faults: int
    strangers: int
    unfinished: int
    signatures: Counter[State]


@dataclass(frozen=True)
class ShardTask:
    """A shard to check, of the build in a folder whose recipe file has this digest."""

    folder: Path
    recipe: str
    shard: Shard
    signature: ReadSignature | None

    def __str__(self) -> str:
        return str(self.folder / SHARDS / self.shard.name)


@dataclass(frozen=True)
class Findings:
    """What the check of a shard found: `faults` in words, `signatures` by state."""

    rows: int
    faults: tuple[str, ...]
    signatures: Counter[State]


def verify(
    folder: Path,
    repair: bool,
    say: Callable[[str], None],
    signature: ReadSignature | None = None,
    engine: Engine | None = None,
) -> Verification:
    """Check every shard of a raw build, and tell `say` every fault, in the order of the shards.

    `repair` puts aside what is faulty, and raises UserError for a shard that a run is writing. `signature` gives what
    the one in a picture's file says, like `signatures.signature_of`: one that was changed since is a fault. `engine`
    checks the shards: unless given, as many processes of this machine as are worth it. All else is done here.
    """
    signatures: Counter[State] = Counter()
    raw = RawBuild.open(folder)
    strangers = raw.strangers()
    for path in strangers:
        say(shortened(f"{path}: not a shard of this plan, or a link"))
    faults, rows = _notes(raw, repair, say), 0
    shards = [raw.shards[path.name] for path in agfd30k.shards(folder) if path not in strangers]
    recipe = sha256(folder / RECIPE)
    tasks = [ShardTask(folder, recipe, shard, signature) for shard in shards]
    with progress_bar(total=len(tasks), unit="shard") as bar:
        results = ordered(engine or Here.sized(_seconds(raw, shards)), check, tasks, bar.update)
        for shard, found in zip(shards, results):
            found = _repaired(raw, shard, found, signature) if repair else found
            signatures += found.signatures
            rows += found.rows
            faults += len(found.faults)
            for fault in found.faults:
                say(shortened(fault))
    return Verification(rows, faults, len(strangers), _unfinished(raw), signatures)


def check(task: ShardTask) -> Iterator[Findings]:
    """Yield what is found in a shard, as it lies there; nothing is changed."""
    raw = _opened(task.folder, task.recipe)
    yield ShardFaults(raw, task.shard, task.signature).findings


@functools.lru_cache(maxsize=1)
def _opened(folder: Path, recipe: str) -> RawBuild:
    """Open a build once in a process, and once more where its recipe has another digest."""
    return RawBuild.open(folder)


def _seconds(raw: RawBuild, shards: list[Shard]) -> float:
    """Return how long one process takes, at most, for shards."""
    recipe = raw.spec.recipe
    return sum(shard.stop - shard.start for shard in shards) * (ROW + recipe.width * recipe.height * PIXEL)


def _repaired(raw: RawBuild, shard: Shard, found: Findings, signature: ReadSignature | None) -> Findings:
    """Put aside what is faulty of a shard, as it is found once nobody can be writing there; returns what that is."""
    held = lock(raw.shard_folder(shard))
    try:
        if not found.faults:
            return found
        faulty = ShardFaults(raw, shard, signature)
        if faulty.faults:
            faulty.repair()
        return faulty.findings
    finally:
        held.release()


def _notes(raw: RawBuild, repair: bool, say: Callable[[str], None]) -> int:
    """Check what the raw folder notes beside its shards; returns how many of these files are faulty."""
    faults = raw.note_faults()
    for path, fault in faults.items():
        say(shortened(fault))
        if repair:
            path.rename(_free(_aside(raw.folder) / path.name))
    return len(faults)


def _unfinished(raw: RawBuild) -> int:
    """How many shards of the latest run are not done; 0 while a damaged file, which is a fault, cannot tell."""
    try:
        return len(raw.unfinished())
    except UserError:
        return 0


class ShardFaults:
    """All faults of one shard: `faults` in words; what is faulty is kept for `repair`. `signatures` are counted where
    `signature` reads them.
    """

    def __init__(self, raw: RawBuild, shard: Shard, signature: ReadSignature | None = None):
        folder, rules = raw.shard_folder(shard), raw.rules(shard)
        self.folder = folder
        self.raw = raw
        self.ending = rules.ending
        self.signature = signature
        self.signatures: Counter[State] = Counter()
        self.misplaced = misplaced(folder)
        self.faults = [f"{path}: is a link, or of another kind than it should be" for path in self.misplaced]
        self.lines = ShardLines.of(folder, rules)
        for number, row in list(self.lines.rows.rows.items()):
            if fault := self._picture(row):
                self.lines.rows.drop(number, fault)
        self.sound = {Path(row["file_name"]).name for row in self.lines.made}
        self.rows = len(self.lines.rows.rows) + len(self.lines.rows.faults)
        self.faults += map(str, self.lines.faults)
        self._receipt(rules)

    @property
    def findings(self) -> Findings:
        """What was found, as a value."""
        return Findings(self.rows, tuple(self.faults), self.signatures)

    def _picture(self, row: dict[str, Any]) -> str | None:
        """Return what is wrong with a row's picture, or None."""
        if self.folder / IMAGES in self.misplaced:
            return f"{row['id']}: its picture {row['file_name']} is not there"
        if fault := picture_fault(self.folder, row):
            return fault
        path, recipe = self.folder / row["file_name"], self.raw.spec.recipe
        if fault := self._signature(path):
            return f"{row['id']}: {row['file_name']} {fault}"
        if sha256(path) != row["sha256"]:
            return f"{row['id']}: {row['file_name']} is not the picture that was committed"
        if fault := decoding_fault(path, (recipe.width, recipe.height)):
            return f"{row['id']}: {row['file_name']} {fault}"
        return None

    def _signature(self, path: Path) -> str | None:
        """Count a picture's signature; returns what is wrong with one that does not fit it, or None."""
        if self.signature is None:
            return None
        signature = self.signature(path.read_bytes(), self.ending)
        self.signatures[signature.state] += 1
        return str(signature) if signature.state is State.TAMPERED else None

    def _receipt(self, rules: Rules) -> None:
        """Hold the shard against its receipt. Without one it is not done, and pictures may be ahead of their rows."""
        try:
            facts = receipt(self.folder)
            if facts is None:
                self._strange(rules)
                return
            if facts.fingerprint != self.raw.fingerprint:
                self.faults.append(f"{self.folder}: was made by another recipe")
            if missing := set(facts.asked) - self._ids - set(facts.unfilled):
                first = min(missing)
                self.faults.append(f"{self.folder}: {len(missing)} rows of the receipt are missing, {first} first")
            require_sound(self.folder)
            if not self.faults:
                self._compare(facts, rules)
        except Damaged as error:
            self.faults.append(error.fault)
        for path in self._pictures_but(self.sound):
            self.faults.append(f"{path}: a picture without a sound row")

    def _strange(self, rules: Rules) -> None:
        """Find pictures that no sample of an unfinished shard will ever have."""
        for path in self._pictures_but(self.sound):
            if path.stem not in rules.whole and not path.name.startswith("."):
                self.faults.append(f"{path}: a picture of no sample of this shard")

    @property
    def _ids(self) -> set[str]:
        return {row["id"] for row in self.lines.made}

    def _compare(self, facts: Receipt, rules: Rules) -> None:
        """Find where a receipt says anything else than one of these lines and pictures would."""
        own = {key: getattr(facts, key) for key in ("fingerprint", "versions", "finished")}
        right = Receipt.of(self.folder, self.lines.made, self.lines.tries, rules, **own)
        for key, value in right:
            if getattr(facts, key) != value:
                self.faults.append(f"{self.folder / RECEIPT}: `{key}` is not that of the shard")

    def _pictures_but(self, names: set[str]) -> list[Path]:
        images = self.folder / IMAGES
        return sorted(path for path in images.iterdir() if path.name not in names) if is_folder(images) else []

    def repair(self) -> None:
        """Keep what is sound, move the rest aside, and take the receipt back: the next run completes the shard."""
        aside = _aside(self.folder)
        for path in [*self.misplaced, *self._pictures_but(self.sound)]:
            path.rename(_free(aside / path.name))
        for lines in (self.lines.rows, self.lines.rejected):
            if lines.faults:
                _move_lines(lines, aside)
        if os.path.lexists(self.folder / RECEIPT):
            (self.folder / RECEIPT).rename(_free(aside / RECEIPT))


def decoding_fault(path: Path, size: tuple[int, int]) -> str | None:
    """Return why a picture is none of this size, or None; one that is far too large is not decoded."""
    try:
        with _without_warnings(), Image.open(path) as image:
            if image.size != size:
                return "is {}×{}, the recipe says {}×{}".format(*image.size, *size)
            image.load()
    except Exception as error:  # decoders of damaged files raise anything
        return f"does not decode: {shortened(' '.join(str(error).split()) or type(error).__name__, 80)}"
    return None


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Pillow warns of large pictures, which are a fault here if they are another size than the recipe's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def _move_lines(lines: Lines, aside: Path) -> None:
    """Move what is faulty of a file to the end of the one of its name that lies aside."""
    bad = {fault.number for fault in lines.faults}
    numbered = list(enumerate(split(lines.path.read_bytes()), 1))
    place = aside / lines.path.name
    with open(place if is_file(place) else _free(place), "ab") as file:
        file.writelines(line for number, line in numbered if number in bad)
    with atomic(lines.path) as file:
        file.writelines(line for number, line in numbered if number not in bad)


def _aside(folder: Path) -> Path:
    """Return where something of a folder is set aside: a folder of its own, never what a link leads to."""
    place = folder / SET_ASIDE
    place = place if is_folder(place) else _free(place)
    place.mkdir(exist_ok=True)
    return place


def _free(path: Path) -> Path:
    """Return the path, or the first with a number that nothing has: what was set aside before stays."""
    numbered = (path.with_stem(f"{path.stem}-{n}") for n in itertools.count(2))
    return next(place for place in itertools.chain([path], numbered) if not os.path.lexists(place))
