"""A report, or two models compared, as one page to look at: tables to sort, bars with intervals, failures as pictures.

The page is one static file that loads nothing, runs no script but its own, and needs no network.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

import agfd30k
from agfd30k import FACE_BOX
from builder.common.errors import UserError
from builder.evaluation import statistics
from builder.evaluation.cells import Cell
from builder.evaluation.comparison import Comparison, PairedCell
from builder.evaluation.report import Report, p_said, percent, span, worst_first
from builder.evaluation.tasks import TASKS
from builder.evaluation.twins import Effect, Effects
from builder.reporting.page import policy

Rate = tuple[float | None, tuple[float, float]]
"""A share and its interval."""
HERE = Path(__file__).resolve().parent
WIDTH = 200
"""Of the longest bar, in pixels."""
GROUPS = 8
"""Slices of which failures are shown."""
SURE = 0.05
"""Holm's p up to which a difference is printed bold."""
SIDE, QUALITY, AT_ONCE = 192, 75, 10


def of_report(report: Report, folder: Path) -> bytes:
    """Return a report's page. `folder` is the release, of whose pictures failures are shown, with boxes where the model
    said some; a folder of labels alone has no pictures. Raises UserError where a file of pictures cannot be read.
    """
    document = report.document
    release, task = document.release, TASKS[document.task]
    what = " ".join(filter(None, (document.task, document.label)))
    notes = [
        f"Of {real.pictures:,} real pictures {percent(real.rate)} ({span(real.interval)}%) are taken for fake."
        for real in ([document.real] if document.real else [])
    ]
    groups = _failures(report, folder)
    return _render(
        title=f"{document.model.name}: {what}",
        about=_about(release, document.threshold),
        headline=[_headline(task.failure, document.overall.rate, document.overall.interval)],
        notes=notes,
        summary=_summary([report]),
        failure=document.failure,
        tables=[
            *(_table(report, number) for number in range(len(document.slices))),
            *(_effects_table(effects, number) for number, effects in enumerate(document.effects) if effects.effects),
        ],
        failures=groups,
        boxed=any(picture["truth"] for group in groups for picture in group["pictures"]),
        answered=any(picture["answers"] for group in groups for picture in group["pictures"]),
        limits=document.limits,
        preview=document.release.preview,
    )


def of_comparison(comparison: Comparison, first: Report, second: Report) -> bytes:
    """Return the page of two models on the same pictures."""
    document = comparison.document
    what = " ".join(filter(None, (document.task, document.label)))
    models = [report.document.model.name for report in (first, second)]
    return _render(
        title=f"{models[0]} and {models[1]}: {what}",
        about=_about(document.release, None),
        headline=[
            _headline(f"{document.failure}: {model}", cell.rate, cell.interval)
            for model, cell in zip(models, (first.document.overall, second.document.overall))
        ],
        notes=[f"The first less the second: {_difference(document.overall)}"],
        summary=_summary([first, second]),
        failure=document.failure,
        tables=[_paired_table(comparison, first, second, number) for number in range(len(document.slices))],
        failures=[],
        boxed=False,
        answered=False,
        limits=[*dict.fromkeys((*first.document.limits, *second.document.limits))],
        preview=document.release.preview,
    )


def _render(**values: Any) -> bytes:
    script, style = ((HERE / f"page.{kind}").read_text(encoding="utf-8") for kind in ("js", "css"))
    environment = Environment(loader=FileSystemLoader(HERE), undefined=StrictUndefined, autoescape=True)
    template = environment.get_template("page.html.jinja")
    page = template.render(**values, script=script, style=style, policy=policy(script, style))
    return page.encode("utf-8", "replace")


def _about(release: Any, threshold: float | None) -> str:
    split = f" of {release.split}" if release.split else ""
    pictures = "verified pictures" if release.verified_only else "pictures, verified or not,"
    at = f", at a threshold of {threshold:g}" if threshold is not None else ""
    return f"On {release.pictures:,} {pictures}{split} of {release.name}{at}."


