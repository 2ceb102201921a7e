"""What a report shows, read from a release folder: the labels of all rows, what the checks found, and near pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Features

import agfd30k
from agfd30k import POINTS, SPLITS
from builder.checks.duplicates import numbers, pairs
from builder.common import documents
from builder.common.errors import UserError
from builder.dataset.build_info import BuildInfo
from builder.dataset.folder import Release
from builder.dataset.statistics import CHECKS_FILE, SCORES, ChecksReport, FeatureCounts

CLASSES = ("attribute", "feature", "sex", "ethnicity", "age_group")
AXES = (*CLASSES, "verified", "split")
"""What rows are filtered and counted by."""
VERIFIED = ("yes", "no", "not judged")
TURNS = ("yaw", "pitch", "roll")
"""Which way a face looks, in degrees: to the picture's right, down, and clockwise."""
RADIUS, MOST_PAIRS = 8, 30
ANEW = "make the release again with `agfd30k release`"
UNREADABLE = (OSError, pa.ArrowException, ValueError, ArithmeticError, LookupError, TypeError, AttributeError)
"""What reading a damaged file, or one of another shape, can end in."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn whatever reading a file ends in into a UserError of one line that names the file and says what to do."""
    try:
        yield
    except UNREADABLE as error:
        reason = " ".join(str(error).split())[:70] or type(error).__name__
        raise UserError(f"{path}: is not as the builder writes it ({reason}); {ANEW}") from None


def readable(names: Iterable[str], schema: pa.Schema) -> list[str]:
    """Return the columns of a release's file that hold these ones; points, turns and twins where it has them."""
    some = (*POINTS, *TURNS, "twin_of")
    return agfd30k.stored([name for name in names if name in schema.names or name not in some], schema)


def columns_of(file: pq.ParquetFile, names: Iterable[str]) -> pa.Table:
    """Return these columns of a release's file; points and turns where it has them."""
    return agfd30k.flattened(file.read(columns=readable(names, file.schema_arrow)))


@dataclass(frozen=True)
class Labels:
    """The labels of n rows, split by split.

    `names` maps each of AXES to its values, `codes` (n, AXES) says which one a row has, `ids` is an Arrow array;
    `scores` are the attribute scores, NaN for none, `hashes` the perceptual hashes (uint64) of rows that are `hashed`,
    `twin_of` an Arrow array of the ids of what twins are the twins of, null for other rows.
    """

    names: dict[str, list[str]]
    codes: np.ndarray
    ids: pa.Array
    twin_of: pa.Array
    scores: np.ndarray
    hashes: np.ndarray
    hashed: np.ndarray

    @classmethod
    def of(cls, folder: Path) -> Labels:
        """Read them. Raises UserError where they are not those of a release."""
        files = [(path, split) for split in SPLITS for path in sorted(folder.glob(f"metadata/{split}-*.parquet"))]
        if not files:
            raise UserError(f"{folder}: has no metadata/*.parquet; {ANEW}")
        names: dict[str, list[str]] = {}
        parts = []
        for path, split in files:
            with naming(path):
                names = names or _names(path)
                parts.append(_part(path, split, names))
        codes, ids, twin_of, *rest = zip(*parts)
        columns = map(np.concatenate, rest)
        return cls(names, np.concatenate(codes), pa.concat_arrays(ids), pa.concat_arrays(twin_of), *columns)

    def column(self, axis: str) -> np.ndarray:
        """Return which of its values each row has, (n,)."""
        return self.codes[:, AXES.index(axis)]

    def cells(self) -> tuple[list[list[int]], list[int]]:
        """Return every combination of labels that there is, a column for each of AXES, and how many rows have it."""
        combinations, counts = np.unique(self.codes, axis=0, return_counts=True)
        return combinations.T.tolist(), counts.tolist()

    def histogram(self, feature: str) -> list[int] | None:
        """Return the attribute scores of a feature's rows in SCORES bins from 0 to 1; None where no row has one."""
        if feature not in self.names["feature"]:
            return None
        own = self.scores[self.column("feature") == self.names["feature"].index(feature)]
        own = own[np.isfinite(own)]
        bins = np.clip((own * SCORES).astype(np.int64), 0, SCORES - 1)
        return np.bincount(bins, minlength=SCORES).tolist() if len(own) else None

    @cached_property
    def twins(self) -> dict[int, int]:
        """The places of twins, each with that of the picture whose twin it is, where that is there."""
        twins = np.flatnonzero(self.twin_of.is_valid().to_numpy(zero_copy_only=False)).tolist()
        places = pc.index_in(self.twin_of.take(pa.array(twins, pa.int64())), self.ids).to_pylist()
        return {twin: place for twin, place in zip(twins, places) if place is not None}

    def near(self) -> list[tuple[int, int, int]]:
        """The nearest pairs of rows, (place, place, bits that differ), at most MOST_PAIRS, the smallest distance first;
        twins are meant to be near.

        Each of several rows with the very same hash is shown beside the first of them alone.
        """
        known = np.flatnonzero(self.hashed)
        hashes = self.hashes[known]
        distinct, first, kind = np.unique(hashes, return_index=True, return_inverse=True)
        again = np.flatnonzero(first[kind] != np.arange(len(hashes)))
        i, j, distance = pairs(distinct, RADIUS)
        order = np.argsort(distance, kind="stable")
        one = np.concatenate([first[kind[again]], first[i[order]]])
        other = np.concatenate([again, first[j[order]]])
        bits = np.concatenate([np.zeros_like(again), distance[order]])
        nearest = zip(*(column.tolist() for column in (known[one], known[other], bits)))
        strangers = (
            pair for pair in nearest if self.twins.get(pair[0]) != pair[1] and self.twins.get(pair[1]) != pair[0]
        )
        return [*islice(strangers, MOST_PAIRS)]


