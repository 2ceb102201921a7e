"""The labels of a release, read from its config `metadata`: rows without their pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features

import agfd30k
from builder.common.errors import UserError
from builder.dataset.folder import DATA
from builder.dataset.parquet import METADATA

Row = dict[str, Any]
AT_ONCE = 1000


def label_files(folder: Path) -> list[tuple[str, Path]]:
    """Return the files of labels, each with its split, in the order of their rows.

    Raises UserError where there are none.
    """
    paths = sorted((folder / METADATA).glob("*.parquet"))
    parts = [(DATA.fullmatch(f"{METADATA}/{path.name}"), path) for path in paths]
    found = [(part[2], path) for part, path in parts if part]
    if not found:
        raise UserError(f"{folder}: no release, for it has no {METADATA}/*.parquet")
    return found


def columns(folder: Path) -> Features:
    """Return the columns of the labels. Raises UserError where they cannot be read."""
    path = label_files(folder)[0][1]
    try:
        return Features.from_arrow_schema(pq.read_schema(path))
    except (OSError, pa.ArrowException, ValueError) as error:
        raise _unreadable(path, error) from None


def label_rows(folder: Path) -> Iterator[tuple[str, Row]]:
    """Yield every row with its split, classes by their names. Raises UserError for a file that cannot be read."""
    for split, path in label_files(folder):
        try:
            with pq.ParquetFile(path) as file:
                names = agfd30k.class_names(file.schema_arrow)
                for batch in file.iter_batches(AT_ONCE):
                    for row in batch.to_pylist():
                        yield split, {**row, **{name: some[row[name]] for name, some in names.items()}}
        except (OSError, pa.ArrowException, ValueError, LookupError, TypeError) as error:
            raise _unreadable(path, error) from None


def digest(split: str, row: Row) -> bytes:
    """Return what tells a row from every other one: all that it says, its picture's digest included, and its split."""
    return hashlib.blake2b(repr([split, *row.items()]).encode("utf-8", "replace"), digest_size=12).digest()


def key(id: str) -> bytes:
    """Return what stands for an id where many are held in memory."""
    return hashlib.blake2b(id.encode("utf-8", "replace"), digest_size=12).digest()


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: cannot be read ({' '.join(str(error).split())[:100]})")
