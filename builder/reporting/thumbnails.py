"""The pictures of a report: which rows are shown, and small copies of them with what the dialog tells of each."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

import agfd30k
from agfd30k import COLUMNS, FACE_BOX, MEASURES, POINTS
from builder.common.errors import UserError
from builder.common.progress import progress_bar
from builder.reporting.data import ANEW, TURNS, Labels, naming, readable

MEASURED = [*(name for name in COLUMNS if name in MEASURES and name not in TURNS), *TURNS]
FACE = (*FACE_BOX, *POINTS)
SHOWN = [
    "id",
    "age",
    "phrase",
    "prompt",
    "seed",
    "attempt",
    "checks_passed",
    "checks_failed",
    *MEASURED,
    *FACE,
    "image",
]
AT_ONCE = 10
QUALITY = 75
"""Of WebP: 3,000 drawn faces of 96 pixels take 3 MB, one file each 7% more than a sheet for every feature."""


def choose(labels: Labels, most: int) -> list[int]:
    """Places of at most `most` rows: as many of every feature and sex as there are and as is fair, in plan order.

    The plan takes turns among all kinds of people, so its first rows are a fair sample.
    """
    feature, sex = labels.column("feature"), labels.column("sex")
    cells = [[np.flatnonzero((feature == f) & (sex == s)) for s in np.unique(sex)] for f in np.unique(feature)]
    chosen: list[int] = []
    for own, share in zip(cells, shares([sum(map(len, own)) for own in cells], most)):
        counts = shares([len(cell) for cell in own], share)
        ranked = [enumerate(_in_plan_order(labels, cell)[:count]) for cell, count in zip(own, counts)]
        chosen += [place for _, _, place in sorted((n, s, place) for s, rows in enumerate(ranked) for n, place in rows)]
    return chosen


def choose_twins(labels: Labels) -> list[tuple[int, int]]:
    """Return the places of one picture of every feature that has twins, with its twin's; in the features' order."""
    feature = labels.column("feature")
    first: dict[int, tuple[int, int]] = {}
    for twin, original in labels.twins.items():
        first.setdefault(int(feature[original]), (original, twin))
    return [first[code] for code in sorted(first)]


def shares(sizes: list[int], total: int) -> list[int]:
    """Return how many of `total` each gets: all the same, but none more than its size."""
    given, left = [0] * len(sizes), total
    for done, place in enumerate(sorted(range(len(sizes)), key=sizes.__getitem__)):
        given[place] = min(sizes[place], left // (len(sizes) - done))
        left -= given[place]
    return given


def _in_plan_order(labels: Labels, places: np.ndarray) -> list[int]:
    """Rows of one feature and sex by the number that ends their id."""
    ids = labels.ids.take(pa.array(places)).to_pylist()
    return [int(place) for _, _, place in sorted((len(id), id, place) for id, place in zip(ids, places))]


def pictures(folder: Path, labels: Labels, places: list[int], side: int) -> dict[int, dict[str, Any]]:
    """By place, of each of these rows: `image`, a WebP as a data URI that fits into side × side, and what it is.

    Reads every picture file once, a few pictures at a time. Raises UserError where one is missing or does not decode.
    """
    places_of = dict(zip(labels.ids.take(pa.array(places, pa.int64())).to_pylist(), places))
    pictures = {}
    with progress_bar(total=len(places_of), desc="report", unit="picture") as bar:
        for path in sorted(folder.glob("data/*/*.parquet")):
            with naming(path):
                for row in _rows(path, pa.array([*places_of], pa.string())):
                    pictures[places_of[row["id"]]] = _shown(row, side)
                    bar.update()
    if lost := places_of.keys() - {row["id"] for row in pictures.values()}:
        raise UserError(f"{folder}: {len(lost)} rows are in metadata/ but not in data/, {min(lost)} first; {ANEW}")
    return pictures


def _rows(path: Path, wanted: pa.Array) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file whose id is wanted, with their pictures."""
    with pq.ParquetFile(path, buffer_size=2**20) as file:
        for group in range(file.num_row_groups):
            ids = file.read_row_group(group, columns=["id"])["id"]
            if pc.any(pc.is_in(ids, wanted)).as_py():
                stored = readable(SHOWN, file.schema_arrow)
                for batch in file.iter_batches(AT_ONCE, row_groups=[group], columns=stored):
                    some = pa.table(batch.filter(pc.is_in(batch["id"], wanted)))
                    yield from agfd30k.flattened(some).to_pylist()


def _shown(row: dict[str, Any], side: int) -> dict[str, Any]:
    image, size = _thumbnail(row, side)
    return {
        **{key: row[key] for key in ("id", "attempt", "seed", "prompt")},
        "age": int(row["age"]),
        "phrase": row["phrase"] or "",
        "outcome": tuple(tuple((row[name] or "").split()) for name in ("checks_passed", "checks_failed")),
        "measured": [_rounded(row.get(name)) for name in MEASURED],
        "face": _face(row),
        "image": image,
        "size": size,
    }


def _face(row: dict[str, Any]) -> list[float] | None:
    """Left, top, width and height of a row's face, then x and y of its points, in pixels; None where there is no box,
    without points where these are not known.
    """
    box, points = (_places(row, names) for names in (FACE_BOX, POINTS))
    return box + points if box else None


def _places(row: dict[str, Any], names: Sequence[str]) -> list[float]:
    """Return these numbers of a row; none where one of them is not known."""
    places = [place for name in names if (place := _rounded(row.get(name))) is not None]
    return places if len(places) == len(names) else []


def _rounded(value: float | None) -> float | None:
    """Three digits; None for what JSON has no number for."""
    if value is None or not math.isfinite(value):
        return None
    number = float(f"{value:.3g}")
    return int(number) if number.is_integer() else number


def _thumbnail(row: dict[str, Any], side: int) -> tuple[str, tuple[int, int]]:
    """Return a row's picture as a small copy, a data URI; and the size of the picture itself."""
    try:
        with Image.open(io.BytesIO(row["image"]["bytes"])) as image:
            size = image.size
            image.thumbnail((side, side), Image.Resampling.LANCZOS)
            small = image.convert("RGB")
    except Exception as error:  # decoders raise anything
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"the picture of {row['id']} cannot be decoded: {reason}") from None
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}", size
