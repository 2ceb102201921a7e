"""What the Hub's dataset viewer can show of a release: pages, first pages, and statistics, by its own limits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from builder.dataset.first_page import PAGE
from builder.dataset.folder import Release
from builder.engine.engine import Engine
from builder.linting.parquet import by_file, naming

MOST_GROUP_BYTES = 286 * 2**20
"""Of one row group or page, uncompressed. Source: dataset-viewer, libcommon parquet_utils, TooBigRows (300 MB)."""
MOST_FIRST_ROWS_BYTES = 200_000
"""Of the first page as JSON, without pictures. Source: dataset-viewer, chart values, firstRows.maxBytes; libcommon
viewer_utils/rows.py, create_first_rows_response, which leaves rows out."""
STATISTICS_BYTES = 5_000_000_000
"""Uncompressed, from which on a split's further files are in no statistics. Source: dataset-viewer, chart values,
descriptiveStatistics.maxSplitSizeBytes; libcommon parquet_utils, get_num_parquet_files_to_process."""
MOST_CATEGORIES, MOST_CATEGORIES_SHARE, FEW = 1000, 0.2, 10
"""Strings with at most so many distinct values that are at most that share of the rows, or with so few, are counted;
of others the lengths are. Source: dataset-viewer, libcommon statistics_utils, StringColumn.is_class."""
ROWS_AT_ONCE = 2_000
SUMMARY = 35e-6
"""Seconds in which a row is summarized, on one core, to choose how many processes."""


def row_groups(release: Release) -> Iterator[str]:
    """The viewer can read any row without reading too much, and finds its pages by the page index."""
    for name in release.parquet:
        file = pq.read_metadata(release.folder / name)
        for number in range(file.num_row_groups):
            group = file.row_group(number)
            if group.total_byte_size > MOST_GROUP_BYTES:
                size = f"{group.total_byte_size:,} bytes"
                yield f"{name}: row group {number} has {size}, the viewer reads {MOST_GROUP_BYTES:,}"
            if not group.column(0).has_offset_index:
                yield f"{name}: row group {number} has no page index"
                break


def pages(release: Release) -> Iterator[str]:
    """The viewer can show any page: its pictures are not too large to be read at once."""
    for name in release.parquet:
        file = pq.read_metadata(release.folder / name)
        groups = [file.row_group(number) for number in range(file.num_row_groups)]
        size = max((group.total_byte_size * PAGE // group.num_rows for group in groups if group.num_rows), default=0)
        if size > MOST_GROUP_BYTES and file.num_rows >= PAGE:
            most = f"{MOST_GROUP_BYTES:,}; smaller files (--image-format jpg) would be shown"
            yield f"{name}: {PAGE} rows have some {size:,} bytes, the viewer reads at most {most}"


def first_rows(release: Release) -> Iterator[str]:
    """The viewer's first page of each config is not cut for its length."""
    for name, splits in release.configs().items():
        for split, patterns in splits.items():
            page = _first_rows(release, patterns)
            size = len(json.dumps(page, ensure_ascii=False).encode())
            if size > MOST_FIRST_ROWS_BYTES:
                most = f"the viewer's preview shows {MOST_FIRST_ROWS_BYTES:,}"
                yield f"{name}/{split}: its first {PAGE} rows have {size:,} bytes, {most}"


