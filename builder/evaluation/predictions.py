"""What a model says of pictures: read from a file, checked, kept line by line so that a stopped run goes on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from builder.common.errors import UserError
from builder.common.progress import counted
from builder.evaluation.perturbations import CHANGES

KIND = "predictions"
FILE, REAL = "predictions.jsonl", "real.jsonl"
"""Of the release's pictures, and of real ones."""


@dataclass(frozen=True)
class Format:
    """How a task's predictions are written: `keys`, of which a row has one beside `id`; `shape` says it in words, and
    `parse` returns what a row says, or raises ValueError.
    """

    keys: tuple[str, ...]
    shape: str
    parse: Callable[[dict[str, Any]], Any]

    def row(self, value: Any) -> dict[str, Any]:
        """Return what a function says of a picture as a row without id. Raises ValueError where it is none of ours."""
        key = "scores" if isinstance(value, dict) and "scores" in self.keys else self.keys[0]
        row = {key: value}
        self.parse(row)
        return {key: value.tolist() if isinstance(value, np.ndarray | np.generic) else _plain(value)}


def _plain(value: Any) -> Any:
    """Return a value of Python's own kinds."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _array(value: Any) -> np.ndarray:
    array = np.asarray(value, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("a number is not finite")
    return array


def _boxes(row: dict[str, Any]) -> np.ndarray:
    boxes = _array(row["boxes"]) if len(row["boxes"]) else np.zeros((0, 5))
    if boxes.ndim != 2 or boxes.shape[1] != 5 or (boxes[:, 2:4] < 0).any():
        raise ValueError("not boxes")
    return boxes


def _label(row: dict[str, Any]) -> str:
    if "scores" not in row or row.get("scores") is None:
        if not isinstance(row["label"], str):
            raise ValueError("not a label")
        return row["label"]
    scores = {label: p for label, p in row["scores"].items() if p is not None}  # Parquet fills a struct up with nulls
    values = _array([*scores.values()])
    if values.ndim != 1 or not len(values):
        raise ValueError("no scores")
    return str([*scores][int(values.argmax())])


def _points(row: dict[str, Any]) -> np.ndarray:
    """Return the points on the picture, then those on each of CHANGES, (5, 5, 2): NaN where there are none."""
    copies = [row.get(name) for name in CHANGES]
    return np.stack([_five(row["points"]), *(_five([] if points is None else points) for points in copies)])


def _five(value: Any) -> np.ndarray:
    points = _array(value) if len(value) else np.full((5, 2), np.nan)
    if points.shape != (5, 2):
        raise ValueError("not five points")
    return points


def plain(task: str, value: Any) -> Any:
    """Return what is said of a picture, of its changed copies nothing, as lists and Python's own values."""
    if task == "landmark":
        return [] if np.isnan(value[0]).any() else value[0].tolist()
    return value.tolist() if isinstance(value, np.ndarray) else value


def _embedding(row: dict[str, Any]) -> np.ndarray:
    vector = _array(row["embedding"])
    if vector.ndim != 1 or not np.any(vector):
        raise ValueError("not an embedding")
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _score(row: dict[str, Any]) -> float:
    if isinstance(row["score"], bool | str):
        raise ValueError("not a score")
    return float(_array(row["score"]))


FORMATS = {
    "detect": Format(("boxes",), "boxes: [[x, y, width, height, score], ...]", _boxes),
    "attribute": Format(("label", "scores"), 'label: "name", or scores: {"name": number, ...}', _label),
    "landmark": Format(("points",), "points: [[x, y], ...], five or none", _points),
    "recognise": Format(("embedding",), "embedding: [number, ...], not all 0", _embedding),
    "fake": Format(("score",), "score: number", _score),
}
"""By task."""


