"""A raw build in a store, worked at in a folder of this machine: shards that are sent when they are finished, and
fetched where they are needed.

Nobody holds a lock in the store. Whoever creates the next receipt of a shard first has made it; who comes later,
however late, is refused and takes what is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import agfd30k
from builder.common.address import Address
from builder.common.documents import Malformed
from builder.common.errors import UserError
from builder.common.files import atomic, sha256
from builder.plan.plan import Plan, Shard
from builder.raw import ownership
from builder.raw.build import Finished, RawBuild
from builder.raw.layout import ASKED, LINES_ONLY, RECIPE, REJECTED, ROWS, SEARCHED
from builder.raw.notes import Loser
from builder.raw.receipts import Damaged, Receipt, require_sound
from builder.raw.recipe import BuildRecipe
from builder.raw.shard_writer import Locked, lock
from builder.storage import parts
from builder.storage.catalog import Catalog, Part, StoredReceipt, part_name, receipt_name
from builder.storage.faults import Unsound
from builder.storage.shard_copy import Copy
from builder.storage.store import Store
from builder.storage.transfer import TRANSFERS, Transfer
from builder.storage.workspace import settle, stored_recipe

CACHE = ".store"
"""What a workspace keeps beside the shards: receipts of the store, and lines without pictures."""
PATIENCE = 30
"""Seconds to wait for another process of this machine that has the shard."""
CLOCK = 1.0
"""Seconds by which the times of files may lag behind the clock."""
SENDING = 2
"""Shards that are sent side by side, while others are made."""


class StoredBuild(RawBuild):
    """A raw build at an address. Its `folder` is the workspace; see RawBuild for what is the same there."""

    def __init__(self, folder: Path, recipe: BuildRecipe, store: Store):
        super().__init__(folder, recipe)
        self.store = store
        self.catalog = Catalog(store, folder / CACHE)
        self.sender = ThreadPoolExecutor(SENDING, thread_name_prefix="sending")
        self.sending: list[Future[None]] = []

    @classmethod
    def at(cls, address: Address) -> StoredBuild:
        """Open the build at an address. Raises UserError where there is none, or it cannot be read."""
        store = Store(address)
        recipe = settle(store)
        if recipe is None:
            raise UserError(
                f"{address}: no raw build here (no {RECIPE}); make one with `agfd30k generate --raw {address}`"
            )
        return cls(address.workspace, recipe, store)

    def publish_recipe(self) -> None:
        """Put the recipe into the store. Raises UserError where another one is there; what changes no picture, such as
        the licence, is taken over.
        """
        if self.store.create(RECIPE, str(self.recipe).encode()):
            return
        there = stored_recipe(self.store)
        self.require_recipe(there)
        if there and there.document() != self.recipe.document():
            self.store.replace(RECIPE, str(self.recipe).encode())

    def require_free(self) -> None:
        """A workspace is a cache, and becomes this build's when something is made; see `require_recipe`."""

    def require_recipe(self, there: BuildRecipe | None) -> None:
        """Raise UserError where the store's recipe is another one than this build's."""
        if there is None or there.fingerprint != self.fingerprint:
            differences = "; ".join(there.differences(self.recipe)) if there else "its recipe has just gone"
            raise UserError(
                f"{self.store.address} was made by another recipe ({differences}): choose another place with --raw"
            )

    def note_asked(self, plan: Plan) -> None:
        """Remember what the latest run was asked to make, in the store too."""
        super().note_asked(plan)
        data = (self.folder / ASKED).read_bytes()
        if self.store.read(ASKED) != data:
            self.store.replace(ASKED, data)

    def is_done(self, plan: Plan, shard: Shard) -> bool:
        """Return True when everything that a plan asks of a shard is accounted for in the store, and nothing of it is
        to be taken back.
        """
        ids = set(plan.ids(shard))
        if not ids:
            return True
        revision = self._revision(shard)
        if not revision or self.catalog.losers(shard.name, revision):
            return False
        stored = self.catalog.receipt(shard.name)
        return stored is not None and ids.issubset(stored.receipt.asked)

    def count(self, shard: Shard) -> tuple[int, int] | None:
        """Return how many rows and rejected tries a shard has in the store; None while it is not there, or this machine
        works at it.
        """
        newest = self.catalog.revision(shard.name)
        copy = Copy(self.shard_folder(shard))
        if not newest or (copy.revision >= newest and (copy.folder / ROWS).exists()):
            return None
        stored = self.catalog.receipt(shard.name)
        return (stored.receipt.rows, stored.receipt.rejected) if stored else None

    def prepare(self, shard: Shard) -> None:
        """Make this machine's copy of a shard one to go on with: send what is finished and was not sent, and fetch what
        the store has newer. Raises Locked where another process has the shard.
        """
        folder = self.shard_folder(shard)
        folder.mkdir(parents=True, exist_ok=True)
        with _held(folder, 0):
            copy = Copy(folder)
            copy.drop_half()
            if copy.revision > self._revision(shard):
                copy.forget_base()
            if copy.receipt and not copy.is_sent:
                self._send(shard)
            if not self._is_newest(shard):
                self._restore(shard)

    def deliver(self, shard: Shard) -> None:
        """Send a finished shard, in a thread of its own. Raises what went wrong with one before it."""
        if any(future.done() and future.exception() for future in self.sending):
            self.wait_for_deliveries(stop=True)
        self.sending = [future for future in self.sending if not future.done()]
        self.sending.append(self.sender.submit(self._deliver, shard))

    def wait_for_deliveries(self, stop: bool = False) -> None:
        """Return when all finished shards are sent; `stop`: those that are under way. Raises what went wrong."""
        waiting, self.sending = self.sending, []
        try:
            for future in waiting:
                if not (stop and future.cancel()):
                    future.result()
        finally:
            for future in waiting:
                future.cancel()

    def first_tries(self, shard: Shard) -> dict[str, int]:
        """Return which try each twin of a finished shard's pictures begins with; the store's lines tell."""
        return self.lines_of([shard]).first_tries(shard)

    def losers(self, shard: Shard) -> dict[str, Loser]:
        """Return what is to be taken back of this machine's copy of a shard, by id."""
        decision = self.catalog.losers(shard.name, Copy(self.shard_folder(shard)).revision)
        return dict(decision.losers[shard.name]) if decision else {}

    def note_taken_back(self, shard: Shard) -> None:
        """Remember that what goes back of a shard is gone: this machine's copy is another one now."""
        Copy(self.shard_folder(shard)).note_open()

    def lines_of(self, shards: Iterable[Shard]) -> RawBuild:
        """Return a raw build of the finished lines of some shards, as the store has them, without pictures."""
        lines = RawBuild(self.folder / CACHE / "lines", self.recipe)
        if not (lines.folder / RECIPE).exists():
            lines.folder.mkdir(parents=True, exist_ok=True)
            (lines.folder / LINES_ONLY).touch()
            ownership.take(lines.folder, self.recipe)
        with ThreadPoolExecutor(TRANSFERS) as pool:
            for _ in pool.map(lambda shard: self._fetch_lines(shard, Copy(lines.shard_folder(shard))), shards):
                pass
        return lines

    def all_lines(self) -> tuple[RawBuild, Finished]:
        """Return the lines of all that is finished in the store, and their receipts."""
        names = set(self.catalog.newest)
        lines = self.lines_of([shard for name, shard in self.shards.items() if name in names])
        for folder in agfd30k.shards(lines.folder):
            if folder.name not in names:
                Copy(folder).reopen()
        return lines, lines.finished()

    def fetch(self, anew: bool = False) -> list[str]:
        """Make the workspace hold all that is finished in the store, and nothing else that is finished. `anew`: also
        what it holds already is read again from the store, and what is wrong with parts is returned, by line, not
        raised.
        """
        self.catalog.refresh(now=True)
        self._require_known()
        shards = [self.shards[name] for name in self.catalog.newest]
        others = [shard for shard in self.shards.values() if shard.name not in self.catalog.newest]
        for shard in others:
            self._reopen(shard)
        sizes = {shard.name: self._size(shard) for shard in shards}
        missing = [shard for shard in shards if anew or not self._is_here(shard)]
        total, fetched = sum(sizes[shard.name] for shard in missing), self._checked if anew else self._fetch
        faults: list[str] = []
        with Transfer(self.store.address, total, len(missing)) as fetching, ThreadPoolExecutor(TRANSFERS) as pool:
            for shard, fault in zip(missing, pool.map(fetched, missing)):
                faults += [fault] if fault else []
                fetching.add(sizes[shard.name])
        self._fetch_notes()
        return faults

    def _is_here(self, shard: Shard) -> bool:
        return self._is_newest(shard) and Copy(self.shard_folder(shard)).is_sent

    def _checked(self, shard: Shard) -> str | None:
        """Fetch a shard whatever is here; return what is wrong with its part in the store."""
        try:
            self._fetch(shard, anew=True)
        except Unsound as error:
            return str(error)
        return None

    def _require_known(self) -> None:
        if strangers := [name for name in self.catalog.newest if name not in self.shards]:
            raise UserError(
                f"{self.store.address}: {receipt_name(min(strangers), 1)} is of no shard of this build's plan; move it "
                "elsewhere"
            )

    def _fetch_notes(self) -> None:
        """Write the notes beside the shards as the store has them."""
        asked = self.store.read(ASKED)
        if asked is not None:
            with atomic(self.folder / ASKED) as file:
                file.write(asked)
        finished = self.finished()
        for twins in (True, False):
            if self.catalog.is_searched(finished.digest, twins):
                self.note_searched(finished, twins)
                return
        (self.folder / SEARCHED).unlink(missing_ok=True)

    def _reopen(self, shard: Shard) -> None:
        """What is finished here and not in the store is not finished."""
        folder = self.shard_folder(shard)
        if Copy(folder).receipt:
            with _held(folder, PATIENCE):
                Copy(folder).reopen()

    def _size(self, shard: Shard) -> int:
        stored = self.catalog.receipt(shard.name)
        return stored.part.bytes if stored else 0

    def _fetch(self, shard: Shard, anew: bool = False) -> None:
        """Make this machine's copy of a shard what the store has; one that is finished and was not sent is sent."""
        folder = self.shard_folder(shard)
        folder.mkdir(parents=True, exist_ok=True)
        with _held(folder, PATIENCE):
            copy = Copy(folder)
            copy.drop_half()
            if copy.receipt and not copy.is_sent and self._is_newest(shard):
                self._send(shard)
            if anew or not self._is_here(shard):
                self._restore(shard)

    def _revision(self, shard: Shard) -> int:
        """Return the newest revision of a shard in the store, listed again where a process of this machine has sent a
        newer one since.
        """
        copy = Copy(self.shard_folder(shard))
        if copy.revision > self.catalog.revision(shard.name) and copy.noted >= self.catalog.listed - CLOCK:
            self.catalog.refresh(now=True)
        return self.catalog.revision(shard.name)

    def _is_newest(self, shard: Shard) -> bool:
        """Return True unless the store has another receipt than the one that this machine's copy goes back to."""
        base, stored = Copy(self.shard_folder(shard)).base, self.catalog.receipt(shard.name)
        if base is None or stored is None:
            return base is None and stored is None
        return (base.revision, base.of) == (self.catalog.revision(shard.name), stored.receipt.digest)

    def _deliver(self, shard: Shard) -> None:
        """Send a shard that is finished and not sent yet; who holds it now does so too."""
        folder = self.shard_folder(shard)
        try:
            with _held(folder, PATIENCE):
                copy = Copy(folder)
                if copy.receipt and not copy.is_sent:
                    self._send(shard)
        except Locked:
            return

    def _send(self, shard: Shard) -> None:
        """Send a finished shard: its part, then its receipt, unless somebody has made the shard before. What is there
        then is right, and this copy is dropped.
        """
        copy = Copy(self.shard_folder(shard))
        facts, revision = require_sound(copy.folder), copy.revision + 1
        name = receipt_name(shard.name, revision)
        if self.catalog.revision(shard.name) < revision:
            data = StoredReceipt.data(facts, self._send_part(shard))
            is_ours = self.store.create(name, data)
        else:
            is_ours = False
        if is_ours or self._is_same(name, facts):
            copy.note_base(revision, facts.digest)
        else:
            copy.empty()
        self.catalog.note(shard.name, revision, data if is_ours else None)

    def _send_part(self, shard: Shard) -> Part:
        path = self._temporary(shard)
        try:
            parts.write(self.shard_folder(shard), path)
            part = Part(sha256=sha256(path), bytes=path.stat().st_size)
            self.store.create_file(part_name(shard.name, part), path)
        finally:
            path.unlink(missing_ok=True)
        return part

    def _is_same(self, name: str, facts: Receipt) -> bool:
        """Return True where the receipt that lies there is of a shard that is the same, made by another process."""
        there = self.store.read(name)
        try:
            return there is not None and StoredReceipt.parse(there).receipt.digest == facts.digest
        except Malformed:
            return False

    def _restore(self, shard: Shard) -> None:
        """Replace this machine's copy of a shard by what the store has."""
        stored = self.catalog.receipt(shard.name)
        if stored is None:
            return
        name, path = part_name(shard.name, stored.part), self._temporary(shard)
        try:
            if self.store.fetch(name, path) != stored.part.sha256:
                raise Unsound(f"{self.store.address}/{name}: damaged: not what its receipt was written for")
            with _sound(f"{self.store.address}/{name}"):
                copy = Copy(self.shard_folder(shard))
                revision = self.catalog.revision(shard.name)
                copy.replace(stored.receipt, revision, lambda folder: parts.restore(path, folder))
        finally:
            path.unlink(missing_ok=True)

    def _fetch_lines(self, shard: Shard, copy: Copy) -> None:
        """Make a copy hold the lines of a shard as the store has them."""
        stored = self.catalog.receipt(shard.name)
        if stored is None:
            return
        copy.folder.mkdir(parents=True, exist_ok=True)
        with _held(copy.folder, PATIENCE):
            copy.drop_half()
            if (facts := copy.receipt) and facts == stored.receipt:
                return
            lines = self._lines(shard, stored)
            copy.replace(stored.receipt, self.catalog.revision(shard.name), lambda folder: _write(folder, lines))

    def _lines(self, shard: Shard, stored: StoredReceipt) -> parts.Lines:
        """Return the lines of a shard as the store has them; from this machine's copy, where that is the same."""
        own = self.shard_folder(shard)
        lines = parts.Lines(b"", b"")
        try:
            if Copy(own).receipt == stored.receipt:
                lines = parts.Lines((own / ROWS).read_bytes(), (own / REJECTED).read_bytes())
        except (OSError, Damaged):
            pass
        if lines.fits(stored.receipt):
            return lines
        name = part_name(shard.name, stored.part)
        with _sound(f"{self.store.address}/{name}"):
            lines = self.store.read_part(name, stored.part.bytes, parts.read_lines)
            if not lines.fits(stored.receipt):
                raise Malformed("not what its receipt was written for")
        return lines

    def _temporary(self, shard: Shard) -> Path:
        """Return where a part lies on its way, under the shard's lock: what a kill leaves there is overwritten."""
        folder = self.folder / CACHE / "parts"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{shard.name}.parquet"


def fetch(address: Address) -> StoredBuild:
    """Bring all that is finished at an address into its workspace; returns the build."""
    build = StoredBuild.at(address)
    build.fetch()
    return build


def check(address: Address) -> list[str]:
    """Bring all that is finished at an address into its workspace, whatever is there already; returns what is wrong
    with parts in the store.
    """
    return StoredBuild.at(address).fetch(anew=True)


@contextmanager
def _held(folder: Path, patience: float) -> Iterator[None]:
    taken = lock(folder, patience)
    try:
        yield
    finally:
        taken.release()


@contextmanager
def _sound(where: str) -> Iterator[None]:
    try:
        yield
    except Malformed as error:
        raise Unsound(f"{where}: damaged: {error}") from None


def _write(folder: Path, lines: parts.Lines) -> None:
    (folder / ROWS).write_bytes(lines.rows)
    (folder / REJECTED).write_bytes(lines.rejections)
