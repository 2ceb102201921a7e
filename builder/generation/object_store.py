"""What a run shares with others by an object store, which each sees from its own machine.

On a folder, locks say who is at which shard. On a store nobody knows: a shard may be made twice, and the first receipt
counts. So whoever has done his own share helps at those shards of others that they would come to last.
"""

from __future__ import annotations

import hashlib
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from builder.common.address import Address
from builder.engine.engine import Engine
from builder.generation import deduplication
from builder.generation.exchange import Folder
from builder.generation.process import Rank
from builder.plan.plan import Plan, Shard
from builder.raw.layout import REJECTED, ROWS
from builder.raw.notes import Loser
from builder.raw.recipe import BuildRecipe
from builder.raw.rejected_pictures import RejectedPictures
from builder.raw.row_count import RowCount
from builder.raw.shard_writer import Locked
from builder.storage.build import StoredBuild
from builder.storage.store import Store
from builder.storage.workspace import become, settle

ANSWER = 300.0
"""Seconds that others wait for the first process's search for duplicates before they search themselves."""
PAUSE = 2.0
"""Seconds between two looks whether the answer is there."""


class ObjectStore(Folder):
    """An object store; the folder is this machine's workspace."""

    raw: StoredBuild

    def __init__(self, address: Address, folder: Path, plan: Plan, rank: Rank, rejects: RejectedPictures):
        super().__init__(folder, plan, rank, rejects)
        self.store = Store(address)
        self.patience = ANSWER

    def recorded(self) -> BuildRecipe | None:
        self.there = settle(self.store)
        return self.there

    def build(self, recipe: BuildRecipe) -> StoredBuild:
        self.raw = StoredBuild(self.folder, recipe, self.store)
        if self.there is not None:
            self.raw.require_recipe(self.there)
        self.raw.catalog.refresh(now=True)
        return self.raw

    def begin(self) -> None:
        if self.there is None:
            become(self.folder, self.raw.recipe)
        super().begin()
        self.raw.publish_recipe()

    def order(self) -> Iterator[Shard]:
        """Yield this process's shards, those that are begun here first and the others from a place that is this
        machine's, since others may have the same number, or none; then those of each other process from its far end,
        the next one's first, so that those who help do not all take the same.
        """
        shards, index, count = self.plan.shards, self.rank.index, self.rank.count
        own = shards[index::count]
        begun = [shard for shard in own if (self.raw.shard_folder(shard) / ROWS).exists()]
        start = _place(len(own))
        yield from dict.fromkeys([*begun, *own[start:], *own[:start]])
        for step in range(1, count):
            yield from reversed(shards[(index + step) % count :: count])

    def prepare(self, shard: Shard) -> bool:
        self.raw.catalog.refresh()
        if self.raw.is_done(self.plan, shard):
            return False
        try:
            self.raw.prepare(shard)
            if losers := self.raw.losers(shard):
                self._take_back(shard, losers)
        except Locked:
            return False
        return True

    def deliver(self, shard: Shard) -> None:
        self.raw.deliver(shard)

    def settle(self, stop: bool) -> None:
        self.raw.wait_for_deliveries(stop)
        self.raw.catalog.refresh(now=True)

    def look(self) -> None:
        self.raw.catalog.refresh(now=True)

    def resume(self) -> None:
        """What is half done is in the store, and found there."""
        self.look()

    def take_back(self, engine: Engine | None = None) -> int | None:
        """Decide, once for all processes, which pictures go back, and return how many: whoever opens their shards next
        takes them back. 0 where there is nothing more to decide, None where not all is there.
        """
        raw, criteria = self.raw, self.plan.spec.checks.duplicates
        raw.catalog.refresh(now=True)
        if not all(raw.is_done(self.plan, shard) for shard in self.plan.shards):
            return None
        if criteria is None:
            return 0
        if others := [raw.shards[name] for name in raw.catalog.undone() if name in raw.shards]:
            self._finish(others)
            return None
        digest = raw.catalog.digest()
        if raw.catalog.is_searched(digest, self.plan.twins) or self._is_answered(digest):
            return 0 if raw.catalog.is_searched(digest, self.plan.twins) else None
        with raw.lock():
            lines, finished = raw.all_lines()
            if finished.digest != digest:
                return None
            losers = deduplication.decide(lines, self.plan, finished, criteria, engine)
        if not losers:
            raw.catalog.note_searched(digest, self.plan.twins)
            return 0
        raw.catalog.note_decision(digest, losers)
        return sum(map(len, losers.values()))

    def counter(self) -> Callable[[], tuple[int, int]]:
        """Return what counts what is in the store, and what this machine has made beyond it."""
        rows, rejected = RowCount(self.folder), RowCount(self.folder, REJECTED)

        def count() -> tuple[int, int]:
            self.raw.catalog.refresh()
            numbers = [self.raw.count(shard) or (rows([shard]), rejected([shard])) for shard in self.plan.shards]
            return sum(made for made, _ in numbers), sum(tries for _, tries in numbers)

        return count

    def _is_answered(self, digest: str) -> bool:
        """Wait a while for the first process's answer; returns True where something is decided, or all is different."""
        limit = time.monotonic() + (self.patience if self.rank.index else 0)
        while time.monotonic() < limit:
            time.sleep(PAUSE)
            self.raw.catalog.refresh(now=True)
            if self.raw.catalog.is_searched(digest, self.plan.twins) or self.raw.catalog.undone():
                return True
            if self.raw.catalog.digest() != digest:
                return True
        self.patience = 0.0  # who was not there once is not waited for again
        return False

    def _take_back(self, shard: Shard, losers: dict[str, Loser]) -> None:
        """Take back what was decided of this machine's copy of a shard; the next one to open it makes it again."""
        deduplication.take_back_of(self.raw, self.plan, shard, losers, self.rejects)
        self.raw.note_taken_back(shard)

    def _finish(self, shards: list[Shard]) -> None:
        """Take back what another run has decided of shards of which this one wants nothing, and send them so. Raises
        Locked where another process is at one of them.
        """
        busy: Locked | None = None
        for shard in shards:
            try:
                self.raw.prepare(shard)
                if losers := self.raw.losers(shard):
                    self._take_back(shard, losers)
                    self._finish_as_it_is(shard)
            except Locked as error:
                busy = error
        self.raw.wait_for_deliveries()
        if busy:
            raise busy

    def _finish_as_it_is(self, shard: Shard) -> None:
        stored = self.raw.catalog.receipt(shard.name)
        versions = stored.receipt.versions if stored else {}
        with self.raw.writer(self.plan, shard, deduplication.PATIENCE) as writer:
            finished = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            writer.finish(fingerprint=self.raw.fingerprint, versions=versions, finished=finished)
        self.raw.deliver(shard)


def _place(count: int) -> int:
    """Return a number below `count` that is this machine's, always the same."""
    machine = f"{socket.gethostname()} {uuid.getnode()}"
    return int.from_bytes(hashlib.sha256(machine.encode()).digest()[:8]) % count if count else 0
