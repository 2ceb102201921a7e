"""An object store: names and bytes, read, listed, and created if absent. The only module that knows fsspec.

Every call is tried again while the store or the way to it fails. A call whose answer was lost may have been carried
out: what a creation then finds in its place is its own, if the bytes are the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from builder.common.address import Address
from builder.common.errors import UserError, shortened
from builder.common.files import sha256
from builder.storage import faults

EXTRAS = {"s3": "s3", "gs": "gcs", "az": "azure"}
"""What brings a scheme's driver; the Hub's comes with this project."""
OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {"max_concurrency": 1, "config_kwargs": {"retries": {"mode": "standard", "total_max_attempts": 1}}}
}
"""S3 is asked once for an object, not first for its size: shards are sent and fetched side by side already. Its driver
does not try again what is tried again here.
"""
T = TypeVar("T")


class Store:
    """What lies at an address. Raises UserError, in one line, for whatever the store refuses or does not answer.

    `files` is the driver's file system, where one is open already.
    """

    def __init__(self, address: Address, files: Any = None):
        self.address = address
        self.can_create = address.scheme != "hf"  # the Hub's buckets put what they are given, whatever lies there
        if files is not None:
            self.files = files
            return
        try:
            import fsspec

            with _plain_errors(f"{address}"):
                options = OPTIONS.get(address.scheme, {})
                options = {"use_listings_cache": False, "skip_instance_cache": True, **options}
                self.files = fsspec.filesystem(address.scheme, **options)
                if address.scheme == "s3":
                    self.files.retries = 1
        except ImportError:
            extra = EXTRAS.get(address.scheme, address.scheme)
            raise UserError(
                f'{address}: the driver of {address.scheme}:// is not installed: pip install "agfd30k[{extra}]"'
            ) from None

    def require_bucket(self) -> None:
        """Raise UserError where the bucket is not there, or cannot be read."""
        if self.list() or self.address.scheme == "s3":  # S3 tells a bucket that is not there from an empty one
            return
        if not self._try("look for", "", lambda: self.files.exists(self.address.bucket)):
            raise self._no_bucket()

    def read(self, name: str) -> bytes | None:
        """Return what lies under a name, None where nothing does."""
        try:
            data: bytes = self._try("read", name, lambda: self.files.cat_file(self._path(name)))
            return data
        except faults.Absent:
            return None

    def fetch(self, name: str, path: Path) -> str:
        """Copy what lies under a name to a file; returns its SHA-256. Raises Unsound where nothing lies there."""
        try:
            self._try("fetch", name, lambda: self.files.get_file(self._path(name), str(path)))
        except faults.Absent:
            raise faults.Unsound(f"{self.address}/{name}: is not there any more, and a receipt names it") from None
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def read_part(self, name: str, size: int, read: Callable[[Any], T]) -> T:
        """Return what `read` makes of an object of so many bytes, which it is given as a file: only what it reads is
        sent.
        """

        def call() -> T:
            options = {"size": size} if self.address.scheme == "s3" else {}  # which saves a request
            with self.files.open(self._path(name), "rb", cache_type="none", **options) as file:
                return read(file)

        try:
            return self._try("read", name, call)
        except faults.Absent:
            raise UserError(f"{self.address}/{name}: is not there any more, and a receipt names it") from None

    def create(self, name: str, data: bytes) -> bool:
        """Create an object unless something lies under its name; returns whether these very bytes lie there now."""

        def create() -> bool:
            if self.can_create:
                self.files.pipe_file(self._path(name), data, mode="create")
                return True
            if not self.files.exists(self._path(name)):
                self.files.pipe_file(self._path(name), data)
            return False

        try:
            if self._try("create", name, create):
                return True
        except FileExistsError:
            pass
        except faults.Absent:
            raise self._no_bucket() from None
        return self.read(name) == data

    def create_file(self, name: str, path: Path) -> None:
        """Create an object from a file. Raises UserError where something else lies under its name."""
        options = {"mode": "create"} if self.can_create else {}
        try:
            self._try("send", name, lambda: self.files.put_file(str(path), self._path(name), **options))
        except FileExistsError:
            if self.digest(name) != sha256(path):
                raise UserError(
                    f"{self.address}/{name}: something else lies there, or it is damaged: remove it, and run again"
                ) from None
        except faults.Absent:
            raise self._no_bucket() from None

    def digest(self, name: str) -> str | None:
        """Return the SHA-256 of what lies under a name, which is read for it, None where nothing does."""

        def call() -> str:
            with self.files.open(self._path(name), "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()

        try:
            return self._try("read", name, call)
        except faults.Absent:
            return None

    def replace(self, name: str, data: bytes) -> None:
        """Put an object, whatever lies under its name."""
        try:
            self._try("write", name, lambda: self.files.pipe_file(self._path(name), data))
        except faults.Absent:
            raise self._no_bucket() from None

    def list(self, folder: str = "") -> dict[str, str]:
        """Return the names of the objects right in a folder, each with a word that changes when the object does."""
        place = self._path(folder).rstrip("/")

        def entries_there() -> list[dict[str, Any]]:
            self.files.invalidate_cache()
            entries: list[dict[str, Any]] = self.files.ls(place, detail=True)
            return entries

        try:
            entries = self._try("list", folder, entries_there)
        except faults.Absent:
            return {}
        objects = (entry for entry in entries if entry["type"] == "file")
        return {entry["name"].rpartition("/")[2]: _tag(entry) for entry in objects}

    def find(self) -> set[str]:
        """Return the names of all objects, however deep."""

        def names_there() -> list[str]:
            self.files.invalidate_cache()
            names: list[str] = self.files.find(self.address.path)
            return names

        try:
            return {name.partition(f"{self.address.path}/")[2] for name in self._try("list", "", names_there)}
        except faults.Absent:
            return set()

    def _no_bucket(self) -> UserError:
        return UserError(f"{self.address}: there is no such bucket, or it is not yours to see; make it first")

    def _path(self, name: str) -> str:
        return f"{self.address.path}/{name}"

    def _try(self, action: str, name: str, call: Callable[[], T]) -> T:
        """Return the result of a call, which is tried again while what fails may pass.

        Raises Absent where there is nothing under a name, FileExistsError where there is something, UserError for
        everything else.
        """
        from builder.common.retry import with_retries

        where = f"{self.address}/{name}".rstrip("/")
        with _plain_errors(where):
            return with_retries(f"{action} {where}", call, is_retryable=faults.is_passing, describe=faults.one_line)


@contextmanager
def _plain_errors(where: str) -> Iterator[None]:
    """Turn whatever a driver raises into one line; see `Store._try`."""
    try:
        yield
    except (FileExistsError, ImportError, UserError):
        raise
    except Exception as error:  # drivers raise anything
        if faults.is_absent(error) and not faults.has_no_bucket(error):
            raise faults.Absent(where) from None
        line = shortened(f"{where}: {faults.one_line(error)}")
        raise UserError(line) from None  # the error may hold what must not be told


def _tag(entry: dict[str, Any]) -> str:
    """Return what tells one content under a name from another."""
    keys = ("ETag", "etag", "xet_hash", "md5Hash", "content_md5", "generation", "mtime", "created", "size")
    found = next((entry[key] for key in keys if entry.get(key)), "")
    return hashlib.sha256(str(found).encode()).hexdigest()[:8]
