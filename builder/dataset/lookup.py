"""Is this picture one of ours? The rows of a release whose file it is, or whose picture looks like it.

From the config `metadata` alone: the digest of the very file, then the perceptual hash that duplicates are found by,
which re-encoding and scaling change in a few of its 64 bits.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageOps, UnidentifiedImageError

import agfd30k
from builder.checks.duplicates import BITS, numbers, perceptual_hash
from builder.common.errors import UserError, printable

RADIUS = 6
"""Bits in which a picture may differ from one of ours and is still taken for it, unless somebody says otherwise;
`python tests/experiments/provenance.py` measures what that finds, and what it takes for another."""
HASH, OLD_HASH = "perceptual_hash", "checks"
"""The column of hashes; releases of before have it inside of a struct, as `hash`."""
SHOWN = ("id", "attribute", "prompt", "negative_prompt", "seed", "attempt", "model", "model_revision")


@dataclass(frozen=True)
class Match:
    """A row of a release whose picture is, or may be, the one that was looked up.

    `distance` is in how many of 64 bits the hashes differ, None for the very file.
    """

    id: str
    config: str
    split: str
    prompt: str
    negative_prompt: str
    seed: int
    attempt: int
    model: str
    model_revision: str
    distance: int | None

    def __str__(self) -> str:
        """Several lines, the first with the id."""
        how = "the very file" if self.distance is None else f"{self.distance} of {BITS} bits differ"
        parts = {
            "in": f"{self.config}, {self.split}",
            "prompt": self.prompt,
            "negative prompt": self.negative_prompt,
            "seed": f"{self.seed}, attempt {self.attempt}",
            "model": f"{self.model} {self.model_revision}",
        }
        lines = [f"{self.id}: {how}", *(f"  {name:<16}{value}" for name, value in parts.items())]
        return "\n".join(map(printable, lines))


class Place(NamedTuple):
    """Where a row stands: in which file, which row of it, and the `distance` of `Match`."""

    file: int
    row: int
    distance: int | None


@dataclass(frozen=True)
class Hashes:
    """The hashes of a file: `values`, uint64 (n,), of the rows that have one, whose numbers are `rows`, int (n,)."""

    rows: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[str | None]) -> Hashes:
        """Return those of all rows. Raises ValueError or OverflowError for what is none."""
        known = {row: text for row, text in enumerate(texts) if text is not None}
        return cls(np.array(list(known), dtype=np.int64), numbers(list(known.values())))


class Rows:
    """The rows of a release, from its files `metadata/<split>-*.parquet`, of any version of this tool.

    Only digests and hashes are read, until a row is shown. Raises UserError for files that cannot be read.
    """

    def __init__(self, files: Sequence[Path]):
        self.files = list(files)
        self._keys = [_keys(path) for path in self.files]

    def __len__(self) -> int:
        return sum(len(digests) for digests, _ in self._keys)

    @cached_property
    def without_hash(self) -> int:
        """Rows that are found by the very file alone."""
        return len(self) - sum(len(hashes.rows) for _, hashes in self._keys)

    def places(self, picture: Picture, radius: int) -> list[Place]:
        """Return where the row of this very file stands, else those within a radius, the nearest first."""
        exact = self._exact(picture.sha256)
        return exact or sorted(self._near(picture.hash, radius), key=lambda place: place.distance or 0)

    def match(self, place: Place) -> Match:
        """Return what the row at a place says."""
        path = self.files[place.file]
        with _readable(path), pq.ParquetFile(path) as file:
            (row,) = _row(file, place.row).to_pylist()
            row["config"] = agfd30k.class_names(file.schema_arrow)["attribute"][require_number(row.pop("attribute"))]
            row["attempt"] = int(row["attempt"])  # as a class it is the number of its name
        return Match(**row, split=path.name.partition("-")[0], distance=place.distance)

    def _exact(self, sha256: str) -> list[Place]:
        return [Place(n, digests.index(sha256), None) for n, (digests, _) in enumerate(self._keys) if sha256 in digests]

    def _near(self, hash: str, radius: int) -> Iterator[Place]:
        for n, (_, hashes) in enumerate(self._keys):
            distances = np.bitwise_count(hashes.values ^ numbers([hash]))
            within = distances <= radius
            near = zip(hashes.rows[within].tolist(), distances[within].tolist())
            yield from (Place(n, row, bits) for row, bits in near)


@dataclass(frozen=True)
class Picture:
    """A picture's file: its digest and its perceptual hash. Raises UserError for a file that is no picture."""

    path: Path

    @cached_property
    def data(self) -> bytes:
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise UserError(f"{self.path}: {error.strerror}") from None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def image(self) -> Image.Image:
        """The picture, decoded."""
        data = self.data
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                image = Image.open(io.BytesIO(data))
                image.load()
            return image
        except UnidentifiedImageError:
            raise UserError(f"{self.path}: is no picture of a kind that is known") from None
        except Exception as error:  # decoders of damaged files raise anything
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{self.path}: is no picture that can be read ({reason})") from None

    @cached_property
    def hash(self) -> str:
        """The hash of what a viewer shows, upright."""
        return perceptual_hash(ImageOps.exif_transpose(self.image).convert("RGB"))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Whatever is wrong with a Parquet file becomes one line."""
    try:
        yield
    except (OSError, pa.ArrowException, LookupError, OverflowError, RecursionError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: is not the metadata of a release of this tool ({reason})") from None


def _keys(path: Path) -> tuple[list[str], Hashes]:
    """Return the digests and the hashes of a file's rows."""
    with _readable(path), pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        column = HASH if HASH in names else f"{OLD_HASH}.hash" if OLD_HASH in names else None
        table = file.read(columns=["sha256", *([column] if column else [])])
        digests = table["sha256"].to_pylist()
        if column is None:
            return digests, Hashes.of([])
        values = table[column.partition(".")[0]].to_pylist()
        return digests, Hashes.of(values if column == HASH else [value and value["hash"] for value in values])


def _row(file: Any, place: int) -> pa.Table:
    """Return one row of a file, reading no more than its row group."""
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        if place < count:
            return file.read_row_group(group, columns=list(SHOWN)).slice(place, 1)
        place -= count
    raise LookupError(f"there is no row {place}")


def require_number(value: int) -> int:
    """Return the number of a class. Raises ValueError for one that counts from the end."""
    if value < 0:
        raise ValueError(f"no class has the number {value}")
    return value
