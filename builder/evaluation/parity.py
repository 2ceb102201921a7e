"""Make a parity pack: generated pictures of a release and real photographs, encoded alike.

A detector of fakes that is trained on PNG files of 512 × 512 pixels against photographs learns the file format. In a
pack both kinds went one way (`parity_chain`), and each picture has a partner of the other kind with the same split, the
same quality and nearly as many bytes (`parity_pairs`). It appears when it is whole, and never takes the place of
anything. Of all pictures only what is said of them is held in memory.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image

from builder.checks.duplicates import perceptual_hash
from builder.common.errors import UserError, printable
from builder.common.files import atomic, sync, sync_folder
from builder.common.progress import counted, duration, heartbeat, progress_bar
from builder.dataset import folder
from builder.evaluation import parity_pairs, parity_readme
from builder.evaluation.parity_chain import Draws, Unfit, cut, encode, seen
from builder.evaluation.parity_pairs import Encoded
from builder.evaluation.parity_sources import Generated, Real, Source
from builder.models.face_detectors import YuNet
from builder.models.source import resolve_detector
from builder.raw import provenance
from builder.spec.criteria import YUNET

KINDS = ("generated", "real")
QUALITIES = (75, 85, 95)
LEAST_SIZE, MOST_SIZE = 32, 2048
TIME = 946_684_800
"""When every file of a pack was changed, by its own word: the first second of 2000."""
POOL = ".pool"
CANDIDATES = 4
"""Of the more frequent kind so many times as many files as of the other are encoded, to find partners among."""
NAMED = 3
THREADS = 4
UNREADABLE, AGAIN = "not readable", "the same again"


@dataclass(frozen=True)
class Settings:
    """How pictures are encoded and paired.

    `size` is the side of every picture, `qualities` are those of JPEG, of which each picture gets one, `within` is by
    what share the bytes of a pair may differ; `everything` pairs nothing. Raises UserError for what is out of range.
    """

    size: int = 256
    qualities: tuple[int, ...] = QUALITIES
    within: float = 0.02
    everything: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "qualities", tuple(sorted({*self.qualities})))
        if not LEAST_SIZE <= self.size <= MOST_SIZE:
            raise UserError(f"size: must be from {LEAST_SIZE} to {MOST_SIZE}, got {self.size}")
        if not self.qualities or not all(1 <= quality <= 100 for quality in self.qualities):
            raise UserError(f"qualities: must be whole numbers from 1 to 100, got {self.qualities}")
        if not 0 < self.within <= 1:
            raise UserError(f"within: must be above 0 and at most 1, got {self.within}")


@dataclass(frozen=True)
class LeftOut:
    """A picture that is not encoded, and why."""

    name: str
    reason: str


@dataclass
class Pack:
    """What was made: how many pictures of each kind there were, why some were left out, and what is in the pack."""

    folder: Path
    settings: Settings
    release: str
    preview: bool
    there: dict[str, int] = field(default_factory=dict)
    tried: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, Counter] = field(default_factory=lambda: {kind: Counter() for kind in KINDS})
    unreadable: list[str] = field(default_factory=list)
    encoded: dict[str, list[Encoded]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    kept: list[Encoded] = field(default_factory=list)
    _names: set[str] = field(default_factory=set)

    def add(self, kind: str, result: Encoded | LeftOut) -> None:
        """Take note of a picture. Of two that became the very same file the first counts."""
        if isinstance(result, Encoded) and result.name not in self._names:
            self._names.add(result.name)
            self.encoded[kind].append(result)
        elif isinstance(result, Encoded):
            self.left_out[kind][AGAIN] += 1
        else:
            self.left_out[kind][result.reason] += 1
            if result.reason == UNREADABLE:
                self.unreadable.append(result.name)

    def lines(self) -> Iterator[str]:
        """Say what became of each kind's pictures, and how many of which split and quality there are."""
        for kind in KINDS:
            kept = [picture for picture in self.kept if picture.kind == kind]
            told = ", ".join(self._reasons(kind, len(kept)))
            faces = sum(picture.face for picture in kept)
            left = f"; left out: {told}" if told else ""
            yield f"{kind}: {len(kept):,} of {counted(self.there[kind], 'picture')}, {faces:,} with a face{left}"
        sides = [
            f"{kind} {round(median(picture.side for picture in self.kept if picture.kind == kind)):,} px"
            for kind in KINDS
        ]
        yield f"reduced to {self.settings.size} px from squares of (median): {', '.join(sides)}"
        for title, key in (("splits", "split"), ("qualities", "quality")):
            counts = Counter((getattr(picture, key), picture.kind) for picture in self.kept)
            values = sorted({value for value, _ in counts}, key=str)
            yield f"{title} (generated + real): " + ", ".join(
                f"{value}: {counts[value, 'generated']:,} + {counts[value, 'real']:,}" for value in values
            )

    def _reasons(self, kind: str, kept: int) -> Iterator[str]:
        """Say why pictures were left out, and how many; of unreadable ones the first names."""
        for reason, count in self.left_out[kind].items():
            names = ", ".join(printable(name) for name in self.unreadable[:NAMED])
            more = ", ..." if len(self.unreadable) > NAMED else ""
            yield f"{count:,} {reason}{f' ({names}{more})' if reason == UNREADABLE else ''}"
        if alone := len(self.encoded[kind]) - kept:
            yield f"{alone:,} without a partner"
        if unseen := self.there[kind] - self.tried[kind]:
            yield f"{unseen:,} not looked at, since there are {CANDIDATES} candidates for each of the other kind"

    def __str__(self) -> str:
        notes = [parity_readme.PREVIEW] if self.preview else []
        load = f'load_dataset("imagefolder", data_dir="{self.folder.as_posix()}")'
        return "\n".join([*self.lines(), *notes, f"{self.folder} is ready: {load}"])


