"""What a store holds of a build: the newest receipt of every shard, and what was decided about duplicates.

It is known from two listings, which are asked for now and then, and from objects that never change once they are there,
which are kept in the workspace.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from builder.common.documents import Document, Malformed, parse_sealed, sealed
from builder.common.errors import UserError
from builder.common.files import atomic
from builder.raw.notes import Decided
from builder.raw.receipts import Receipt
from builder.raw.rows import Count, Sha256
from builder.storage.store import Store

RECEIPTS, PARTS = "receipts", "parts"
NAME = re.compile(r"([a-z0-9_]+(?:-[a-z0-9_]+)*-\d{5,})-(\d{4,})\.json")
"""A receipt: its shard, and its revision."""
DECISION = re.compile(r"duplicates-([0-9a-f]{32})\.json")
SEARCH = re.compile(r"searched-([0-9a-f]{32})(-twins)?\.json")
OFTEN = 1.0
"""Seconds between two listings, at least; they are twenty times what a listing takes."""
THREADS = 16
"""Small objects that are asked for at once."""
D = TypeVar("D", bound=Document)


class Part(Document):
    """A part: its digest, by which it is named, and its size."""

    sha256: Sha256
    bytes: int


class StoredReceipt(Document):
    """receipts/SHARD-REVISION.json: a shard's receipt, and the part that it is the receipt of."""

    receipt: Receipt
    part: Part
    digest: str

    @classmethod
    def data(cls, facts: Receipt, part: Part) -> bytes:
        """Return the object's bytes."""
        values = {"receipt": facts.model_dump(mode="json"), "part": part.model_dump(mode="json")}
        return json.dumps(sealed(values), indent=1).encode()


class Decision(Decided):
    """duplicates-DIGEST.json: what goes back, by shard, and the revisions of these shards that it was decided for."""

    revisions: dict[str, Count]


@dataclass(frozen=True)
class Newest:
    """The newest receipt of a shard: its revision, and a word that changes when the object does."""

    revision: int
    tag: str


def receipt_name(shard: str, revision: int) -> str:
    """Return the name of a receipt."""
    return f"{RECEIPTS}/{shard}-{revision:04d}.json"


def part_name(shard: str, part: Part) -> str:
    """Return the name of a part."""
    return f"{PARTS}/{shard}-{part.sha256[:32]}.parquet"