@dataclass(frozen=True)
class Identity:
    """What predictions are of: another task's, model's or release's are not mixed with them."""

    task: str
    model: str
    model_digest: str | None
    release: str
    release_digest: str

    def difference(self, other: Identity) -> str | None:
        """Return in words how another one differs, None where it does not."""
        for what in ("task", "release_digest", "model", "model_digest"):
            mine, theirs = getattr(self, what), getattr(other, what)
            if mine != theirs:
                return f"{what.replace('_', ' ')} {theirs}, not {mine}"
        return None

    @property
    def header(self) -> str:
        return json.dumps({"agfd30k": KIND, **asdict(self)}, ensure_ascii=False)

    @classmethod
    def of(cls, row: dict[str, Any]) -> Identity | None:
        """Return that of a header, None for any other row."""
        if row.get("agfd30k") != KIND:
            return None
        return cls(**{name: row.get(name, "") for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Predictions:
    """What a model says of pictures, by id; `identity` where the file says whose predictions they are."""

    values: dict[str, Any]
    identity: Identity | None = None


def read(
    path: Path, task: str, known: Collection[str], wanted: Collection[str], welcome: Collection[str] = ()
) -> Predictions:
    """Read a JSON Lines or Parquet file. `known` are the ids of the release, `wanted` those that must be there and
    `welcome` others that may; what is said of any others that are known is left out.

    Raises UserError, a line that tells the first id and how many there are, for rows that are not of the task's format,
    ids that stand twice, unknown ones, and those that are lacking.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file of predictions")
    collector = _Collector(path, task, set(known))
    for number, row in enumerate(_rows(path), 1):
        collector.add(number, row)
    return collector.checked(wanted, welcome)


class _Collector:
    """Takes rows, and counts what is wrong with them."""

    def __init__(self, path: Path, task: str, known: set[str]):
        self.path, self.task, self.known = path, task, known
        self.values: dict[str, Any] = {}
        self.faults: dict[str, list[str]] = {"wrong": [], "twice": [], "unknown": []}
        self.identity: Identity | None = None
        self.sizes: Counter[int] = Counter()

    def add(self, number: int, row: Any) -> None:
        if number == 1 and isinstance(row, dict) and (identity := Identity.of(row)):
            self.identity = identity
            return
        id = row.get("id") if isinstance(row, dict) else None
        if not isinstance(id, str):
            self.faults["wrong"].append(f"line {number}, which has no `id`")
        elif id in self.values:
            self.faults["twice"].append(id)
        elif id not in self.known:
            self.faults["unknown"].append(id)
        else:
            self._parse(id, row)

    def _parse(self, id: str, row: dict[str, Any]) -> None:
        self.values[id] = None
        try:
            value = FORMATS[self.task].parse(row)
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError):
            self.faults["wrong"].append(id)
            return
        if self.task == "recognise":
            self.sizes[len(value)] += 1
        if len(self.sizes) > 1:
            self.faults["wrong"].append(f"{id}, whose embedding is longer or shorter than the others")
        self.values[id] = value

    def checked(self, wanted: Collection[str], welcome: Collection[str] = ()) -> Predictions:
        """Return the predictions. Raises UserError for the worst kind of fault."""
        says = {
            "wrong": f"not like {{id, {FORMATS[self.task].shape}}}, every number finite",
            "twice": "of a picture that has one already",
            "unknown": "of no picture of the release",
        }
        for kind, what in says.items():
            if found := self.faults[kind]:
                raise UserError(f"{self.path}: {counted(len(found), 'prediction')} {what}: {found[0]} first")
        lost = [id for id in wanted if id not in self.values]
        if lost:
            raise UserError(f"{self.path}: {counted(len(lost), 'picture')} without a prediction: {lost[0]} first")
        there = [id for id in welcome if id in self.values]
        return Predictions({id: self.values[id] for id in (*wanted, *there)}, self.identity)


def scores(path: Path) -> Iterator[float]:
    """Yield the scores of a file whose pictures are not the release's, with or without ids. Raises UserError for a row
    that has none.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file of scores")
    for number, row in enumerate(_rows(path), 1):
        if number == 1 and isinstance(row, dict) and Identity.of(row):
            continue
        try:
            yield FORMATS["fake"].parse(row)
        except (ValueError, TypeError, LookupError):
            raise UserError(f"{path}: row {number} has no score, a finite number") from None


def _rows(path: Path) -> Iterator[Any]:
    """Yield the rows of a file. Raises UserError where it is neither JSON Lines nor Parquet."""
    try:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                for part in file.iter_batches(1000):
                    yield from part.to_pylist()
        else:
            yield from (row for row, _ in lines(path))
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())[:100]}") from None


def lines(path: Path) -> Iterator[tuple[Any, int]]:
    """Yield what the lines of a JSON Lines file say, and where each ends, in bytes; a last line that was torn off
    is none.

    Raises UserError for any other line that is no JSON.
    """
    end = 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            end += len(line)
            if not line.strip():
                continue
            try:
                yield json.loads(line), end
            except (ValueError, RecursionError):
                if line.endswith(b"\n"):
                    raise UserError(f"{path}, line {number}: is no JSON") from None
                return


class Store:
    """A file that predictions are appended to as they come; opened again, it goes on where it ended."""

    def __init__(self, path: Path, identity: Identity, known: Collection[str]):
        """Raises UserError for a file of another task, model or release, or one that is damaged."""
        self.path = path
        self.format = FORMATS[identity.task]
        self.done: dict[str, Any] = {}
        if path.exists():
            self._resume(identity, known)
        if not path.exists() or not path.stat().st_size:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(identity.header + "\n", encoding="utf-8")

    def _resume(self, identity: Identity, known: Collection[str]) -> None:
        collector, end = _Collector(self.path, identity.task, set(known)), 0
        for number, (row, place) in enumerate(lines(self.path), 1):
            if number == 1:
                self._require_same(identity, row)
            collector.add(number, row)
            end = place
        collector.checked(())
        self.done = collector.values
        self._cut(end)

    def _require_same(self, identity: Identity, row: Any) -> None:
        other = Identity.of(row) if isinstance(row, dict) else None
        if other is None:
            raise UserError(f"{self.path}: does not say whose predictions it holds; choose another --out")
        if differs := identity.difference(other):
            raise UserError(f"{self.path}: is of {differs}; choose another --out, or move it away")

    def _cut(self, end: int) -> None:
        """Remove the torn end of the file."""
        with open(self.path, "r+b") as file:
            file.truncate(end)
            file.seek(0, 2)
            if end:
                file.seek(end - 1)
                if file.read(1) != b"\n":
                    file.write(b"\n")

    def add(self, predictions: dict[str, dict[str, Any]]) -> None:
        """Append rows, by id, and push them to the disk's cache at once."""
        text = "".join(json.dumps({"id": id, **row}, ensure_ascii=False) + "\n" for id, row in predictions.items())
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(text)
        self.done |= {id: self.format.parse(row) for id, row in predictions.items()}
