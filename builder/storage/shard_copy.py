"""The copy of a shard in the workspace, and what is known of it: which receipt of the store it goes back to.

A workspace is a cache: whatever of it the store has newer is replaced, and half a replacement is thrown away.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from builder.common.documents import Document, Malformed, parse_sealed, sealed
from builder.common.files import atomic, sync_folder
from builder.raw.layout import IMAGES, RECEIPT, REJECTED, ROWS
from builder.raw.receipts import Receipt, receipt

BASE = ".stored"
"""In a shard: the receipt of the store that it holds, or that it was opened from."""
HALF = ".restoring"
"""In a shard while it is replaced: whatever lies there is half of something."""


class Base(Document):
    """.stored: the revision of a receipt in the store, and the digest of the shard's receipt in it.

    `is_open`: something was taken back since, so the copy will be a new revision, whatever it holds.
    """

    revision: int
    of: str
    is_open: bool = False
    digest: str


class Copy:
    """A shard's folder in a workspace. Whoever changes it holds the shard's lock."""

    def __init__(self, folder: Path):
        self.folder = folder

    @property
    def base(self) -> Base | None:
        """What the copy was restored from or sent as, None where it was begun here."""
        try:
            return parse_sealed(Base, (self.folder / BASE).read_bytes())
        except (OSError, Malformed):
            return None

    @property
    def revision(self) -> int:
        """The revision that the copy goes back to, 0 where it was begun here."""
        base = self.base
        return base.revision if base else 0

    @property
    def receipt(self) -> Receipt | None:
        """The receipt of a finished copy; None also while it is replaced."""
        return None if (self.folder / HALF).exists() else receipt(self.folder)

    @property
    def is_sent(self) -> bool:
        """True where the copy is finished, and is what its base says."""
        base, facts = self.base, self.receipt
        return bool(base and facts and facts.digest == base.of and not base.is_open)

    def note_base(self, revision: int, digest: str, is_open: bool = False) -> None:
        """Remember which receipt of the store this copy is, or goes back to."""
        with atomic(self.folder / BASE) as file:
            file.write(json.dumps(sealed({"revision": revision, "of": digest, "is_open": is_open})).encode())

    def note_open(self) -> None:
        """Remember that something was taken back of this copy."""
        if base := self.base:
            self.note_base(base.revision, base.of, is_open=True)

    def forget_base(self) -> None:
        """What the copy was sent as is not in the store any more."""
        (self.folder / BASE).unlink(missing_ok=True)

    @property
    def noted(self) -> float:
        """When the base was noted, in seconds since the epoch."""
        try:
            return (self.folder / BASE).stat().st_mtime
        except OSError:
            return 0.0

    def drop_half(self) -> None:
        """Empty a folder whose replacement was interrupted."""
        if (self.folder / HALF).exists():
            self.empty()
            (self.folder / HALF).unlink()

    def empty(self) -> None:
        """Remove the shard's files, its receipt first; what is no file of a shard stays."""
        for name in (RECEIPT, BASE, ROWS, REJECTED):
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder / IMAGES, ignore_errors=True)
        sync_folder(self.folder)

    def reopen(self) -> None:
        """Take the receipt back: the copy is not finished."""
        (self.folder / RECEIPT).unlink(missing_ok=True)
        sync_folder(self.folder)

    def replace(self, facts: Receipt, revision: int, fill: Callable[[Path], None]) -> None:
        """Replace the copy by what `fill` writes into its folder, with this receipt; the receipt comes last."""
        (self.folder / HALF).touch()
        sync_folder(self.folder)
        self.empty()
        (self.folder / IMAGES).mkdir()
        fill(self.folder)
        sync_folder(self.folder / IMAGES)
        self.note_base(revision, facts.digest)
        sync_folder(self.folder)
        (self.folder / HALF).unlink()
        with atomic(self.folder / RECEIPT) as file:
            file.write(json.dumps(facts.model_dump(mode="json"), indent=1).encode())
        sync_folder(self.folder)
