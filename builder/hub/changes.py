"""What of a release must be sent: its files here, unchanged since they were checked, those of the repository, and the
commits between the two.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from huggingface_hub import CommitOperationAdd, RepoFile
from tqdm import tqdm

from builder.common.errors import UserError
from builder.dataset.folder import ASSET, DATA

FILES_A_COMMIT = 80
"""The Hub wants fewer than 100 a commit. Source: Hub documentation, repository limitations and recommendations."""
LAST = ("recipe.toml", "README.md")


class State:
    """What tells on disk that files are still those that they were when this was made."""

    def __init__(self, folder: Path, names: Iterable[str]):
        self.folder = folder
        self.seen = {name: self._of(name) for name in names}

    def _of(self, name: str) -> tuple[int, int, int] | None:
        try:
            found = (self.folder / name).stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def require_same(self) -> None:
        """Raise UserError where a file was changed or replaced, or is gone."""
        for name, seen in self.seen.items():
            if self._of(name) != seen:
                raise UserError(f"{self.folder / name}: was changed while it was checked or sent; run it again")


class Local:
    """The files to send: path → an operation that knows the size, and the digest once it is asked for or sent.

    The digest is that of the file when it is read, so `state` has to be asked whether it is still the one that was
    checked. Raises UserError where it is not.
    """

    def __init__(self, state: State):
        state.require_same()
        self.state = state
        reading = tqdm(list(state.seen), desc="reading", unit="file", disable=not sys.stderr.isatty())
        self.files = {name: CommitOperationAdd(name, state.folder / name) for name in reading}

    def bytes(self, names: Iterable[str]) -> int:
        """How large these files are together."""
        return sum(self.files[name].upload_info.size for name in names)


def is_same(local: CommitOperationAdd, remote: RepoFile | None) -> bool:
    """True when the file on the Hub has the very bytes of the one here."""
    if remote is None or remote.size != local.upload_info.size:
        return False
    if remote.lfs is not None:
        return remote.lfs.sha256 == local.upload_info.sha256.hex()
    data = Path(local.path_or_fileobj).read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == remote.blob_id


def differences(local: Local, tree: dict[str, RepoFile]) -> tuple[list[str], list[str]]:
    """What must be sent, in the order it is sent in, and what no longer belongs to the release."""
    missing = [name for name, add in local.files.items() if not is_same(add, tree.get(name))]
    missing.sort(key=lambda name: (name in LAST, LAST.index(name) if name in LAST else 0, name))
    return missing, sorted(name for name in tree if _is_replaced(name) and name not in local.files)


def require_loadable(repo_id: str, local: Local, tree: Iterable[str], globs: Iterable[str]) -> None:
    """Raise UserError where a file that stays there would keep the release from loading, or load as a part of it.

    `globs` are those of the card. Source: `datasets`, load.py, on scripts and on `.huggingface.yaml`.
    """
    patterns = [f"/{glob}" for glob in globs]  # one that begins at the root stands for whole paths
    script = repo_id.partition("/")[2] + ".py"
    for name in sorted(name for name in tree if name not in local.files and not _is_replaced(name)):
        if name == script:
            why = "makes loading fail, because `datasets` takes it for a loading script"
        elif name == ".huggingface.yaml":
            why = "overrides the card"
        elif any(PurePosixPath("/", name).match(pattern) for pattern in patterns):
            why = "would be loaded as a part of the release"
        else:
            continue
        raise UserError(f"{repo_id}: {name}, which lies there, {why}; delete it there, or choose another name")


def _is_replaced(name: str) -> bool:
    """True for the names of a release's data and pictures: what an older one left of them is taken away."""
    return bool(DATA.fullmatch(name) or ASSET.fullmatch(name))


def batches(missing: Sequence[str], first: bool) -> list[list[str]]:
    """Files by commit: the card is in the last one, and on the `first` upload the recipe, which marks it, in the first.

    Where all fits into one commit there is one.
    """
    names = list(missing)
    if first and "recipe.toml" in names:
        names.insert(0, names.pop(names.index("recipe.toml")))
    return [names[start : start + FILES_A_COMMIT] for start in range(0, len(names), FILES_A_COMMIT)]


class Pace:
    """How far an upload is, in bytes, with rate and time left."""

    def __init__(self, total: int):
        self.total, self.sent = total, 0
        self.started = self.told = time.monotonic()

    def after(self, sent: int) -> None:
        """Tell it after some more bytes were sent, every few seconds and at the end."""
        self.sent += sent
        now = time.monotonic()
        if now - self.told < 2 and self.sent < self.total:
            return
        self.told = now
        rate = self.sent / max(now - self.started, 1e-3)
        left = (self.total - self.sent) / max(rate, 1)
        done = f"sent {self.sent / 1e6:,.1f} of {self.total / 1e6:,.1f} MB"
        say(f"{done}, {rate / 1e6:.1f} MB/s, {left / 60:.0f} min left")


def say(line: str) -> None:
    """Progress goes to standard error, results to standard output."""
    print(line, file=sys.stderr, flush=True)