def _first_rows(release: Release, patterns: list[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for path in release.matching(patterns):
        with naming(path.relative_to(release.folder).as_posix()), pq.ParquetFile(path) as file:
            columns = [column for column in file.schema_arrow.names if column != "image"]
            for batch in file.iter_batches(PAGE, columns=columns):
                rows += batch.to_pylist()
                if len(rows) >= PAGE:
                    return rows[:PAGE]
    return rows


def statistics(release: Release, engine: Engine | None = None) -> Iterator[str]:
    """The viewer's statistics of every split can be computed.

    One column of whole numbers with exactly two values that are neighbours makes it drop those of the whole split, as
    does a column of numbers with a single value; the lengths of lists and of longer texts are whole numbers as well.
    Source: dataset-viewer, libcommon statistics_utils, compute_histogram and min_max_mean_median_std.
    """
    files = {
        (name, split): _in_statistics(release.matching(patterns))
        for name, splits in release.configs().items()
        for split, patterns in splits.items()
    }
    paths = dict.fromkeys(path for own in files.values() for path in own)
    names = [path.relative_to(release.folder).as_posix() for path in paths]
    summaries = dict(zip(paths, by_file(release, names, partial(_summaries, release.folder), SUMMARY, engine)))
    single: list[str] = []
    for (name, split), own in files.items():
        columns = [summaries[path] for path in own]
        whole = {column: reduce(Summary.with_, (each[column] for each in columns)) for column in columns[0]}
        if sum(pq.read_metadata(path).num_rows for path in own) == 1:
            single.append(f"{name}/{split}")
        elif reasons := [f"`{column}` {fault}" for column, each in whole.items() if (fault := each.fault())]:
            more = f", and {len(reasons) - 2} columns more" if len(reasons) > 2 else ""
            yield f"{name}/{split}: the viewer shows no statistics, since {', '.join(reasons[:2])}{more}"
    if single:
        more = f", and {len(single) - 3} more" if len(single) > 3 else ""
        yield f"the viewer shows no statistics of a split of one row: {', '.join(single[:3])}{more}"


def _in_statistics(files: list[Path]) -> list[Path]:
    """Return the files that the viewer's statistics are of."""
    size = 0
    for number, path in enumerate(files, 1):
        file = pq.read_metadata(path)
        size += sum(file.row_group(group).total_byte_size for group in range(file.num_row_groups))
        if size > STATISTICS_BYTES:
            return files[:number]
    return files


@dataclass(frozen=True)
class Summary:
    """What decides of a column's statistics: rows, how many have a value, the smallest and largest, of whole numbers or
    of lengths, and of strings the distinct values as hashes, no more than it takes to know that they are many.
    """

    is_whole: bool
    rows: int = 0
    values: int = 0
    least: float | None = None
    most: float | None = None
    distinct: frozenset[int] | None = field(default=None, repr=False)

    def with_(self, other: Summary) -> Summary:
        """Return the summary of both."""
        leasts = [each.least for each in (self, other) if each.least is not None]
        mosts = [each.most for each in (self, other) if each.most is not None]
        distinct = None
        if self.distinct is not None and other.distinct is not None:
            distinct = _few_or(self.distinct | other.distinct)
        return replace(
            self,
            rows=self.rows + other.rows,
            values=self.values + other.values,
            least=min(leasts, default=None),
            most=max(mosts, default=None),
            distinct=distinct,
        )

    def fault(self) -> str | None:
        """Return why the statistics cannot be computed, or None."""
        if self.distinct is not None and self._is_counted(len(self.distinct) + (self.values < self.rows)):
            return None
        lengths = "lengths" if self.distinct is not None else "values"
        if self.values == 1:
            return "has a single value"
        if self.is_whole and self.least is not None and self.most == self.least + 1:
            return f"has two neighbouring {lengths}, {self.least:g} and {self.most:g}"
        return None

    def _is_counted(self, distinct: int) -> bool:
        few = distinct <= MOST_CATEGORIES and distinct <= MOST_CATEGORIES_SHARE * self.rows
        return few or distinct <= FEW


def _summaries(folder: Path, name: str) -> Iterator[dict[str, Summary]]:
    """Summarize the columns of a file that have numbers, lengths or texts; pictures are all of one width."""
    with naming(name), pq.ParquetFile(folder / name) as file:
        stored = json.loads((file.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
        kinds = stored.get("info", {}).get("features", {})
        fields = [each for each in file.schema_arrow if kinds.get(each.name, {}).get("_type") != "ClassLabel"]
        summaries = {each.name: summary for each in fields if (summary := _empty(each.type))}
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=[*summaries]):
            for column in summaries:
                summaries[column] = summaries[column].with_(_summary(batch[column]))
    yield summaries


def _empty(kind: pa.DataType) -> Summary | None:
    if pa.types.is_floating(kind):
        return Summary(is_whole=False)
    if pa.types.is_integer(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return Summary(is_whole=True)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return Summary(is_whole=True, distinct=frozenset())
    return None


MANY = frozenset(range(MOST_CATEGORIES + 1))
"""In the place of more distinct values than it takes to know that they are many, which would only take memory."""


def _few_or(distinct: frozenset[int]) -> frozenset[int]:
    return MANY if len(distinct) > MOST_CATEGORIES else distinct


def _hash(text: str) -> int:
    """Return a text's hash, which is the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def _summary(values: pa.Array) -> Summary:
    empty = _empty(values.type)
    assert empty is not None
    present = values.drop_null()
    distinct = None
    if empty.distinct is not None:
        some = pc.unique(present).slice(0, MOST_CATEGORIES + 1).to_pylist()
        distinct = _few_or(frozenset(map(_hash, some)))
        present = pc.utf8_length(present)
    elif pa.types.is_floating(values.type):
        present = present.filter(pc.invert(pc.is_nan(present)))
    elif not pa.types.is_integer(values.type):
        present = pc.list_value_length(present)
    ends = pc.min_max(present).as_py()
    return replace(empty, rows=len(values), values=len(present), least=ends["min"], most=ends["max"], distinct=distinct)