def make(release: Path, photographs: Path, out: Path | None, settings: Settings) -> Pack:
    """Write a pack of a release's pictures and a folder's into a new folder, which appears when it is whole.

    It lies beside the release, RELEASE-parity, unless `out` names another place. What a run that was killed has left
    beside the release is put right first.

    Raises UserError where `out` is there already, where something in the release is damaged, where no pictures are left
    of one kind, and where the disk is full; nothing of a pack is left then. Files of the folder that cannot be read are
    counted.
    """
    release, photographs = release.resolve(), photographs.resolve()
    out = out.resolve() if out else release.parent / f"{release.name}-parity"
    folder.sweep(release)
    _require_new(out, release, photographs)
    generated, real = Generated.of(release), Real.of(photographs)
    pack = Pack(out, settings, release.name, generated.release.preview)
    out.parent.mkdir(parents=True, exist_ok=True)
    with folder.alone(out):
        folder.remove_leftovers(out)
        _require_new(out, release, photographs)
        stage, _ = folder.beside(out)
        try:
            with _room(stage):
                _write(stage, pack, generated, real)
                stage.rename(out)
        except BaseException:
            shutil.rmtree(stage, ignore_errors=True)
            raise
    sync_folder(out.parent)
    return pack


def _require_new(out: Path, release: Path, photographs: Path) -> None:
    """Raise UserError where anything is at `out` already, or where it would be among what it is made of."""
    for place in (release, photographs):
        if out.is_relative_to(place):
            raise UserError(f"{out}: lies in {place}, which it is made of; choose another place with --out")
    if photographs.is_relative_to(release) or release.is_relative_to(photographs):
        raise UserError(f"--real: {photographs} and {release} lie in each other, so nobody can tell what is real")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out}: is there already, and is not replaced; move it away or use --out")


