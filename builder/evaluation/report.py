"""A report: the cells of an evaluation, as a value, as a table, and as files that another program can draw.

`report.json` says everything that a page shows; its shape is `Document`'s. Beside it `outcomes.parquet` says what
became of every picture, so that two models can be compared, and `cells.parquet` is the cells as a table.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from builder.common import documents
from builder.common.errors import UserError
from builder.common.files import atomic
from builder.evaluation.cells import Cell, Pair, Slices
from builder.evaluation.tasks import TASKS
from builder.evaluation.twins import Effects

FILE, CELLS, OUTCOMES, TABLE = "report.json", "cells.parquet", "outcomes.parquet", "report.md"
FILES = (OUTCOMES, CELLS, TABLE, FILE)
"""In the order in which they are written: the report last."""
PAGE = "report.html"
"""What the command adds to them, and to a comparison."""


class ModelName(documents.Document):
    """What was measured; the digest of its file, where there is one."""

    name: str
    digest: str | None


class ReleaseName(documents.Document):
    """Which pictures: the release and its digest, the split (all for null), whether only verified ones, and whether
    they are drawings of the preview model.
    """

    name: str
    digest: str
    pictures: int
    split: str | None
    verified_only: bool
    preview: bool = False


class Real(documents.Document):
    """Of the user's own real pictures, how many are taken for fake."""

    pictures: int
    failures: int
    rate: float
    interval: Pair


class Document(documents.Document):
    """report.json: what was asked, what the truth is worth (`limits`, sentences), every cell, and where pictures have
    twins the effects of their features.

    `failure` is what a failure is called, `unit` what fails, `measures` what the further numbers of a cell are.
    `outcomes` is the digest of outcomes.parquet.
    """

    agfd30k: Literal["evaluation"] = "evaluation"
    version: Literal[1] = 1
    task: str
    label: str | None
    threshold: float | None
    failure: str
    unit: str
    measures: dict[str, str]
    model: ModelName
    release: ReleaseName
    baseline: str
    confidence: float
    limits: tuple[str, ...]
    real: Real | None
    overall: Cell
    slices: tuple[Slices, ...]
    effects: tuple[Effects, ...] = ()
    outcomes: str

    @property
    def cells(self) -> list[Cell]:
        """The cells of all slices."""
        return [cell for slices in self.slices for cell in slices.cells]


@dataclass(frozen=True)
class Report:
    """An evaluation: `document` is report.json, `outcomes` what became of every picture.

    A row of `outcomes` has `id`; `failed` (1, 0 or null), of pairs instead `matches` among all pictures and, for each
    slicing, `matches by feature,sex` within the picture's cell; further numbers; what the model `said`, boxes, label or
    points; and the slices' columns.
    """

    document: Document
    outcomes: pa.Table

    @classmethod
    def load(cls, place: str | Path) -> Report:
        """Read a folder's report, or a report.json. Raises UserError where it is none, or is damaged."""
        path = Path(place, FILE) if Path(place).is_dir() else Path(place)
        try:
            document = Document.parse(path.read_bytes())
            data = (path.parent / OUTCOMES).read_bytes()
            outcomes = pq.read_table(io.BytesIO(data))
        except (OSError, ValueError, pa.ArrowException) as error:
            reason = " ".join(str(error).split())[:100]
            raise UserError(f"{path}: is no report of `agfd30k evaluate` ({reason})") from None
        if hashlib.sha256(data).hexdigest() != document.outcomes:
            raise UserError(f"{path.parent / OUTCOMES}: is not that of {path}; evaluate again")
        return cls(document, outcomes)

    def worst(self, k: int = 5) -> list[Cell]:
        """Return the cells with the largest certain losses, the worst first; grey ones and the baseline are not
        among them.
        """
        return sorted((cell for cell in self.document.cells if not cell.grey and cell.against), key=worst_first)[:k]

    def table(self) -> str:
        """Return the report in Markdown: what was asked, its limits, all cells by slicing, the worst of each first."""
        return "\n".join(_page(self.document))

    def save(self, folder: str | Path) -> Path:
        """Write the files into a folder; returns it. Raises UserError where it holds a report already."""
        folder = Path(folder)
        require_free(folder)
        folder.mkdir(parents=True, exist_ok=True)
        contents = {
            OUTCOMES: parquet(self.outcomes),
            CELLS: parquet(cells_table(self.document)),
            TABLE: (self.table() + "\n").encode(),
            FILE: (self.document.model_dump_json(indent=1) + "\n").encode(),
        }
        for name in FILES:
            with atomic(folder / name) as file:
                file.write(contents[name])
        return folder

    def to_metricframe(self, by: Sequence[str] = ("feature", "sex")) -> Any:
        """Return a fairlearn MetricFrame of the failures, for which fairlearn must be installed.

        Raises UserError where it is not, for columns that the report was not sliced by, and for pairs.
        """
        try:
            from fairlearn.metrics import MetricFrame  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            raise UserError("fairlearn is not installed: pip install fairlearn") from None
        if self.document.unit != "picture":
            raise UserError("a MetricFrame is of pictures, and this report is of pairs of them")
        if lost := [name for name in by if name not in self.outcomes.column_names]:
            raise UserError(f"the report has no column {lost[0]}: evaluate with --by {','.join(by)}")
        table = self.outcomes.filter(self.outcomes["failed"].is_valid())
        failed = table["failed"].to_numpy()
        columns = {name: table[name].to_pylist() for name in by}
        return MetricFrame(
            metrics={self.document.failure: lambda y_true, y_pred: float(np.mean(y_pred))},
            y_true=np.zeros_like(failed),
            y_pred=failed,
            sensitive_features=columns,
        )


