"""The pictures of a raw build or a release, one at a time, with what their rows say of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Features

import agfd30k
from builder import preview
from builder.checks.verdict import Seen
from builder.common.errors import UserError
from builder.dataset.build_info import BuildInfo
from builder.dataset.statistics import CHECKS_FILE, ChecksReport
from builder.models.identity import CheckVersion
from builder.raw.build import RawBuild
from builder.spec import table
from builder.spec.spec import Spec

SAID = ("id", "feature", "sex", "ethnicity", "verified", "sha256")
SEEN = ("face_box", *agfd30k.POSE, "sharpness")
"""What features are judged by without a model, by the keys of the column `checks`."""
COLUMNS = (*SAID, "attribute_score", *agfd30k.FACE_BOX, *SEEN[1:])
ROWS_AT_ONCE, PICTURES_AT_ONCE = 1000, 10


@dataclass(frozen=True)
class Entry:
    """What a row says of its picture, as far as people's judgement is held against it, and where the picture lies.

    `place` is its file, or a Parquet file with row group and number. `score` is the verifier's, of its own feature;
    `seen` what else the checks have measured, by the keys of the column `checks`.
    """

    id: str
    feature: str
    sex: str
    ethnicity: str
    verified: bool | None
    sha256: str
    score: float | None
    place: tuple[Path, int, int]
    seen: Seen = field(default_factory=dict)


class RawAlbum:
    """The committed pictures of a raw build, its table, and the checks that it noted."""

    def __init__(self, folder: Path):
        self.raw = raw = RawBuild.open(folder)
        self.folder = folder
        self.spec: Spec = raw.spec
        self.checks: tuple[CheckVersion, ...] = raw.recipe.checks
        self.fingerprint: str = raw.fingerprint

    @property
    def unfinished(self) -> int:
        """Shards that the latest run was asked for and that are not done."""
        return len(RawBuild.open(self.folder).unfinished())

    def entries(self) -> Iterator[Entry]:
        """Yield every picture's entry, shard by shard. Raises UserError for a row that is not sound."""
        self.raw.require_no_strangers()
        for shard in agfd30k.shards(self.folder):
            for row in self.raw.lines(shard).made:
                score = row["checks"]["attribute_score"]
                said = {key: row[key] for key in SAID}
                yield Entry(**said, score=score, place=(shard / row["file_name"], 0, 0), seen=_seen(row["checks"]))

    def picture(self, entry: Entry) -> bytes:
        """Return a picture's file."""
        with _readable(entry.place[0]):
            return entry.place[0].read_bytes()


class ReleaseAlbum:
    """The pictures of a release folder, its table, and the checks that its build noted."""

    unfinished = 0

    def __init__(self, folder: Path):
        with _readable(folder / "README.md"):
            info = BuildInfo.parse((folder / "README.md").read_text(encoding="utf-8"))
        if info is None:
            raise UserError(f"{folder}: its README.md is not one that the builder made")
        self.folder = folder
        self.fingerprint: str = info.recipe
        with _readable(folder / "assets" / CHECKS_FILE):
            self.checks: tuple[CheckVersion, ...] = ChecksReport.read(folder).checks
        spec = table.load(folder / "recipe.toml")
        spec = preview.fitted(spec) if info.is_preview else spec
        made = {check.name for check in self.checks}
        left_out = [name for name, criteria in vars(spec.checks).items() if criteria and name not in made]
        self.spec: Spec = spec.changed(checks=spec.checks.without(left_out))

    def entries(self) -> Iterator[Entry]:
        """Yield every picture's entry, file by file."""
        for path in sorted(self.folder.glob("data/*/*.parquet")):
            with _readable(path), pq.ParquetFile(path) as file:
                labels = Features.from_arrow_schema(file.schema_arrow)
                for group in range(file.num_row_groups):
                    for number, row in enumerate(_rows(file, group)):
                        yield _entry(row, labels, (path, group, number))

    def picture(self, entry: Entry) -> bytes:
        """Return a picture's file, read with few others."""
        path, group, number = entry.place
        with _readable(path), pq.ParquetFile(path, buffer_size=2**20) as file:
            batches = file.iter_batches(PICTURES_AT_ONCE, row_groups=[group], columns=["image.bytes"])
            batch = next(itertools.islice(batches, number // PICTURES_AT_ONCE, None))
            return batch.column("image")[number % PICTURES_AT_ONCE].as_py()["bytes"]


Album = RawAlbum | ReleaseAlbum


def load(folder: Path) -> Album:
    """Return the pictures of a folder that the builder made. Raises UserError for any other folder."""
    if agfd30k.is_raw(folder):
        return RawAlbum(folder)
    if agfd30k.is_release(folder):
        return ReleaseAlbum(folder)
    raise UserError(
        f"{folder}: neither a raw build nor a release; make one with `accelerate launch builder/generate.py`"
    )


def _rows(file: pq.ParquetFile, group: int) -> Iterator[dict[str, Any]]:
    stored = agfd30k.stored(COLUMNS, file.schema_arrow)
    for batch in file.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=stored):
        yield from agfd30k.flattened(pa.table(batch)).to_pylist()


def _entry(row: dict[str, Any], labels: Features, place: tuple[Path, int, int]) -> Entry:
    said = {key: _named(labels[key], row[key]) for key in SAID}
    box = [row[name] for name in agfd30k.FACE_BOX]
    seen = _seen({**row, "face_box": None if None in box else box})
    return Entry(**said, score=row["attribute_score"], place=place, seen=seen)


def _seen(checks: Seen) -> Seen:
    """Return SEEN; what an older row has not noted is None."""
    return {name: checks.get(name) for name in SEEN}


def _named(kind: Any, value: Any) -> Any:
    return kind.int2str(value) if isinstance(kind, ClassLabel) else value


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Whatever a damaged file makes its reader raise becomes one line."""
    try:
        yield
    except (OSError, ValueError, RecursionError, LookupError, TypeError, pa.ArrowException) as error:
        said = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: cannot be read: {said}; is it damaged, or of another version?") from None
