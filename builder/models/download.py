"""Downloads a build's models from the Hub into its client's cache: once a machine, each file continued where it can be.

A file that the Hub keeps behind Xet is fetched by the Hub's client alone. Any other large one is fetched here into the
client's cache, because the client begins it anew after a reset; what it has is told by its digest before it counts.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock
from tqdm import tqdm

from builder.common.errors import UserError
from builder.common.files import sha256
from builder.common.progress import counted, duration, heartbeat, progress_bar
from builder.common.retry import is_passing, with_retries
from builder.models.faults import Damaged, Interrupted, Unreachable
from builder.models.identity import File, Source
from builder.models.repository import cache_folder, fault_of


class Received:
    """Bytes that have come in, of how many: a bar on a terminal, else a line every half minute."""

    def __init__(self, total: int, title: str):
        self.total, self.title, self.done = total, title, 0
        self.started = time.monotonic()
        self.bar = progress_bar(total=total, unit="B", unit_scale=True, desc=title, smoothing=0.05)

    def add(self, count: float) -> None:
        """So many more bytes have come; fewer than none where a file begins anew."""
        self.done += int(count)
        self.bar.update(count)

    def line(self) -> str:
        """What is said of it where nobody looks at a bar."""
        pace = self.done / max(time.monotonic() - self.started, 1e-9)
        left = f", {duration((self.total - self.done) / pace)} left" if pace > 0 else ""
        return f"{self.title}: {size(self.done)} of {size(self.total)}, {size(pace)}/s{left}"

    def close(self) -> None:
        self.bar.close()

    @property
    def bars(self) -> type[tqdm]:
        """What the client takes for its bars: they draw nothing, and count here."""
        return type("Bar", (_Silent,), {"received": self})


class _Silent(tqdm):
    received: Received

    def __init__(self, *_: object, total: float | None = None, initial: float = 0, **__: object):
        super().__init__(total=total, initial=initial, disable=True)

    def update(self, n: float | None = 1) -> None:
        self.received.add(n or 0)

    def update_transfer(self, n: float) -> None:
        """Xet tells what came over the line too, which is less than the file."""

    def set_transfer_postfix_str(self, *_: object, **__: object) -> None:
        """The rate of that."""


def size(count: float) -> str:
    """Return a number of bytes in words."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def missing(sources: Iterable[Source]) -> dict[Source, list[File]]:
    """Return which files of Hub models are not in the cache."""
    lacking = {
        source: [file for file in source.files if not _cached(source, file)] for source in sources if _is_far(source)
    }
    return {source: files for source, files in lacking.items() if files}


def fetch(sources: Iterable[Source], loud: bool = True) -> None:
    """Download what is missing of these, in their order; `loud` says how it goes. Raises a ModelError.

    Processes of one machine that share the cache do this one after the other, so that the others find it all.
    """
    sources = list(sources)
    if not missing(sources):
        return
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _turn(folder, loud):
            for source, files in missing(sources).items():
                _fetch(source, files, loud)
    except OSError as error:
        if error.errno is None:
            raise
        raise UserError(f"{folder}: {error.strerror}; make room, or set HF_HOME to another disk") from None


@contextmanager
def _turn(folder: Path, loud: bool) -> Iterator[None]:
    """Wait until no other process of this machine downloads into a cache, and keep others waiting."""
    lock = FileLock(folder / ".agfd30k-download.lock")
    with heartbeat(lambda: "waiting for another process that downloads") if loud else nullcontext():
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def fetched(source: Source) -> Source:
    """Return a model as it lies on this machine, after `fetch`."""
    config = source.config and fetched(source.config)
    if not _is_far(source):
        return replace(source, config=config)
    first = source.files[0].path
    where = Path(str(_cached(source, source.files[0])))
    folder = functools.reduce(lambda path, _: path.parent, Path(first).parts, where)
    return replace(source, location=str(folder), config=config)


def _is_far(source: Source) -> bool:
    return source.kind == "hub" and bool(source.files)


def _cached(source: Source, file: File) -> str | None:
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(source.name, file.path, revision=source.revision)
    return path if isinstance(path, str) and os.path.exists(path) else None


def _fetch(source: Source, files: list[File], loud: bool) -> None:
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it logs addresses that let anyone download
    total = sum(file.size for file in files)
    if loud:
        count = counted(len(files), "file")
        print(f"downloading {source.name}: {count}, {size(total)}, to {cache_folder()}", file=sys.stderr, flush=True)
    with closing(Received(total, f"downloading {source.name}")) as received, heartbeat(received.line):
        for file in files:
            try:
                _persistently(source, file, received)
            except Exception as error:
                fault = fault_of("downloading", source.name, source.revision, error)
                if isinstance(fault, Unreachable):
                    cause = f"{file.path} broke off at {size(received.done)} of {size(total)} ({type(error).__name__})"
                    raise Interrupted("downloading", source.name, cause) from error
                raise fault from error


def _persistently(source: Source, file: File, received: Received) -> None:
    """Try again while the network fails and something more comes in with every round of tries."""
    while True:
        before = _size(_part(source, file))
        try:
            return with_retries(f"{source.name}: {file.path}", functools.partial(_file, source, file, received))
        except Exception as error:
            if not is_passing(error) or _size(_part(source, file)) <= before:
                raise


def _blob(source: Source, file: File) -> Path:
    from huggingface_hub.file_download import repo_folder_name

    return cache_folder() / repo_folder_name(repo_id=source.name, repo_type="model") / "blobs" / file.sha256


def _part(source: Source, file: File) -> Path:
    blob = _blob(source, file)
    return blob.with_name(f"{blob.name}.agfd30k-part")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _file(source: Source, file: File, received: Received) -> None:
    from huggingface_hub import hf_hub_download

    if file.sha256:
        _continued(source, file, received)
    hf_hub_download(source.name, file.path, revision=source.revision, tqdm_class=received.bars)


def _continued(source: Source, file: File, received: Received) -> None:
    """Bring a large file into the client's cache, from where an earlier try broke off."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    url = hf_hub_url(source.name, file.path, revision=source.revision)
    told = get_hf_file_metadata(url)
    by_xet = told.xet_file_data is not None and not constants.HF_HUB_DISABLE_XET and find_spec("hf_xet")
    blob, part = _blob(source, file), _part(source, file)
    if by_xet or told.etag != file.sha256 or blob.exists():
        return
    blob.parent.mkdir(parents=True, exist_ok=True)
    with open(part, "ab") as target:
        if target.tell() > file.size:
            target.truncate(0)
        there = target.tell()
        received.add(there)
        same = urlsplit(told.location).netloc == urlsplit(url).netloc
        headers = build_hf_headers(token=None if same else False)
        try:
            http_get(
                told.location,
                target,
                resume_size=there,
                headers=headers,
                expected_size=file.size,
                displayed_filename=file.path,
                tqdm_class=received.bars,
            )
        except BaseException:
            target.flush()
            received.add(-target.tell())
            raise
    if sha256(part) != file.sha256:
        part.unlink()
        received.add(-file.size)
        raise Damaged("downloading", source.name, f"{file.path} came in damaged; run again")
    os.replace(part, blob)