def require_free(folder: Path) -> None:
    """Raise UserError where a folder holds a report, which nothing replaces."""
    if there := [name for name in (*FILES, "comparison.json", "comparison.md", PAGE) if (folder / name).exists()]:
        raise UserError(f"{folder}: holds {there[0]} of another report, which is not replaced; choose another --out")


def parquet(table: pa.Table) -> bytes:
    """Return a table as a Parquet file."""
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()


def cells_table(document: Document) -> pa.Table:
    """Return the cells as a table, a row each: `by`, a column for each slicing column, then their numbers."""
    names = dict.fromkeys(name for slices in document.slices for name in slices.by)
    return pa.Table.from_pylist([_row(("all",), document.overall, names), *_rows(document, names)])


def _rows(document: Document, names: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for slices in document.slices:
        yield from (_row(slices.by, cell, names) for cell in slices.cells)


def _row(by: Sequence[str], cell: Cell, names: Mapping[str, Any]) -> dict[str, Any]:
    low, high = cell.difference_interval or (None, None)
    return {
        "by": ",".join(by),
        **{name: cell.key.get(name) for name in names},
        **{name: getattr(cell, name) for name in ("pictures", "trials", "failures", "rate")},
        "low": cell.interval[0],
        "high": cell.interval[1],
        **dict(zip(("bound_low", "bound_high"), cell.bounds or (None, None))),
        **{"difference": cell.difference, "difference_low": low, "difference_high": high},
        **{name: getattr(cell, name) for name in ("p", "holm", "grey")},
        **{name: measure.mean for name, measure in cell.measures.items()},
    }


def worst_first(cell: Cell) -> tuple[bool, float]:
    return cell.grey, -cell.loss


def _page(document: Document) -> Iterator[str]:
    release, task = document.release, TASKS[document.task]
    what = f"{document.task} {document.label}" if document.label else document.task
    split = f" of {release.split}" if release.split else ""
    pictures = "verified pictures" if release.verified_only else "pictures, verified or not,"
    yield f"**{document.model.name}**, {what}, on {release.pictures:,} {pictures}{split} of {release.name}: " + (
        f"{_rate(document.overall)} {task.failure}."
    )
    if real := document.real:
        yield f"Of {real.pictures:,} real pictures {percent(real.rate)} ({span(real.interval)}) are taken for fake."
    yield ""
    yield from (f"- {limit}" for limit in document.limits)
    for slices in document.slices:
        yield ""
        yield from _table(document, slices)
    for effects in document.effects:
        if effects.effects:
            yield ""
            yield from _effects(document, effects)


def _effects(document: Document, effects: Effects) -> Iterator[str]:
    yield (
        f"Pictures against their twins, the same people without the feature, how often {document.failure}: the largest "
        "certain effect first."
    )
    yield ""
    heads = [*effects.by, "pairs", "same seed", "picture", "twin", "difference", "95%", "Holm p"]
    yield f"| {' | '.join(name.replace('_', ' ') for name in heads)} |"
    yield f"|{' --- |' * len(effects.by)}{' ---: |' * (len(heads) - len(effects.by))}"
    for effect in effects.effects:
        numbers = [f"{effect.pairs:,}{' (grey)' if effect.grey else ''}", f"{effect.same_seed:,}"]
        numbers += [*map(percent, effect.rates), f"{100 * effect.difference:+.1f}"]
        numbers += [span(effect.difference_interval, "+"), p_said(effect.holm)]
        yield f"| {' | '.join([*map(escaped, effect.key.values()), *numbers])} |"


def _table(document: Document, slices: Slices) -> Iterator[str]:
    known = {name for cell in slices.cells for name, measure in cell.measures.items() if measure.n}
    measures = [name for name in document.measures if name in known]
    unit = f"{document.unit}s"
    bounds = ["bounds"] if any(cell.bounds for cell in slices.cells) else []
    heads = [*slices.by, unit, document.failure, "95%", *bounds, "difference", "95%", "Holm p", *measures]
    yield f"| {' | '.join(name.replace('_', ' ') for name in heads)} |"
    yield f"|{' --- |' * len(slices.by)}{' ---: |' * (len(heads) - len(slices.by))}"
    for cell in sorted(slices.cells, key=worst_first):
        yield f"| {' | '.join([*map(escaped, cell.key.values()), *_numbers(cell, measures, bool(bounds))])} |"
    yield ""
    yield _legend(slices)


def _legend(slices: Slices) -> str:
    against = [cell.against for cell in slices.cells if cell.against]
    than = "the others'" if against and not against[0].key else "the baseline's"
    grey = "; (grey): fewer than 30 pictures" if any(cell.grey for cell in slices.cells) else ""
    if not against:
        return f"There is nothing to compare with{grey}."
    return f"Worst first, by the lower limit of the difference: the rate less {than}{grey}."


def _numbers(cell: Cell, measures: Sequence[str], has_bounds: bool) -> list[str]:
    trials = f"{cell.trials:,}{' (grey)' if cell.grey else ''}"
    difference = ["", "", ""]
    if cell.difference is not None and cell.difference_interval and cell.holm is not None:
        difference = [f"{100 * cell.difference:+.1f}", span(cell.difference_interval, "+"), p_said(cell.holm)]
    rate = "" if cell.rate is None else percent(cell.rate)
    bounds = [span(cell.bounds) if cell.bounds else ""] if has_bounds else []
    means = [cell.measures[name].mean for name in measures]
    return [
        trials,
        rate,
        span(cell.interval),
        *bounds,
        *difference,
        *("" if mean is None else f"{mean:.3f}" for mean in means),
    ]


def _rate(cell: Cell) -> str:
    return "nothing" if cell.rate is None else f"{percent(cell.rate)} ({span(cell.interval)})"


def percent(rate: float) -> str:
    """Return a rate in percent, a small one with as many digits as it needs.

    >>> percent(0.123), percent(0.00123), percent(0)
    ('12.3%', '0.12%', '0.0%')
    """
    return f"{100 * rate:.1f}%" if rate >= 0.01 or rate == 0 else f"{100 * rate:.2g}%"


def span(interval: Pair, sign: str = "") -> str:
    digits = 1 if interval[1] >= 0.01 or interval[1] == 0 or sign else 3
    low, high = (f"{100 * limit:{sign}.{digits}f}" for limit in interval)
    return f"{low} to {high}"


def p_said(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def escaped(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