def _headline(what: str, rate: float | None, interval: Sequence[float]) -> dict[str, str]:
    if rate is None:
        return {"rate": "–", "what": what, "interval": ""}
    return {"rate": percent(rate), "what": what, "interval": f"95% interval {span((interval[0], interval[1]))}%"}


def _difference(cell: PairedCell) -> str:
    return (
        f"{100 * cell.difference:+.1f} percentage points ({span(cell.difference_interval, '+')}), "
        f"p {p_said(cell.p)} on {cell.trials:,} trials."
    )


def _summary(reports: Sequence[Report]) -> dict[str, Any] | None:
    """Return a line for each model with its rates by feature; None where the reports do not know the features."""
    tables = [report.outcomes for report in reports]
    if any(not {"feature", "failed"} <= {*table.column_names} for table in tables):
        return None
    rates = []
    for table in tables:
        grouped = table.group_by("feature").aggregate([("failed", "mean")])
        rates.append(dict(zip(grouped["feature"].to_pylist(), grouped["failed_mean"].to_pylist())))
    cells = reports[0].document.cells
    names = list(dict.fromkeys(cell.key["feature"] for cell in cells if "feature" in cell.key))
    rows = [
        {
            "model": report.document.model.name,
            "rates": [_percent(report.document.overall.rate), *(_percent(own.get(name)) for name in names)],
        }
        for report, own in zip(reports, rates)
    ]
    return {"names": ["all", *(name.replace("_", " ") for name in names)], "rows": rows}


def _percent(rate: float | None) -> str:
    return "" if rate is None else f"{100 * rate:.1f}"


def _table(report: Report, number: int) -> dict[str, Any]:
    document = report.document
    slices = document.slices[number]
    cells = sorted(slices.cells, key=worst_first)
    scale = max((cell.interval[1] for cell in cells if not cell.grey), default=1.0) or 1.0
    heads = [*slices.by, f"{document.unit}s", document.failure, "95%", "difference", "95% of it", "Holm p"]
    heads = [*heads[: len(slices.by) + 1], "", *heads[len(slices.by) + 1 :], *document.measures]
    return {
        "id": f"by-{number}",
        "name": ", ".join(name.replace("_", " ") for name in slices.by),
        "legend": _legend(cells, document.baseline),
        "heads": [{"name": name.replace("_", " ") or "bar", "sorted": name == "95% of it"} for name in heads],
        "rows": [{"grey": cell.grey, "cells": [*_row(cell, [*document.measures], scale)]} for cell in cells],
    }


def _legend(cells: Sequence[Cell], baseline: str) -> str:
    keys = [cell.against.key for cell in cells if cell.against]
    against = baseline if any(keys) else "all the other slices"
    than = f" The dashed line, and what differences are from, is {against}; worst first, by the least certain loss."
    than = than if keys else ""
    bold = f" Bold: certainly different (Holm's p at most {SURE:g}, over all tables)." if keys else ""
    grey = " Grey: fewer than 30 pictures." if any(cell.grey for cell in cells) else ""
    return f"Bars have their 95% intervals; the heads sort.{than}{bold}{grey}"


def _row(cell: Cell, measures: Sequence[str], scale: float) -> Iterator[dict[str, Any]]:
    yield from (_text(value, value, is_name=not n) for n, value in enumerate(cell.key.values()))
    yield _text(f"{cell.trials:,}", cell.trials)
    base = cell.against.rate if cell.against else None
    yield _bars([(cell.rate, cell.interval)], base, scale)
    yield _text("" if cell.rate is None else percent(cell.rate), cell.rate)
    yield _text(span(cell.interval), cell.interval[0])
    if cell.difference is None or cell.difference_interval is None or cell.holm is None:
        yield from (_text("", None) for _ in range(3))
    else:
        yield from _compared(cell.difference, cell.difference_interval, cell.holm)
    for name in measures:
        mean = cell.measures[name].mean
        yield _text("" if mean is None else f"{mean:.3f}", mean)


