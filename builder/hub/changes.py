"""Which files of a release must be sent: those that the repository lacks, by commit."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from huggingface_hub import CommitOperationAdd, RepoFile
from tqdm import tqdm

from builder.common.errors import UserError
from builder.dataset.folder import ASSET, DATA, FIRST

FILES_A_COMMIT = 80
"""The Hub wants fewer than 100 a commit. Source: Hub documentation, repository limitations and recommendations."""
SENT_LAST = ("recipe.toml", "README.md")


class Snapshot:
    """Inode, size and time of files when this is made: they tell later whether a file was changed."""

    def __init__(self, folder: Path, names: Iterable[str]):
        self.folder = folder
        self.states = {name: self._state(name) for name in names}

    def _state(self, name: str) -> tuple[int, int, int] | None:
        try:
            stat = (self.folder / name).stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_size, stat.st_mtime_ns

    def require_same(self) -> None:
        """Raise UserError where a file was changed or replaced, or is gone."""
        for name, state in self.states.items():
            if self._state(name) != state:
                raise UserError(f"{self.folder / name}: was changed while it was checked or sent; run it again")


class LocalFiles:
    """The files of a release: path → the operation that adds it, with its size, and its digest once that is needed.

    A digest is that of the file when it is read, so ask `snapshot` whether the file is still the one that was checked.
    Raises UserError where it is not.
    """

    def __init__(self, snapshot: Snapshot):
        snapshot.require_same()
        self.snapshot = snapshot
        reading = tqdm(list(snapshot.states), desc="reading", unit="file", disable=not sys.stderr.isatty())
        self.files = {name: CommitOperationAdd(name, snapshot.folder / name) for name in reading}

    def bytes(self, names: Iterable[str]) -> int:
        """Return the size of these files together."""
        return sum(self.files[name].upload_info.size for name in names)


def is_same(local: CommitOperationAdd, remote: RepoFile | None) -> bool:
    """Return True when the file on the Hub has the same bytes as the local one."""
    if remote is None or remote.size != local.upload_info.size:
        return False
    if remote.lfs is not None:
        return remote.lfs.sha256 == local.upload_info.sha256.hex()
    data = Path(str(local.path_or_fileobj)).read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == remote.blob_id


def differences(local: LocalFiles, tree: dict[str, RepoFile]) -> tuple[list[str], list[str]]:
    """Return the files to send, in the order they are sent in, and the files of an older release to delete."""
    missing = [name for name, add in local.files.items() if not is_same(add, tree.get(name))]
    missing.sort(key=lambda name: (name in SENT_LAST, SENT_LAST.index(name) if name in SENT_LAST else 0, name))
    return missing, sorted(name for name in tree if _is_replaced(name) and name not in local.files)


def foreign(
    local: LocalFiles, base: dict[str, RepoFile], tree: dict[str, RepoFile], deleted: Iterable[str]
) -> list[str]:
    """Return the files in which a pull request's `tree`, less what is `deleted`, would differ from its `base` with the
    local files: of another release, or somebody else's. What the local files and `deleted` settle is none of them.
    """
    settled = {*local.files, *deleted, ".gitattributes"}  # the Hub adds lines to the last one
    names = ({*base} | {*tree}) - settled
    return sorted(name for name in names if _blob(base, name) != _blob(tree, name))


def _blob(tree: dict[str, RepoFile], name: str) -> str | None:
    return tree[name].blob_id if name in tree else None


def require_loadable(repo_id: str, local: LocalFiles, tree: Iterable[str], globs: Iterable[str]) -> None:
    """Raise UserError where a file that stays in the repository would break loading, or be loaded with the release.

    `globs` are those of the card. Source: `datasets`, load.py, on scripts and on `.huggingface.yaml`.
    """
    patterns = [f"/{glob}" for glob in globs]  # one that begins at the root stands for whole paths
    script = repo_id.partition("/")[2] + ".py"
    for name in sorted(name for name in tree if name not in local.files and not _is_replaced(name)):
        if name == script:
            fault = "makes loading fail, because `datasets` takes it for a loading script"
        elif name == ".huggingface.yaml":
            fault = "overrides the card"
        elif any(PurePosixPath("/", name).match(pattern) for pattern in patterns):
            fault = "would be loaded as a part of the release"
        else:
            continue
        raise UserError(f"{repo_id}: {name}, which lies there, {fault}; delete it there, or choose another name")


def _is_replaced(name: str) -> bool:
    """Return True for the names of a release's data and pictures: a new release deletes those of an older one."""
    return any(kind.fullmatch(name) for kind in (DATA, FIRST, ASSET))


def commit_batches(missing: Sequence[str], first: bool) -> list[list[str]]:
    """Return the files of each commit. The card is in the last one; on the `first` upload the first one
    has the recipe, which marks the repository as ours.
    """
    names = list(missing)
    if first and "recipe.toml" in names:
        names.insert(0, names.pop(names.index("recipe.toml")))
    return [names[start : start + FILES_A_COMMIT] for start in range(0, len(names), FILES_A_COMMIT)]


class UploadProgress:
    """Prints how many bytes of an upload are sent, its rate and the time left."""

    def __init__(self, total: int):
        self.total, self.sent = total, 0
        self.started = self.printed = time.monotonic()

    def add(self, sent: int) -> None:
        """Count more sent bytes; print a line every two seconds and at the end."""
        self.sent += sent
        now = time.monotonic()
        if now - self.printed < 2 and self.sent < self.total:
            return
        self.printed = now
        rate = self.sent / max(now - self.started, 1e-3)
        left = (self.total - self.sent) / max(rate, 1)
        amount = f"sent {self.sent / 1e6:,.1f} of {self.total / 1e6:,.1f} MB"
        say(f"{amount}, {rate / 1e6:.1f} MB/s, {left / 60:.0f} min left")


def say(line: str) -> None:
    """Print a line of progress on standard error; results go to standard output."""
    print(line, file=sys.stderr, flush=True)
