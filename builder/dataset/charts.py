"""Charts of what a release holds: pictures a feature, and how ethnicity and age are balanced."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from builder.dataset.statistics import FeatureCounts, Statistics
from builder.spec.spec import Spec

BLUE, GREY = "#3b6ea5", "#c9ced6"


def write(folder: Path, spec: Spec, statistics: Statistics) -> None:
    """Write `counts.png` and `balance.png`."""
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        for name, chart in (("counts", _counts(statistics.features(spec))), ("balance", _balance(spec, statistics))):
            chart.savefig(folder / f"{name}.png", dpi=120, bbox_inches="tight", metadata={"Software": None})


def _counts(features: list[FeatureCounts]) -> Figure:
    """Return a bar for every feature, in the table's order: pictures made, and those given up."""
    chart = Figure(figsize=(7, 0.8 + 0.2 * len(features)))
    axes = chart.subplots()
    names = [row.feature for row in features]
    made, unfilled = [row.made for row in features], [row.unfilled for row in features]
    bars = axes.barh(names, made, color=BLUE)
    axes.bar_label(bars, labels=[f"{count:,}" for count in made], padding=3)
    if any(unfilled):
        axes.barh(names, unfilled, left=made, color=GREY, label="given up")
        axes.legend(loc="lower right", frameon=False)
    axes.invert_yaxis()
    axes.margins(x=0.12, y=0.01)
    axes.set_xlabel("pictures")
    return chart


def _balance(spec: Spec, statistics: Statistics) -> Figure:
    """Pictures by ethnicity and age group, as a heat map with its numbers."""
    rows, columns = list(spec.ethnicities), list(spec.age_groups)
    people = statistics.by("ethnicity", "age_group")
    counts = [[people.get((row, column), 0) for column in columns] for row in rows]
    chart = Figure(figsize=(1.6 + 1.1 * len(columns), 0.9 + 0.5 * len(rows)))
    axes = chart.subplots()
    most = max(map(max, counts))
    axes.imshow(counts, cmap="Blues", vmin=0, vmax=most, aspect="auto")
    for y, row in enumerate(counts):
        for x, count in enumerate(row):
            axes.text(x, y, f"{count:,}", ha="center", va="center", color="white" if count > 0.6 * most else "black")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return chart
