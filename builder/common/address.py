"""Where a raw build lies: a folder, or an address in an object store, which has a folder of this machine to work in."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from builder.common.errors import UserError

ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
SCHEMES = ("s3", "gs", "az", "hf")
"""What an address may begin with."""
HUB = "buckets/"
"""What of the Hub is an object store: its buckets."""
SECRET = re.compile(r"[?#@]")
"""What may hold a password or a key in an address: a query, or something before an @, slashes included."""
NAME = re.compile(r"[A-Za-z0-9._/=+-]+")
"""What stores agree on in names."""


@dataclass(frozen=True)
class Address:
    """A place in an object store: `scheme`://`path`, the path being a bucket and the beginning of names in it."""

    scheme: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """Return what a text names. Raises UserError for anything but a store's address, and for one with a secret."""
        found = ADDRESS.fullmatch(text)
        scheme, path = (found[1].lower(), found[2].strip("/")) if found else ("", "")
        if SECRET.search(path):
            raise UserError(
                f"{scheme}://…: an address with a user, a password or a key in it ends in logs: leave that to the "
                "driver (its environment variables or files)"
            )
        if scheme not in SCHEMES or (scheme == "hf" and not path.startswith(HUB)):
            known = ", ".join(f"{name}://{HUB if name == 'hf' else ''}…" for name in SCHEMES)
            raise UserError(f"{text}: no address of a store: {known}, or a folder")
        least = 3 if scheme == "hf" else 1
        parts = path.split("/")
        if len(parts) < least or not NAME.fullmatch(path) or {"", ".", ".."} & {*parts}:
            raise UserError(f"{text}: give a bucket and a place in it, such as {scheme}://{'/'.join(parts[:1])}/faces")
        return cls(scheme, path)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path}"

    @property
    def bucket(self) -> str:
        """The bucket's own path."""
        return "/".join(self.path.split("/")[: 3 if self.scheme == "hf" else 1])

    @property
    def workspace(self) -> Path:
        """The folder of this machine to work at what lies there in: a cache that this user's processes share."""
        cache = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
        slug = re.sub(r"[^a-z0-9]+", "-", str(self).lower()).strip("-")[-40:].strip("-")
        return Path(cache, "agfd30k", f"{slug}-{hashlib.sha256(str(self).encode()).hexdigest()[:12]}").absolute()


@dataclass(frozen=True)
class Place:
    """A folder; or, where there is an `address`, what lies there, and the folder of this machine to work at it in."""

    folder: Path
    address: Address | None = None

    @classmethod
    def parse(cls, text: object) -> Place:
        """Return what a flag names. Raises UserError for an address that is none."""
        if isinstance(text, Place):
            return text
        if not ADDRESS.fullmatch(str(text)):
            return cls(Path(str(text)))
        address = Address.parse(str(text))
        return cls(address.workspace, address)

    def __str__(self) -> str:
        return str(self.address or self.folder)

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Within, errors name the address, where they would name the folder to work in."""
        try:
            yield
        except UserError as error:
            if self.address is None or str(self.folder) not in str(error) or "--repair" in str(error):
                raise  # what can be mended is the folder's
            raise UserError(str(error).replace(str(self.folder), str(self.address))) from error
