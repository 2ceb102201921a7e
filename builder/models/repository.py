"""What lies in a model's repository: a folder here, one on the Hub at a commit, or what is cached of that one."""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from builder.common.files import atomic, sha256
from builder.common.retry import is_passing, one_line, status, with_retries
from builder.models.faults import (
    Damaged,
    Gated,
    Incomplete,
    ModelError,
    NoCache,
    NoModel,
    NoRevision,
    NoSpace,
    NotThere,
    Unreachable,
    WrongToken,
)
from builder.models.identity import File

MOST_JSON = 64 << 20
"""Bytes of a JSON file that are read; a tokenizer's are the largest."""


@dataclass(frozen=True)
class Repository:
    """The files of a model: `kind` is hub or folder, `revision` the commit, or the digest of the files that count.

    `role` is what the model is for; `read` returns a small file's bytes.
    """

    role: str
    kind: str
    name: str
    location: str
    revision: str
    files: dict[str, File]
    read: Callable[[str], bytes]

    def document(self, path: str) -> dict[str, Any]:
        """Return a JSON file. Raises Incomplete where there is none, Damaged for one that is no JSON object."""
        if path not in self.files:
            raise Incomplete(self.role, self.name, f"{path} is missing")
        try:
            document = json.loads(self.read(path))
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise Damaged(self.role, self.name, f"its {path} is damaged")
        return document

    def chosen(self, paths: Iterable[str]) -> tuple[File, ...]:
        """Return these files, in order, each once."""
        return tuple(self.files[path] for path in dict.fromkeys(paths))


def in_folder(role: str, folder: Path) -> Repository:
    """Return what lies in a folder here and in the folders in it; links are followed, hidden files left out."""
    found = {}
    for path in sorted([*folder.glob("*"), *folder.glob("*/*")]):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not any(part.startswith(".") for part in Path(name).parts):
            found[name] = File(name, path.stat().st_size)
    name, read = folder.resolve().name, functools.partial(_read, role, folder)
    return Repository(role, "folder", name, str(folder), "", found, read)


def digest(repository: Repository, files: Iterable[File]) -> str:
    """Return the digest of files in a folder: their names and contents."""
    folder = Path(repository.location)
    lines = "".join(f"{sha256(folder / file.path)}  {file.path}\n" for file in sorted(files, key=lambda f: f.path))
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def cached(role: str, name: str, revision: str) -> Repository | None:
    """Return what the cache holds of a Hub repository at a branch, tag or commit; None where it holds nothing."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True, allow_patterns="*.json"))
    except (OSError, ValueError):
        return None
    listed = in_folder(role, folder)
    return Repository(role, "hub", name, str(folder), folder.name, listed.files, listed.read)


def on_hub(role: str, name: str, revision: str) -> Repository:
    """Return what a Hub repository holds at a branch, tag or commit, now. Raises a ModelError that says why not."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    def ask() -> Any:
        return HfApi().model_info(name, revision=revision, files_metadata=True)

    try:
        told = with_retries(f"{role} {name}", ask, is_retryable=_is_hiccup)
    except HFValidationError:
        raise NoModel(role, name, "no such folder or file here, and not a Hub id (owner/name)") from None
    except Exception as error:  # proxies, time-outs, TLS: the client raises many kinds
        raise fault_of(role, name, revision, error) from error
    if told.sha is None:
        raise NoRevision(role, name, f"the Hub names no commit of revision {revision!r}")
    _note_revision(name, revision, told.sha)
    files = {}
    for each in told.siblings or ():
        if is_inside(each.rfilename) and each.rfilename.isprintable():
            files[each.rfilename] = File(each.rfilename, each.size or 0, each.lfs.sha256 if each.lfs else "")
    read = functools.partial(_download, role, name, told.sha)
    return Repository(role, "hub", name, name, told.sha, files, read)


def _note_revision(name: str, revision: str, commit: str) -> None:
    """Let the client's cache know which commit a branch or tag stands for, so that it is found there without network.

    The client notes this itself where it downloads by the name of the branch; here everything is asked for by commit.
    """
    from huggingface_hub.file_download import repo_folder_name

    if revision == commit:
        return
    path = cache_folder() / repo_folder_name(repo_id=name, repo_type="model") / "refs" / revision
    with suppress(OSError):  # a cache that cannot be written to is found out where it matters
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as file:
            file.write(commit.encode())


def is_inside(path: str) -> bool:
    """Return True for a path that stays inside its repository."""
    return not (path.startswith(("/", "\\")) or ".." in Path(path).parts or ":" in path)


def fault_of(role: str, name: str, revision: str, error: BaseException) -> ModelError:
    """Return what an error of the Hub's client means."""
    from huggingface_hub import errors

    if isinstance(error, ModelError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return NoSpace(role, name, f"the disk is full at {cache_folder()}")
    if isinstance(error, OSError) and error.filename:
        return NoCache(role, name, f"the Hub's cache cannot be used ({error.filename}: {error.strerror})")
    number = status(error)
    if number == 401 and _has_token():
        return WrongToken(role, name, "the Hub does not accept the token (401)")
    if isinstance(error, errors.GatedRepoError):
        return Gated(role, name, "its terms must be accepted on the Hub first")
    if isinstance(error, errors.RevisionNotFoundError):
        return NoRevision(role, name, f"the Hub has no revision {revision!r} of it")
    if isinstance(error, errors.RepositoryNotFoundError):
        return NotThere(role, name, "the Hub has no such model, or it is private")
    if isinstance(error, errors.HfHubHTTPError) and number is not None and number < 500:
        return NotThere(role, name, one_line(error))
    return Unreachable(role, name, f"the Hub cannot be reached, and it is not in the cache ({type(error).__name__})")


def cache_folder() -> Path:
    """Return where the Hub's client keeps what it downloads."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


class _Silent(tqdm):
    """A bar that draws nothing: small files are looked into before anything is said."""

    def __init__(self, *_: object, **__: object):
        super().__init__(disable=True)


def _has_token() -> bool:
    from huggingface_hub import get_token

    return get_token() is not None


def _is_hiccup(error: BaseException) -> bool:
    """Return True where the Hub is there and in trouble; without a connection the cache is asked at once."""
    offline = any(
        kind.__name__ in ("ConnectError", "ConnectTimeout", "OfflineModeIsEnabled", "ProxyError")
        for kind in type(error).__mro__
    )
    return is_passing(error) and not offline


def _read(role: str, folder: Path, path: str) -> bytes:
    try:
        with open(folder / path, "rb") as file:
            data = file.read(MOST_JSON + 1)
    except OSError as error:
        raise Damaged(role, folder.name, f"its {path} cannot be read ({os.strerror(error.errno or 0)})") from None
    if len(data) > MOST_JSON:
        raise Damaged(role, folder.name, f"its {path} is damaged (it has more than {MOST_JSON >> 20} MiB)")
    return data


def local(role: str, name: str, location: str, revision: str, file: File) -> Path:
    """Return where a file lies, in a repository's folder, or downloaded."""
    folder = Path(location)
    return folder / file.path if folder.is_dir() else _downloaded(role, name, revision, file.path)


def _download(role: str, name: str, commit: str, path: str) -> bytes:
    where = _downloaded(role, name, commit, path)
    return _read(role, where.parent, where.name)


def _downloaded(role: str, name: str, commit: str, path: str) -> Path:
    from huggingface_hub import hf_hub_download

    call = functools.partial(hf_hub_download, name, path, revision=commit, tqdm_class=_Silent)
    try:
        return Path(with_retries(f"{role} {name}", call))
    except Exception as error:
        raise fault_of(role, name, commit, error) from error
