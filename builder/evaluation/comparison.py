"""Two models on the same pictures: in which slices one fails more often than the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from builder.common import documents
from builder.common.errors import UserError
from builder.common.files import atomic
from builder.evaluation import statistics
from builder.evaluation.cells import FEW, Measure, Pair, measure
from builder.evaluation.paired import paired
from builder.evaluation.report import ModelName, ReleaseName, Report, escaped, p_said, percent, require_free, span

FILE = "comparison.json"


class PairedCell(documents.Document):
    """A slice: of `trials`, how many only the first model fails, and only the second; both rates.

    `difference` is the first rate less the second; `p` is McNemar's, of pairs of pictures the jackknife's, `holm` the
    same for all cells together. `measures` are the mean differences of further numbers.
    """

    key: dict[str, str]
    pictures: int
    trials: int
    rates: tuple[float, float]
    only_first: int | None
    only_second: int | None
    difference: float
    difference_interval: Pair
    p: float
    holm: float
    grey: bool
    measures: dict[str, Measure]


class PairedSlices(documents.Document):
    """All cells by some columns."""

    by: tuple[str, ...]
    cells: tuple[PairedCell, ...]


class Document(documents.Document):
    """comparison.json."""

    agfd30k: Literal["comparison"] = "comparison"
    version: Literal[1] = 1
    task: str
    label: str | None
    failure: str
    unit: str
    models: tuple[ModelName, ModelName]
    thresholds: tuple[float | None, float | None]
    release: ReleaseName
    confidence: float
    overall: PairedCell
    slices: tuple[PairedSlices, ...]


@dataclass(frozen=True)
class Comparison:
    """Two reports compared picture by picture."""

    document: Document

    @classmethod
    def of(cls, first: Report, second: Report) -> Comparison:
        """Compare two reports. Raises UserError where they are not of the same task and pictures."""
        a, b = first.document, second.document
        for what, mine, theirs in (
            ("task", (a.task, a.label), (b.task, b.label)),
            ("release", a.release.digest, b.release.digest),
            ("split", a.release.split, b.release.split),
            ("choice of verified pictures", a.release.verified_only, b.release.verified_only),
        ):
            if mine != theirs:
                raise UserError(f"the reports are of another {what}: {_said(mine)} and {_said(theirs)}")
        if first.outcomes["id"] != second.outcomes["id"]:
            raise UserError("the reports are not of the same pictures")
        common = [slices.by for slices in a.slices if slices.by in [other.by for other in b.slices]]
        pair = _Pair(first.outcomes, second.outcomes)
        overall = pair.cell((), {}, np.arange(len(first.outcomes)))
        slices = pair.slices(common)
        return cls(
            Document(
                **{name: getattr(a, name) for name in ("task", "label", "failure", "unit", "release", "confidence")},
                models=(a.model, b.model),
                thresholds=(a.threshold, b.threshold),
                overall=overall,
                slices=slices,
            )
        )

    def table(self) -> str:
        """Return the comparison in Markdown, the slices in which the first model is certainly worst first."""
        return "\n".join(_page(self.document))

    def save(self, folder: str | Path) -> Path:
        """Write comparison.json and comparison.md into a folder; returns it. Raises UserError where it holds some."""
        folder = Path(folder)
        require_free(folder)
        folder.mkdir(parents=True, exist_ok=True)
        texts = {"comparison.md": self.table(), FILE: self.document.model_dump_json(indent=1)}
        for name, text in texts.items():
            with atomic(folder / name) as file:
                file.write(f"{text}\n".encode())
        return folder


def _said(value: object) -> str:
    return " ".join(str(part) for part in value if part) if isinstance(value, tuple) else str(value)


@dataclass(frozen=True)
class _Pair:
    """What became of the same pictures with two models, row by row."""

    first: pa.Table
    second: pa.Table

    def slices(self, slicings: list[tuple[str, ...]]) -> tuple[PairedSlices, ...]:
        all_cells = [(by, [*self._cells(by)]) for by in slicings]
        adjusted = iter(statistics.holm(np.array([cell.p for _, cells in all_cells for cell in cells])))
        return tuple(
            PairedSlices(by=by, cells=tuple(cell.model_copy(update={"holm": float(next(adjusted))}) for cell in cells))
            for by, cells in all_cells
        )

    def _cells(self, by: tuple[str, ...]) -> Iterator[PairedCell]:
        rows = [*zip(*(self.first[name].to_pylist() for name in by))]
        places: dict[tuple[str, ...], list[int]] = {}
        for place, key in enumerate(rows):
            places.setdefault(key, []).append(place)
        for key, own in places.items():
            cell = self.cell(by, dict(zip(by, key)), np.array(own))
            if cell.trials:
                yield cell

    def cell(self, by: tuple[str, ...], key: dict[str, str], places: np.ndarray) -> PairedCell:
        """Return the cell of some pictures. Its `holm` is its own p."""
        name = "failed" if "failed" in self.first.column_names else _matches(by)
        one, other = (table[name].to_numpy()[places].astype(float) for table in (self.first, self.second))
        known = ~(np.isnan(one) | np.isnan(other))
        tested = paired(one[known], other[known])._asdict() if name == "failed" else _pairs(one[known], other[known])
        values = set(self.first.column_names) & set(self.second.column_names)
        numbers = [value for value in self.first.column_names if value in values and self._is_number(value)]
        return PairedCell(
            key=key,
            pictures=len(places),
            grey=len(places) < FEW,
            holm=tested["p"],
            measures={value: self._measure(value, places) for value in numbers},
            **tested,
        )

    def _is_number(self, name: str) -> bool:
        return pa.types.is_floating(self.first.schema.field(name).type) and name != "failed"

    def _measure(self, name: str, places: np.ndarray) -> Measure:
        gaps = self.first[name].to_numpy()[places] - self.second[name].to_numpy()[places]
        return measure(gaps)


def _matches(by: tuple[str, ...]) -> str:
    return f"matches by {','.join(by)}" if by else "matches"


def _pairs(one: np.ndarray, other: np.ndarray) -> dict:
    """Return the numbers of a cell of pairs, from how many of the others each picture matches with either model."""
    n = len(one)
    trials = n * (n - 1) // 2
    rates = tuple(float(each.sum() / 2 / trials) if trials else 0.0 for each in (one, other))
    center, limits, p = statistics.jackknife_pairs(one - other)
    return {
        **{"trials": trials, "rates": rates, "only_first": None, "only_second": None, "p": p},
        **{"difference": center, "difference_interval": (float(limits.low), float(limits.high))},
    }


def _page(document: Document) -> Iterator[str]:
    first, second = (model.name for model in document.models)
    cell, release = document.overall, document.release
    yield (
        f"**{first}** against **{second}**, {document.task}, on the same {release.pictures:,} pictures of "
        f"{release.name}: {percent(cell.rates[0])} and {percent(cell.rates[1])} {document.failure}, difference "
        f"{100 * cell.difference:+.1f} ({span(cell.difference_interval, '+')}), p {p_said(cell.p)}."
    )
    for slices in document.slices:
        yield ""
        heads = [*slices.by, f"{document.unit}s", "first", "second", "difference", "95%", "Holm p"]
        yield f"| {' | '.join(name.replace('_', ' ') for name in heads)} |"
        yield f"|{' --- |' * len(slices.by)}{' ---: |' * 6}"
        for cell in sorted(slices.cells, key=lambda cell: (cell.grey, -cell.difference_interval[0])):
            yield f"| {' | '.join([*map(escaped, cell.key.values()), *_numbers(cell)])} |"


def _numbers(cell: PairedCell) -> list[str]:
    return [
        f"{cell.trials:,}{' (grey)' if cell.grey else ''}",
        *map(percent, cell.rates),
        f"{100 * cell.difference:+.1f}",
        span(cell.difference_interval, "+"),
        p_said(cell.holm),
    ]
