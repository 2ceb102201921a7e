"""The pictures that a model looks at: those of a release, or real ones, the files of a folder."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageOps

from builder.common.errors import UserError
from builder.common.progress import counted
from builder.evaluation import parity_sources
from builder.evaluation.truth import UNREADABLE, Truth

Batch = list[tuple[str, Image.Image]]
"""Ids with their pictures, RGB."""


@dataclass(frozen=True)
class Pictures:
    """Pictures by id: `read` yields those that are wanted, so many at a time; `digest` tells them from any others, and
    `place` says where they are.
    """

    ids: list[str]
    read: Callable[[set[str], int], Iterator[Batch]]
    digest: str
    place: str


def of_release(truth: Truth) -> Pictures:
    """Return the pictures of some rows of a release. Reading raises UserError where one is lost or damaged."""

    def read(wanted: set[str], batch: int) -> Iterator[Batch]:
        seen: set[str] = set()
        for rows in _batches(truth.folder, wanted, batch):
            seen |= {id for id, _ in rows}
            yield rows
        if lost := wanted - seen:
            raise UserError(
                f"{truth.name}: {counted(len(lost), 'picture')} of metadata/ not in data/, {min(lost)} first; "
                "`agfd30k lint` lists every fault"
            )

    return Pictures(truth.ids, read, truth.digest, truth.name)


def _batches(folder: Path, wanted: set[str], batch: int) -> Iterator[Batch]:
    left: Batch = []
    for path in sorted(folder.glob("data/*/*.parquet")):
        try:
            with pq.ParquetFile(path) as file:
                for part in file.iter_batches(batch, columns=["id", "sha256", "image"]):
                    left += [(row["id"], _decoded(row)) for row in _chosen(part, wanted)]
                    while len(left) >= batch:
                        yield left[:batch]
                        left = left[batch:]
        except (*UNREADABLE, SyntaxError) as error:
            reason = " ".join(str(error).split())
            name = path.relative_to(folder)
            raise UserError(f"{name}: cannot be read: {reason}; `agfd30k lint` lists every fault") from error
    if left:
        yield left


def _chosen(part: pa.RecordBatch, wanted: set[str]) -> list[dict[str, Any]]:
    chosen = [place for place, id in enumerate(part["id"].to_pylist()) if id in wanted]
    return part.take(pa.array(chosen, pa.int64())).to_pylist()


def _decoded(row: dict[str, Any]) -> Image.Image:
    data = row["image"]["bytes"]
    if row["sha256"] and hashlib.sha256(data).hexdigest() != row["sha256"]:
        raise ValueError(f"the picture of {row['id']} is not the one that its row says")
    return Image.open(io.BytesIO(data)).convert("RGB")


def of_folder(folder: Path) -> Pictures:
    """Return the picture files of a folder, by their paths in it, upright. Raises UserError where there are none, and
    in reading where one is no picture.
    """
    names = parity_sources.Real.of(folder).names

    def read(wanted: set[str], batch: int) -> Iterator[Batch]:
        left = [name for name in names if name in wanted]
        for start in range(0, len(left), batch):
            yield [(name, _opened(folder / name)) for name in left[start : start + batch]]

    listing = "\n".join(f"{name} {(folder / name).stat().st_size}" for name in names)
    return Pictures(names, read, hashlib.sha256(listing.encode()).hexdigest()[:16], str(folder))


def _opened(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())[:100]
        raise UserError(f"--real: {path}: is no picture that can be read ({reason}); move it away") from error