@contextmanager
def _room(stage: Path) -> Iterator[None]:
    """Say where it was that a file could not be written; the error of a full disk does not."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{stage}: cannot be written: {error.strerror}; nothing of it is left") from error


def _write(stage: Path, pack: Pack, generated: Generated, real: Real) -> None:
    for kind in KINDS:
        (stage / POOL / kind).mkdir(parents=True)
    _encode_all(stage / POOL, pack, generated, real)
    for kind in KINDS:
        if not pack.encoded[kind]:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in pack.left_out[kind].items())
            raise UserError(f"no {kind} picture is left: {reasons}; a smaller --size takes smaller ones")
    pictures = pack.encoded["real"]
    shares = generated.shares
    digests, hashes = ([getattr(picture, key) for picture in pictures] for key in ("source_sha256", "hash"))
    dealt = parity_pairs.splits(digests, hashes, shares, pack.settings.seed)
    pack.encoded["real"] = [replace(picture, split=split) for picture, split in zip(pictures, dealt)]
    pack.kept = _chosen(pack)
    _place(stage, pack.kept, list(shares))
    with atomic(stage / "manifest.jsonl") as file:
        file.writelines(parity_readme.line(picture) for picture in pack.kept)
    with atomic(stage / "README.md") as file:
        file.write(parity_readme.text(pack.settings, pack.release, pack.preview, pack.lines()).encode())
    sync_folder(stage)


def _chosen(pack: Pack) -> list[Encoded]:
    """Return the pictures of a pack in the order of their names, which is none of theirs."""
    settings, one, other = pack.settings, pack.encoded["generated"], pack.encoded["real"]
    if settings.everything:
        chosen = [*one, *other]
    else:
        pairs = parity_pairs.paired(one, other, settings.within, settings.seed)
        chosen = [replace(picture, pair=number) for number, pair in enumerate(pairs) for picture in pair]
    if not chosen:
        raise UserError(
            f"none of {len(one):,} generated and {len(other):,} real pictures have a partner of the same split and "
            "quality and nearly as many bytes; more pictures, fewer --qualities or a larger --bytes-within finds some"
        )
    return sorted(chosen, key=lambda picture: picture.name)


def _place(stage: Path, kept: Iterable[Encoded], splits: list[str]) -> None:
    """Move what was chosen into its place, and remove the rest."""
    for split in splits:
        for kind in KINDS:
            (stage / split / kind).mkdir(parents=True)
    for picture in kept:
        name = f"{picture.name}.jpg"
        (stage / POOL / picture.kind / name).rename(stage / picture.split / picture.kind / name)
    shutil.rmtree(stage / POOL)
    for split in splits:
        for place in (*(stage / split / kind for kind in KINDS), stage / split):
            if not any(place.iterdir()):
                place.rmdir()
                continue
            sync_folder(place)
            os.utime(place, (TIME, TIME))


# Encoding.


def _encode_all(pool: Path, pack: Pack, generated: Generated, real: Real) -> None:
    """Encode the candidates of both kinds into the pool."""
    settings, names = pack.settings, {"generated": list(generated.ids), "real": real.names}
    pack.there = {kind: len(names[kind]) for kind in KINDS}
    most = max(pack.there.values()) if settings.everything else CANDIDATES * min(pack.there.values())
    chosen = {kind: parity_pairs.sample(names[kind], most, settings.seed) for kind in KINDS}
    pack.tried = {kind: len(chosen[kind]) for kind in KINDS}
    if real.links:
        pack.left_out["real"]["links, which are not followed"] = real.links
    model = resolve_detector(YUNET, "")
    encoder = _Encoder(pool, settings, YuNet(Path(model.location, model.file)))
    filtered = [
        ("generated", _Known(set()).filtered(generated.read(chosen["generated"]))),
        ("real", _Known(generated.digests).filtered(real.read(chosen["real"]))),
    ]
    total, done, started = sum(pack.tried.values()), 0, time.monotonic()
    with (
        progress_bar(total=total, desc="parity", unit="picture") as bar,
        heartbeat(lambda: _line(done, total, time.monotonic() - started)),
    ):
        for kind, sources in filtered:
            for result in _in_order(encoder.encode, sources):
                pack.add(kind, result)
                bar.update()
                done += 1


def _line(done: int, total: int, seconds: float) -> str:
    left = f", {done / seconds:.1f}/s, {duration(seconds / done * (total - done))} left" if done and seconds else ""
    return f"parity: {done:,} of {counted(total, 'picture')}{left}"


class _Known:
    """The files that were there already: a picture that is there twice counts once."""

    def __init__(self, released: set[str]):
        self.released = released
        self.sources: set[str] = set()

    def filtered(self, sources: Iterable[Source | str]) -> Iterator[Source | LeftOut]:
        """Yield what is new, and of the rest why it is left out."""
        for source in sources:
            if isinstance(source, str):
                yield LeftOut(source, UNREADABLE)
            elif source.sha256 in self.released:
                yield LeftOut(source.name, "of the release itself")
            elif source.sha256 in self.sources:
                yield LeftOut(source.name, AGAIN)
            else:
                self.sources.add(source.sha256)
                yield source


@dataclass(frozen=True)
class _Encoder:
    """Encodes pictures into the pool; any number of threads may use it."""

    pool: Path
    settings: Settings
    detector: YuNet

    def encode(self, source: Source | LeftOut) -> Encoded | LeftOut:
        """Write a picture's file, unless it is not fit for a pack."""
        if isinstance(source, LeftOut):
            return source
        draws = Draws.of(source.sha256, self.settings.size, self.settings.qualities, self.settings.seed)
        try:
            data, face, side, looks = self._encoded(source, draws)
        except Unfit as reason:
            return LeftOut(source.name, str(reason))
        except Exception as error:  # Pillow may raise anything for a file that is broken or hostile
            if source.kind == "generated":
                raise UserError(
                    f"the picture of {source.name} cannot be read: {error}; `agfd30k lint` says more"
                ) from error
            return LeftOut(source.name, UNREADABLE)
        name = self._save(source.kind, data)
        return Encoded(
            kind=source.kind,
            source=source.name,
            source_sha256=source.sha256,
            name=name,
            bytes=len(data),
            quality=draws.quality,
            first_quality=draws.first_quality,
            face=face,
            side=side,
            split=source.split,
            hash=looks,
        )

    def _encoded(self, source: Source, draws: Draws) -> tuple[bytes, bool, int, str]:
        """Return a picture's file, whether it has a face, its square's side, and of a real one what it looks like."""
        with Image.open(io.BytesIO(source.data)) as image:
            if source.kind == "real" and provenance.marked_model(image) is not None:
                raise Unfit("marked as machine-made")
            image.load()
            picture = seen(image)
        square, face = cut(picture, self.detector, self.settings.size)
        looks = perceptual_hash(picture.reduce(max(1, min(picture.size) // 256))) if source.kind == "real" else ""
        return encode(square, draws, self.settings.size), face, square.width, looks

    def _save(self, kind: str, data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()[:16]
        path = self.pool / kind / f"{name}.jpg"
        with open(path, "wb") as file:
            file.write(data)
            sync(file)
        os.utime(path, (TIME, TIME))
        return name


def _in_order(work: Any, sources: Iterator[Any]) -> Iterator[Any]:
    """Yield the results of some work in the order of its sources, of which only a few are held."""
    threads = min(THREADS, os.cpu_count() or 1)
    waiting: deque[Future] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for source in sources:
                waiting.append(pool.submit(work, source))
                if len(waiting) >= 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