def _effects_table(effects: Effects, number: int) -> dict[str, Any]:
    """Return the table of pictures against their twins."""
    heads = [*effects.by, "pairs", "same seed", "", "picture", "twin", "difference", "95% of it", "Holm p"]
    rates = [[*_rates_of_pairs(effect)] for effect in effects.effects]
    scale = max((interval[1] for own in rates for _, interval in own), default=1.0) or 1.0
    return {
        "id": f"twins-{number}",
        "name": ", ".join(name.replace("_", " ") for name in effects.by) + ": pictures and their twins",
        "legend": "Twins are the same people with the same seed, asked for without the feature. The largest certain "
        "effect first. Bars have their 95% intervals: the pictures' above, the twins' below; the heads sort. Bold: "
        f"certainly different (Holm's p at most {SURE:g}, over all pairs). Grey: fewer than 30 pairs.",
        "heads": [{"name": name.replace("_", " ") or "bars", "sorted": name == "95% of it"} for name in heads],
        "rows": [
            {"grey": effect.grey, "cells": [*_effect_row(effect, own, scale)]}
            for effect, own in zip(effects.effects, rates)
        ],
    }


def _rates_of_pairs(effect: Effect) -> Iterator[Rate]:
    """Yield the pictures' rate and the twins', with their intervals."""
    for rate in effect.rates:
        limits = statistics.exact(round(rate * effect.pairs), effect.pairs)
        yield rate, (float(limits.low), float(limits.high))


def _effect_row(effect: Effect, rates: Sequence[Rate], scale: float) -> Iterator[dict[str, Any]]:
    yield from (_text(value, value, is_name=not n) for n, value in enumerate(effect.key.values()))
    yield from (_text(f"{count:,}", count) for count in (effect.pairs, effect.same_seed))
    yield _bars(rates, None, scale)
    yield from (_text(percent(rate), rate) for rate in effect.rates)
    yield from _compared(effect.difference, effect.difference_interval, effect.holm)


def _compared(difference: float, interval: tuple[float, float], holm: float) -> Iterator[dict[str, Any]]:
    is_sure = holm <= SURE
    yield _text(f"{100 * difference:+.1f}", difference, is_sure=is_sure)
    yield _text(span(interval, "+"), interval[0])
    yield _text(p_said(holm), holm, is_sure=is_sure)


def _paired_table(comparison: Comparison, first: Report, second: Report, number: int) -> dict[str, Any]:
    slices = comparison.document.slices[number]
    rates = [_rates(report, slices.by) for report in (first, second)]
    cells = sorted(slices.cells, key=lambda cell: (cell.grey, -cell.difference_interval[0]))
    tops = [interval[1] for own in rates for _, interval in own.values()]
    scale = max(tops, default=1.0) or 1.0
    heads = [*slices.by, "trials", "", "first", "second", "difference", "95% of it", "Holm p"]
    return {
        "id": f"by-{number}",
        "name": ", ".join(name.replace("_", " ") for name in slices.by),
        "legend": "Worst for the first model first. Bars have their 95% intervals: the first model's above, the "
        f"second's below; the heads sort. Bold: certainly different (Holm's p at most {SURE:g}). "
        "Grey: fewer than 30 pictures.",
        "heads": [{"name": name.replace("_", " ") or "bars", "sorted": name == "95% of it"} for name in heads],
        "rows": [{"grey": cell.grey, "cells": [*_paired_row(cell, rates, scale)]} for cell in cells],
    }


def _rates(report: Report, by: Sequence[str]) -> dict[tuple[str, ...], Rate]:
    slices = next(slices for slices in report.document.slices if slices.by == tuple(by))
    return {tuple(cell.key.values()): (cell.rate, cell.interval) for cell in slices.cells}


def _paired_row(cell: PairedCell, rates: Sequence[dict], scale: float) -> Iterator[dict[str, Any]]:
    key = tuple(cell.key.values())
    yield from (_text(value, value, is_name=not n) for n, value in enumerate(key))
    yield _text(f"{cell.trials:,}", cell.trials)
    yield _bars([own.get(key, (None, (0.0, 0.0))) for own in rates], None, scale)
    yield from (_text(percent(rate), rate) for rate in cell.rates)
    yield from _compared(cell.difference, cell.difference_interval, cell.holm)


