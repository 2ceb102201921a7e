"""Where the pictures of a parity pack come from: the rows of a release, and the files of a folder."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from builder.common.errors import UserError
from builder.dataset.folder import Release
from builder.dataset.parquet import METADATA, is_annotations

ENDINGS = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".jp2"),
    *(".heic", ".heif"),
}
"""Files that are taken for pictures; which of them can be read, Pillow knows."""
ROWS = 16
"""Rows that are read together."""
ADVICE = "`agfd30k lint` lists every fault"


@dataclass(frozen=True)
class Source:
    """A picture's file: its name among its kind, its bytes, and for a generated one its split."""

    kind: str
    name: str
    data: bytes
    sha256: str
    split: str = ""


@dataclass
class Generated:
    """The pictures of a release, each once."""

    release: Release
    files: dict[str, list[Path]]
    ids: dict[str, str] = field(default_factory=dict)
    """Of every row its split."""
    digests: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, place: Path) -> Generated:
        """Read what is there. Raises UserError for a folder that is no release, or a damaged one."""
        release = Release(place)
        if not (configs := release.configs()):
            raise UserError(f"{place}: no release; name its folder, or make one with `agfd30k release`")
        name = release.default_config
        if name == METADATA or is_annotations(name):
            raise UserError(f"{place}: its config {name} has no pictures; {ADVICE}")
        generated = cls(release, {split: release.matching(globs) for split, globs in configs[name].items()})
        for split, files in generated.files.items():
            if not files:
                raise UserError(f"{place}: the files of {name}, {split} are not there; {ADVICE}")
            for path in files:
                with _readable(path):
                    table = pq.read_table(path, columns=["id", "sha256"])
                    generated.ids.update(dict.fromkeys(table["id"].to_pylist(), split))
                    generated.digests.update(table["sha256"].to_pylist())
        if not generated.ids:
            raise UserError(f"{place}: holds no pictures; {ADVICE}")
        return generated

    @property
    def shares(self) -> dict[str, float]:
        """The share of every split."""
        counts = dict.fromkeys(self.files, 0)
        for split in self.ids.values():
            counts[split] += 1
        return {split: count / len(self.ids) for split, count in counts.items()}

    def read(self, chosen: set[str]) -> Iterator[Source]:
        """Yield the chosen rows, a few in memory at a time."""
        for split, files in self.files.items():
            for path in files:
                for row in _rows(path):
                    if row["id"] not in chosen:
                        continue
                    data = (row["image"] or {}).get("bytes") or b""
                    if hashlib.sha256(data).hexdigest() != row["sha256"]:
                        raise UserError(f"{path}: the picture of {row['id']} is not the one its row says; {ADVICE}")
                    yield Source("generated", row["id"], data, row["sha256"], split)


@dataclass
class Real:
    """The picture files of a folder, by their path in it."""

    folder: Path
    names: list[str]
    links: int

    @classmethod
    def of(cls, folder: Path) -> Real:
        """List them, without following any link. Raises UserError where there are none."""
        if not folder.is_dir():
            raise UserError(f"--real: {folder} is not a folder")
        real = cls(folder, [], 0)
        for place, folders, files in os.walk(folder, onerror=_refuse):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            real.links += sum(Path(place, name).is_symlink() for name in folders)
            for name in sorted(files):
                real._list(Path(place, name))
        if not real.names:
            links = f" but {real.links:,} links, which are not followed" if real.links else ""
            raise UserError(f"--real: {folder} holds no picture files{links}")
        return real

    def _list(self, path: Path) -> None:
        if path.suffix.lower() not in ENDINGS or path.name.startswith("."):
            return
        mode = path.lstat().st_mode
        self.links += stat.S_ISLNK(mode)
        if stat.S_ISREG(mode):
            self.names.append(path.relative_to(self.folder).as_posix())

    def read(self, chosen: set[str]) -> Iterator[Source | str]:
        """Yield the chosen files; of one that cannot be read its name."""
        for name in self.names:
            if name in chosen:
                try:
                    data = (self.folder / name).read_bytes()
                except OSError:
                    yield name
                else:
                    yield Source("real", name, data, hashlib.sha256(data).hexdigest())


def _refuse(error: OSError) -> None:
    raise UserError(f"--real: {error.filename}: {error.strerror}") from None


def _rows(path: Path) -> Iterator[dict]:
    with _readable(path), pq.ParquetFile(path) as file:
        for part in file.iter_batches(ROWS, columns=["id", "sha256", "image"]):
            yield from part.to_pylist()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Whatever is wrong with a Parquet file becomes one line."""
    try:
        yield
    except (OSError, pa.ArrowException, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())}; {ADVICE}") from error