def _names(path: Path) -> dict[str, list[str]]:
    features = Features.from_arrow_schema(pq.read_schema(path))
    classes = {name: [str(value) for value in features[name].names] for name in CLASSES}
    return classes | {"verified": [*VERIFIED], "split": [*SPLITS]}


def _part(path: Path, split: str, names: dict[str, list[str]]) -> tuple:
    """Return what `Labels` has of one file's rows, without the names."""
    with pq.ParquetFile(path) as file:
        columns = ("id", "twin_of", *CLASSES, "verified", "attribute_score", "perceptual_hash")
        read = columns_of(file, columns)
        has_twins = "twin_of" in read.column_names
    classes = [pc.fill_null(read[name], -1).to_numpy() for name in CLASSES]
    for name, codes in zip(CLASSES, classes):
        if len(codes) and not (codes.min() >= 0 and codes.max() < len(names[name])):
            raise ValueError(f"a row has a {name} without a name")
    classes.append(pc.fill_null(pc.if_else(read["verified"], 0, 1), 2).to_numpy())
    classes.append(np.full(len(read), SPLITS.index(split)))
    scores, hashes = read["attribute_score"].combine_chunks(), read["perceptual_hash"].combine_chunks()
    codes = np.stack(classes, axis=1).astype(np.int16)
    bits = numbers([text or "0" for text in hashes.to_pylist()])
    return (
        codes,
        read["id"].combine_chunks(),
        read["twin_of"].combine_chunks() if has_twins else pa.nulls(len(read), pa.string()),
        scores.to_numpy(zero_copy_only=False).astype(np.float64),
        bits,
        hashes.is_valid().to_numpy(zero_copy_only=False),
    )


def headline(folder: Path) -> tuple[str, bool]:
    """Return the dataset's name, and whether its pictures are a preview: one sign of it in README.md is enough."""
    path = folder / "README.md"
    with naming(path):
        info = BuildInfo.parse(path.read_text(encoding="utf-8"))
        if info is None:
            raise ValueError("it does not say what it was built from")
        card = Release(folder).card[0]
        return str(card.get("pretty_name") or folder.name), info.is_preview or "preview" in (card.get("tags") or ())


def checks_report(folder: Path) -> ChecksReport:
    """Return what the checks found, as the release says."""
    with naming(folder / "assets" / CHECKS_FILE):
        return ChecksReport.read(folder)


def calibration(folder: Path) -> dict[str, dict[str, Any]]:
    """How often the checks are right, by feature: precision, its interval, how many judged. Nothing where not known."""
    path = folder / "assets" / "calibration.json"
    if not path.exists():
        return {}
    with naming(path):
        rows = documents.read(path)["features"]
        return {str(row["feature"]): _precision(row) for row in rows if row["precision"] is not None}


def rejected_tries(features: Iterable[FeatureCounts]) -> dict[str, Any]:
    """Return why tries were rejected, the most frequent reason first: by feature, so many for each reason."""
    features = list(features)
    counts: Counter[str] = Counter()
    for row in features:
        counts.update(row.reasons)
    reasons = [reason for reason, _ in counts.most_common()]
    rows = [
        [row.attribute, row.feature, row.made, [row.reasons.get(reason, 0) for reason in reasons]] for row in features
    ]
    return {"reasons": reasons, "rows": rows}


def _precision(row: dict[str, Any]) -> dict[str, Any]:
    low, high = row["precision_interval"]
    return {"judged": int(row["judged"]), "precision": float(row["precision"]), "interval": (float(low), float(high))}