def _text(text: str, sort: str | float | None, is_name: bool = False, is_sure: bool = False) -> dict[str, Any]:
    return {"text": text, "sort": "" if sort is None else sort, "is_name": is_name, "is_sure": is_sure}


def _bars(rates: Sequence[Rate], base: float | None, scale: float) -> dict[str, Any]:
    """Return bars with their intervals, and where the baseline is; what is longer than the scale ends at it."""

    def place(share: float) -> float:
        return round(min(share / scale, 1.0) * WIDTH, 1)

    bars = [{"rate": place(rate or 0.0), "low": place(low), "high": place(high)} for rate, (low, high) in rates]
    said = "; ".join(f"{percent(rate or 0.0)}, {span(interval)}" for rate, interval in rates)
    label = said + (f"; the baseline {percent(base)}" if base is not None else "")
    return {"bars": bars, "base": None if base is None else place(base), "label": label, "sort": rates[0][0] or 0.0}


def _failures(report: Report, folder: Path) -> list[dict[str, Any]]:
    """Return the worst slices, grey ones last, with pictures of theirs that fail."""
    worst = sorted((cell for cell in report.document.cells if cell.against and cell.examples), key=worst_first)[:GROUPS]
    found = pictures(folder, {id for cell in worst for id in cell.examples})
    answers = _answers(report) if report.document.task == "detect" else {}
    groups = [
        {
            "name": cell.name.replace("_", " "),
            "rate": f"{percent(cell.rate or 0.0)} of {cell.trials:,}",
            "pictures": [
                {**found[id], "id": id, "answers": [box[:4].tolist() for box in answers.get(id, ())]}
                for id in cell.examples
                if id in found
            ],
        }
        for cell in worst
    ]
    return [group for group in groups if group["pictures"]]


def _answers(report: Report) -> dict[str, np.ndarray]:
    """Return the boxes that a model said, by id."""
    return dict(zip(report.outcomes["id"].to_pylist(), map(np.array, report.outcomes["said"].to_pylist())))


def pictures(folder: Path, ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return of each of these pictures of a release `image`, a small copy as a data URI, its own `width` and `height`,
    and `truth`, the release's face boxes. Raises UserError where a file cannot be read.
    """
    found: dict[str, dict[str, Any]] = {}
    wanted = pa.array([*ids], pa.string())
    for path in sorted(folder.glob("data/*/*.parquet")):
        try:
            with pq.ParquetFile(path, buffer_size=2**20) as file:
                names = agfd30k.stored(("id", *FACE_BOX, "image"), file.schema_arrow)
                for group in range(file.num_row_groups):
                    if not pc.any(pc.is_in(file.read_row_group(group, ["id"])["id"], wanted)).as_py():
                        continue
                    for batch in file.iter_batches(AT_ONCE, row_groups=[group], columns=names):
                        some = pa.table(batch.filter(pc.is_in(batch["id"], wanted)))
                        found |= {row["id"]: _picture(row) for row in agfd30k.flattened(some).to_pylist()}
        except (OSError, SyntaxError, ValueError, LookupError, TypeError, pa.ArrowException) as error:
            reason = " ".join(str(error).split())[:100]
            raise UserError(f"{path}: cannot be read ({reason}); `agfd30k lint` lists every fault") from None
    return found


def _picture(row: dict[str, Any]) -> dict[str, Any]:
    box = [row[name] for name in FACE_BOX]
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(row["image"]["bytes"])) as image:
        width, height = image.size
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        image.convert("RGB").save(buffer, "WEBP", quality=QUALITY, method=4)
    data = base64.b64encode(buffer.getvalue()).decode()
    truth = [] if None in box else [box]
    return {"image": f"data:image/webp;base64,{data}", "width": width, "height": height, "truth": truth}
