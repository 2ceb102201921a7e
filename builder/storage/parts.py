"""A finished shard as one Parquet file, from which its folder is restored byte for byte.

A row of it is a line of the shard: `kind` says of which of its two files, `line` is the line with its line feed, and
`picture` the bytes of the picture that a row names. Whoever wants the lines alone reads them without the pictures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from builder.common.documents import Malformed, parse
from builder.common.files import sync
from builder.raw.layout import IMAGES, REJECTED, ROWS
from builder.raw.lines import split
from builder.raw.receipts import Damaged, Receipt

ROW, REJECTION = 0, 1
SCHEMA = pa.schema([("kind", pa.uint8()), ("line", pa.binary()), ("picture", pa.large_binary())])
GROUP = 64 << 20
"""Bytes of pictures that are in memory at a time."""
FILES = {ROW: ROWS, REJECTION: REJECTED}


@dataclass(frozen=True)
class Lines:
    """The bytes of a shard's two files of lines."""

    rows: bytes
    rejections: bytes

    def fits(self, facts: Receipt) -> bool:
        """Return True where a receipt was written for these very lines."""
        digests = (hashlib.sha256(lines).hexdigest() for lines in (self.rows, self.rejections))
        return (facts.sha256, facts.rejections) == tuple(digests)


def write(shard: Path, path: Path) -> None:
    """Write a finished shard to a file, on disk when this returns. The same shard gives the same bytes."""
    options = {"compression": {"kind": "zstd", "line": "zstd", "picture": "none"}, "write_statistics": False}
    with open(path, "wb") as file:
        with pq.ParquetWriter(file, SCHEMA, use_dictionary=False, store_schema=False, **options) as writer:
            for entries in _groups(shard):
                kinds, lines, pictures = zip(*entries)
                columns = [pa.array(values, field.type) for values, field in zip((kinds, lines, pictures), SCHEMA)]
                writer.write_table(pa.Table.from_arrays(columns, schema=SCHEMA))
        sync(file)


def read_lines(file: Any) -> Lines:
    """Return the lines of a part, of which nothing else is read. Raises Malformed for a file that is none."""
    try:
        table = pq.read_table(file, columns=["kind", "line"], pre_buffer=True)
    except (pa.ArrowInvalid, KeyError) as error:
        raise Malformed(f"no part of a build ({error})") from None
    entries = list(zip(table["kind"].to_pylist(), table["line"].to_pylist()))
    rows, rejections = (b"".join(line for kind, line in entries if kind == wanted) for wanted in FILES)
    return Lines(rows, rejections)


def restore(path: Path, shard: Path) -> None:
    """Write the lines and pictures of a part to a folder that is empty but for its folder of pictures.

    Raises Malformed for a file that is no part, and for a picture whose name leads elsewhere.
    """
    try:
        with pq.ParquetFile(path) as part, open(shard / ROWS, "wb") as rows, open(shard / REJECTED, "wb") as rejected:
            for batch in part.iter_batches(batch_size=32):
                for kind, line, picture in zip(*(batch.column(name).to_pylist() for name in SCHEMA.names)):
                    (rows if kind == ROW else rejected).write(line)
                    if kind == ROW:
                        _write_picture(shard, _name(line), picture)
            for lines in (rows, rejected):
                sync(lines)
    except (pa.ArrowInvalid, KeyError, TypeError) as error:
        raise Malformed(f"no part of a build ({error})") from None


def _write_picture(shard: Path, name: str, data: bytes) -> None:
    with open(shard / name, "wb") as file:
        file.write(data)
        sync(file)


def _groups(shard: Path) -> Iterator[list[tuple[int, bytes, bytes | None]]]:
    """Yield the lines of a shard with their pictures, about GROUP bytes at a time."""
    group: list[tuple[int, bytes, bytes | None]] = []
    size = 0
    for entry in _entries(shard):
        group.append(entry)
        size += len(entry[1]) + len(entry[2] or b"")
        if size >= GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group


def _entries(shard: Path) -> Iterable[tuple[int, bytes, bytes | None]]:
    for line in split((shard / ROWS).read_bytes()):
        picture = (shard / _name(line)).read_bytes()
        if hashlib.sha256(picture).hexdigest() != parse(line)["sha256"]:
            raise Damaged(f"{shard / _name(line)}: is not the picture that was committed", shard)
        yield ROW, line, picture
    for line in split((shard / REJECTED).read_bytes()):
        yield REJECTION, line, None


def _name(line: bytes) -> str:
    """Return where a row's picture lies in its shard. Raises Malformed for anywhere else than among its pictures."""
    row = parse(line)
    name = row.get("file_name") if isinstance(row, dict) else None
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    if len(parts) != 2 or parts[0] != IMAGES or parts[1].startswith(".") or "\\" in parts[1]:
        raise Malformed(f"a picture named {name!r}")
    return f"{IMAGES}/{parts[1]}"