class Catalog:
    """What is known of a store; `refresh` asks again. Safe to use from several threads."""

    def __init__(self, store: Store, folder: Path):
        self.store = store
        self.cache = folder
        self.newest: dict[str, Newest] = {}
        self.decisions: dict[str, Decision] = {}
        self.searched: set[tuple[str, bool]] = set()
        self.own: dict[str, bytes] = {}
        self.next = self.listed = 0.0
        self.lock = threading.RLock()

    def refresh(self, now: bool = False) -> None:
        """List the store, unless that was done a moment ago; what is new there is read."""
        with self.lock:
            started, listed = time.monotonic(), time.time()
            if started < self.next and not now:
                return
            newest: dict[str, Newest] = {}
            for name, tag in self.store.list(RECEIPTS).items():
                if (found := NAME.fullmatch(name)) and int(found[2]) > newest.get(found[1], Newest(0, "")).revision:
                    newest[found[1]] = Newest(int(found[2]), tag)
            names = self.store.list()
            self._read_all(newest)
            self.newest = newest
            for name, tag in names.items():
                if (found := DECISION.fullmatch(name)) and found[1] not in self.decisions:
                    self.decisions[found[1]] = self._read(Decision, name, tag)
            searches = filter(None, map(SEARCH.fullmatch, names))
            self.searched = {(found[1], bool(found[2])) for found in searches}
            self.listed = listed
            self.next = time.monotonic() + max(OFTEN, 20 * (time.monotonic() - started))

    def note(self, shard: str, revision: int, data: bytes | None = None) -> None:
        """Remember that there is such a receipt, which has just been found, or written with this `data`."""
        with self.lock:
            if data is not None and self.store.can_create:
                self.own[receipt_name(shard, revision)] = data
            if revision > self.revision(shard):
                self.newest[shard] = Newest(revision, "")

    def revision(self, shard: str) -> int:
        """Return the newest revision of a shard, 0 for none."""
        found = self.newest.get(shard)
        return found.revision if found else 0

    def receipt(self, shard: str) -> StoredReceipt | None:
        """Return the newest receipt of a shard, None for none. Raises UserError for one that is damaged."""
        found = self.newest.get(shard)
        if found is None:
            return None
        return self._read(StoredReceipt, receipt_name(shard, found.revision), found.tag)

    def losers(self, shard: str, revision: int) -> Decided | None:
        """Return the decision that takes pictures of this revision of a shard back, None where nothing does."""
        with self.lock:
            open_ones = (d for d in self.decisions.values() if d.revisions.get(shard) == revision and revision)
            return next(open_ones, None)

    def undone(self) -> set[str]:
        """Return the shards of which something is still to be taken back."""
        with self.lock:
            return {
                shard
                for decision in self.decisions.values()
                for shard, revision in decision.revisions.items()
                if self.revision(shard) == revision
            }

    def digest(self) -> str:
        """Return one digest of all that is finished, like `Finished.digest`."""
        names = sorted(self.newest, key=lambda name: (name.rpartition("-")[0], len(name), name))
        facts = ((name, self.receipt(name)) for name in names)
        lines = "".join(f"{name} {stored.receipt.sha256}\n" for name, stored in facts if stored)
        return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"

    def is_searched(self, digest: str, twins: bool) -> bool:
        """Return True where no duplicates are among what has this digest; and no stale `twins`, where they matter."""
        key = short(digest)
        return (key, True) in self.searched or (not twins and (key, False) in self.searched)

    def note_searched(self, digest: str, twins: bool) -> None:
        """Say in the store that nothing is a duplicate among what has this digest."""
        name = f"searched-{short(digest)}{'-twins' if twins else ''}.json"
        self.store.create(name, json.dumps(sealed({"rows": digest, "twins": twins})).encode())
        with self.lock:
            self.searched.add((short(digest), twins))

    def note_decision(self, digest: str, losers: dict[str, dict[str, dict[str, object]]]) -> None:
        """Say in the store what goes back of what has this digest; who has said so before is right."""
        revisions = {shard: self.revision(shard) for shard in losers}
        data = json.dumps(sealed({"losers": losers, "revisions": revisions})).encode()
        self.store.create(f"duplicates-{short(digest)}.json", data)
        self.refresh(now=True)

    def _read_all(self, newest: dict[str, Newest]) -> None:
        """Get the receipts that are not in the workspace, many at once."""
        wanted = [(receipt_name(shard, found.revision), found.tag) for shard, found in newest.items()]
        missing = [(name, tag) for name, tag in wanted if not self._kept(name, tag).exists()]
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(lambda each: self._read(StoredReceipt, *each), missing):
                pass

    def _kept(self, name: str, tag: str) -> Path:
        return self.cache / f"{name}.{tag}"

    def _read(self, kind: type[D], name: str, tag: str) -> D:
        """Return an object, from the workspace where it was kept there. Raises UserError for a damaged one."""
        kept = self._kept(name, tag)
        try:
            return parse_sealed(kind, kept.read_bytes())
        except (OSError, Malformed):
            pass
        data = self.own.get(name) or self.store.read(name)
        try:
            if data is None:
                raise Malformed("it has just been removed")
            found = parse_sealed(kind, data)
        except Malformed as error:
            raise UserError(
                f"{self.store.address}/{name}: damaged ({error}); nobody writes there but this tool"
            ) from None
        if tag:  # a name alone says little: a bucket may have been emptied and filled anew
            kept.parent.mkdir(parents=True, exist_ok=True)
            with atomic(kept) as file:
                file.write(data)
            self.own.pop(name, None)
        return found


def short(digest: str) -> str:
    """Return the part of a digest that names of objects have."""
    return digest.removeprefix("sha256:")[:32]
