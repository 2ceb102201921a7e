"""A release folder as it lies on disk."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from builder.common.errors import UserError
from builder.common.files import sync_folder
from builder.dataset.build_info import BuildInfo

DATA = re.compile(r"(data/\w+|metadata|annotations/\w+|aligned)/(\w+)(?:-more(\d{3}))?-(\d{5})-of-(\d{5})\.parquet")
"""A numbered file: its place, its split, which appended batch it is of (None for those of the first upload), its number
and how many there are.
"""
FIRST = re.compile(r"first_page/\w+\.parquet|data/\w+/\w+-first\.parquet")
"""The rows of the first page: mixed, and those of each attribute."""
TEXTS = ("README.md", "recipe.toml", "croissant.json")
IGNORED = {".gitattributes", ".cache", ".DS_Store"}
"""What Git, the Hub's client and a desktop leave behind."""
CARD = re.compile(r"---\n(.*?\n)---\n(.*)", re.DOTALL)
"""A card: its YAML between two lines of dashes, and its text."""
ASSET = re.compile(r"assets/(\w+\.(webp|png)|(checks|calibration)\.json)")


def batch_of(name: str) -> int:
    """Return which appended batch a file is of, by its path; 0 for all that was there before the first one.

    >>> batch_of("data/hair/train-more002-00000-of-00001.parquet")
    2
    """
    part = DATA.fullmatch(name)
    return int(part[3] or 0) if part else 0


class Release:
    """A release folder as it lies on disk. `repo_name` is the name it will have on the Hub, without its owner."""

    def __init__(self, folder: Path, repo_name: str = ""):
        self.folder = folder
        self.repo_name = repo_name

    @cached_property
    def files(self) -> list[str]:
        """Every file's path inside the folder, sorted; what Git and the Hub's client leave behind is not looked at."""
        paths = (path for path in self.folder.rglob("*") if path.is_symlink() or not path.is_dir())
        names = sorted(path.relative_to(self.folder).as_posix() for path in paths)
        return [name for name in names if name.split("/")[0] not in IGNORED]

    @cached_property
    def parquet(self) -> list[str]:
        """The Parquet files, in order."""
        return [name for name in self.files if DATA.fullmatch(name) or FIRST.fullmatch(name)]

    @cached_property
    def card(self) -> tuple[dict[str, Any], str]:
        """The card's YAML and its text; nothing where there is no sound card, which `readme` reports."""
        try:
            parts = CARD.fullmatch((self.folder / "README.md").read_text(encoding="utf-8"))
            metadata = yaml.safe_load(parts[1]) if parts else None
            return (metadata, parts[2]) if parts and isinstance(metadata, dict) else ({}, "")
        except (OSError, ValueError, RecursionError, yaml.YAMLError):
            return {}, ""

    @property
    def info(self) -> BuildInfo | None:
        """What it was built from, as the card says."""
        return BuildInfo.parse(self.card[1])

    @property
    def searched(self) -> bool:
        """True unless the card says that duplicates were not looked for."""
        return self.info is None or self.info.searched

    @property
    def preview(self) -> bool:
        """True when the pictures are those of the preview model."""
        return self.info is not None and self.info.is_preview

    def configs(self) -> dict[str, dict[str, list[str]]]:
        """Config → split → globs, as the card says."""
        configs = {}
        for config in self.card[0].get("configs") or []:
            files = config.get("data_files") or []
            configs[config.get("config_name", "")] = {entry["split"]: _globs(entry["path"]) for entry in files}
        return configs

    @property
    def default_config(self) -> str:
        """The config that is loaded where none is named: the one that the card says, or else the first."""
        entries = self.card[0].get("configs") or []
        return next((entry["config_name"] for entry in entries if entry.get("default")), next(iter(self.configs())))

    def matching(self, patterns: list[str]) -> list[Path]:
        """Return the files that a config's globs stand for, in their order."""
        return [path for pattern in patterns for path in sorted(self.folder.glob(pattern))]


def _globs(path: str | list[str]) -> list[str]:
    return path if isinstance(path, list) else [path]


@contextmanager
def lock(folder: Path, patience: float = -1) -> Iterator[None]:
    """Held while a release is made in the place of a folder; nothing of it stays. Raises Timeout after `patience`
    seconds, which are without end where they are negative.
    """
    path = folder.parent / f".{folder.name}.lock"
    with FileLock(path, timeout=patience):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # who waits for it sees that, and takes a new one


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Held while `out`, which is made of a release, is written. Raises UserError where another process does so."""
    try:
        with lock(out, patience=0):
            yield
    except Timeout:
        raise UserError(f"{out}: another process is writing it; wait for it, or use --out") from None


def beside(folder: Path) -> tuple[Path, Path]:
    """Return where a release is written before it takes its place, and where the old one lies for that moment."""
    return folder.parent / f".{folder.name}.tmp", folder.parent / f".{folder.name}.old"


def addition(folder: Path) -> tuple[Path, Path]:
    """Return where what is added to a release is written, and where it lies once it is whole."""
    return folder.parent / f".{folder.name}.adding", folder.parent / f".{folder.name}.added"


def bring_in(folder: Path) -> None:
    """Move an addition that is whole into its release: Parquet first, then the texts. A crash in between is made good
    by doing it again.
    """
    _, ready = addition(folder)
    if not folder.is_dir() or not ready.is_dir():
        return
    for place in sorted(path for path in ready.glob("*/*") if path.is_dir()):
        new = folder / place.relative_to(ready)
        shutil.rmtree(new, ignore_errors=True)
        new.parent.mkdir(exist_ok=True)
        place.rename(new)
    for text in TEXTS:
        if (ready / text).exists():
            (ready / text).replace(folder / text)
    sync_folder(folder)
    shutil.rmtree(ready)


def sweep(folder: Path) -> None:
    """Remove what a run that was killed has left beside a release, unless a process is making one at this moment.

    Where it was killed while the new release took the old one's place, the old one comes back; what was to be added to
    a release, and is whole, is.
    """
    folder = folder.resolve()
    if any(path.exists() for path in (*beside(folder), *addition(folder))):
        with suppress(OSError, Timeout), lock(folder, patience=0):
            remove_leftovers(folder)


def remove_leftovers(folder: Path) -> None:
    """The same, for who holds the lock."""
    new, old = beside(folder)
    if old.exists() and not folder.exists():
        old.rename(folder)
    bring_in(folder)
    for path in (new, old, *addition(folder)):
        shutil.rmtree(path, ignore_errors=True)
