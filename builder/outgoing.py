"""What of a release must be sent: its files here, those of the repository, and the commits between the two."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from huggingface_hub import CommitOperationAdd, RepoFile
from tqdm import tqdm

from builder.lint_files import ASSET, DATA

FILES_A_COMMIT = 80
"""The Hub wants fewer than 100 a commit. Source: Hub documentation, repository limitations and recommendations."""
LAST = ("recipe.toml", "README.md")


class Local:
    """The files to send: path → an operation that knows size and digest."""

    def __init__(self, folder: Path, names: Iterable[str]):
        reading = tqdm(list(names), desc="reading", unit="file", disable=not sys.stderr.isatty())
        self.files = {name: CommitOperationAdd(name, folder / name) for name in reading}

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
    old = sorted(name for name in tree if (DATA.fullmatch(name) or ASSET.fullmatch(name)) and name not in local.files)
    return missing, old


def batches(missing: Sequence[str], first: bool) -> list[list[str]]:
    """Files by commit: the card is in the last one, and on the `first` upload the recipe, which marks it, in the first.

    Where all fits into one commit there is one.
    """
    names = list(missing)
    if first and "recipe.toml" in names:
        names.insert(0, names.pop(names.index("recipe.toml")))
    return [names[start : start + FILES_A_COMMIT] for start in range(0, len(names), FILES_A_COMMIT)]
