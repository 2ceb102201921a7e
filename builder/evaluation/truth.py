"""What a release says of its pictures: who was asked for, where a face was found, and what the checks made of it."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import agfd30k
from agfd30k import FACE_BOX, POINTS, POSE, SPLITS
from builder.common.errors import UserError
from builder.dataset.build_info import BuildInfo
from builder.dataset.statistics import ChecksReport
from builder.spec.criteria import CLASSIFIER, YUNET

CLASSES = ("attribute", "feature", "sex", "ethnicity", "age_group")
NUMBERS = ("age", *FACE_BOX, *POINTS, *POSE, "luminance")
COLUMNS = ("id", "twin_of", *CLASSES, "phrase", "verified", "sha256", "seed", *NUMBERS)
UNREADABLE = (OSError, pa.ArrowException, ValueError, LookupError, TypeError, AttributeError)
ANEW = "make the release again with `agfd30k release`, or download it again"


@dataclass(frozen=True)
class Detector:
    """The face detector whose findings a release holds: its name, and the digest of its file where it has one.

    It has `filtered` the pictures unless a classifier did, and it only says where the faces are.
    """

    name: str
    digest: str | None = None
    filtered: bool = True


@dataclass(frozen=True)
class Truth:
    """The rows of a release, one a picture: COLUMNS and `split`, class names as strings; what is not known is null.

    `digest` tells a release from any other: it is of the ids and the pictures' own digests. `height` is that of its
    pictures in pixels, `detector` what the checks looked for faces with, `labels` the names of every class; None where
    the release does not say. `is_preview`: the pictures are drawings of the built-in preview.
    """

    folder: Path
    name: str
    digest: str
    table: pa.Table
    labels: dict[str, list[str]]
    height: int | None
    detector: Detector | None
    is_preview: bool = False

    @classmethod
    def of(cls, folder: Path, name: str = "") -> Truth:
        """Read a release folder. Raises UserError where it is none, or is damaged."""
        folder = folder.resolve()
        if agfd30k.is_raw(folder):
            raise UserError(f"{folder}: a raw build, not a release; run `agfd30k release --raw {folder}` first")
        files = [(path, split) for split in SPLITS for path in sorted(folder.glob(f"metadata/{split}-*.parquet"))]
        if not files:
            raise UserError(f"{folder}: no release, for it has no metadata/*.parquet; name its folder, or owner/name")
        path = files[0][0]
        try:
            labels = agfd30k.class_names(pq.read_schema(path))
            tables = []
            for path, split in files:
                tables.append(_rows(path, split, labels))
        except UNREADABLE as error:
            reason = " ".join(str(error).split())[:70]
            raise UserError(f"{path}: is not as the builder writes it ({reason}); {ANEW}") from None
        table = pa.concat_tables(tables)
        recipe = _recipe(folder)
        height = recipe.get("recipe", {}).get("height")
        is_preview = _is_preview(folder)
        detector = _detector(folder, recipe, is_preview)
        return cls(folder, name or folder.name, _digest(table), table, labels, height, detector, is_preview)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def ids(self) -> list[str]:
        return self.table["id"].to_pylist()

    def strings(self, name: str) -> np.ndarray:
        """Return a column of words, (n,); None where there is none."""
        return np.array(self.table[name].to_pylist(), dtype=object)

    def numbers(self, *names: str) -> np.ndarray:
        """Return columns of numbers, (n, columns), NaN for null."""
        return np.stack([self.table[name].to_numpy().astype(np.float64) for name in names], axis=1)

    def chosen(self, split: str | None = None, verified: bool = True) -> Truth:
        """Return the rows of a split, of all unless given; `verified` leaves out those that no check confirmed.

        Raises UserError where nothing is left.
        """
        if split is not None and split not in SPLITS:
            raise UserError(f"--split {split}: choose {', '.join(SPLITS)}")
        table = self.table if split is None else self.table.filter(pc.equal(self.table["split"], split))
        if not len(table):
            raise UserError(f"{self.name}: has no pictures in {split}")
        kept = table.filter(pc.fill_null(table["verified"], False)) if verified else table
        if not len(kept):
            raise UserError(f"{self.name}: no picture is verified, so nothing sure can be said; --all takes them all")
        return replace(self, table=kept)

    def without_twins(self) -> Truth:
        """Return the rows that are no twins. Raises UserError where there are twins alone."""
        kept = self.table.filter(pc.is_null(self.table["twin_of"]))
        if not len(kept):
            raise UserError(f"{self.name}: has nothing but twins")
        return replace(self, table=kept)

    def twins_of(self, pictures: Truth) -> np.ndarray:
        """Return for each of some pictures the place of its twin among these rows, (n,), -1 where there is none."""
        places = pc.index_in(pa.array(pictures.ids, pa.string()), self.table["twin_of"].combine_chunks())
        return pc.fill_null(places, -1).to_numpy(zero_copy_only=False)


def _rows(path: Path, split: str, labels: dict[str, list[str]]) -> pa.Table:
    """Return COLUMNS of a file and its split; a column that an older release lacks is null."""
    with pq.ParquetFile(path) as file:
        read = agfd30k.flattened(file.read(columns=agfd30k.stored(COLUMNS, file.schema_arrow)))
    columns: dict[str, Any] = {}
    for name in COLUMNS:
        if name in CLASSES:
            columns[name] = pa.array(labels[name], pa.string()).take(read[name].combine_chunks())
        elif name in read.column_names:
            columns[name] = read[name]
        else:
            columns[name] = pa.nulls(len(read))
    if columns["id"].null_count:
        raise ValueError("a row has no id")
    kinds = dict.fromkeys(NUMBERS, pa.float32()) | {"verified": pa.bool_(), "seed": pa.int64()}
    arrays = {name: column.cast(kinds.get(name, pa.string())) for name, column in columns.items()}
    return pa.table({**arrays, "split": pa.array([split] * len(read), pa.string())})


def _digest(table: pa.Table) -> str:
    rows = sorted(zip(table["id"].to_pylist(), table["sha256"].to_pylist()), key=lambda row: row[0])
    return hashlib.sha256("\n".join(f"{id} {digest or ''}" for id, digest in rows).encode()).hexdigest()[:16]


def _recipe(folder: Path) -> dict[str, Any]:
    """Return the table that the release was made from; nothing where it does not say."""
    try:
        return tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _is_preview(folder: Path) -> bool:
    """Return whether the release says that its pictures are a preview; False where it does not say."""
    try:
        info = BuildInfo.read(folder)
    except (OSError, ValueError):
        return False
    return info is not None and info.is_preview


def _detector(folder: Path, recipe: dict[str, Any], is_preview: bool) -> Detector | None:
    """Return what the face check looked with; None where there was none, or nobody knows."""
    try:
        checks = {check.name: check for check in ChecksReport.read(folder).checks}
    except (OSError, ValueError):
        return None
    if "face" not in checks:
        return None
    name = str(recipe.get("checks", {}).get("face", {}).get("detector", "yunet"))
    model = checks["face"].model
    by_classifier = is_preview or name == CLASSIFIER
    name = YUNET if by_classifier else name
    return Detector(name, (model.sha256 or model.revision) if model else None, not by_classifier)
