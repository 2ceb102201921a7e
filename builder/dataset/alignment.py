"""A build's faces, aligned by their five points: files of the same kind as its pictures, marked as machine-made."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import pyarrow as pa
from PIL import Image

import agfd30k
from builder.raw.shard_writer import encode

SIDES = range(32, 1025)
"""Pixels that an aligned face may have on a side: a row group of 100 larger ones is more than the viewer reads."""
THREADS = 4


@dataclass(frozen=True)
class Aligner:
    """Aligns faces to pictures of `side` × `side` pixels. The same rows and pictures give the same bytes."""

    side: int

    def align(self, rows: Sequence[dict[str, Any]], images: pa.StructArray) -> tuple[list[dict], pa.StructArray]:
        """Return the rows in which a face was found with its picture, {"bytes", "path"}, and the digests of both.

        Rows whose five points are not there, or are no face's, are left out.
        """
        data = images.field("bytes")
        with ThreadPoolExecutor(THREADS) as pool:
            files = pool.map(self._file, rows, (value.as_buffer() for value in data))
        kept = list(self._kept(rows, files))
        column = [{"bytes": file, "path": PurePath(row["file_name"]).name} for row, file in kept]
        kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        return [row for row, _ in kept], pa.array(column, kind)

    def _kept(self, rows: Sequence[dict], files: Iterator[bytes | None]) -> Iterator[tuple[dict, bytes]]:
        for row, file in zip(rows, files):
            if file is not None:
                digest = hashlib.sha256(file).hexdigest()
                yield {**row, "source_sha256": row["sha256"], "sha256": digest}, file

    def _file(self, row: dict[str, Any], data: pa.Buffer) -> bytes | None:
        """Return the file of an aligned face, or None."""
        points = points_of(row)
        if points is None:
            return None
        with Image.open(io.BytesIO(data)) as image:
            try:
                face = agfd30k.align(image, points, self.side)
            except ValueError:
                return None
        ending = PurePath(row["file_name"]).suffix[1:]
        return encode(face, ending, f"{row['model']} {row['model_revision']}")


def points_of(row: dict[str, Any]) -> list[float] | None:
    """Return the five points that a raw row's checks have noted, ten numbers; older rows have none."""
    return row["checks"].get("points")
