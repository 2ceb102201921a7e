"""A release as one page to look at: pictures, filters, balance, what the checks found and near pairs.

The page is one static file that loads nothing, runs no script but its own, and needs no network.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import agfd30k
from builder.checks.duplicates import HashCheck
from builder.common.errors import UserError
from builder.common.files import atomic
from builder.dataset.statistics import FeatureCounts
from builder.reporting.data import AXES, RADIUS, Labels, calibration, checks_report, headline, rejected_tries
from builder.reporting.geometry import BINS, TALL, Faces
from builder.reporting.thumbnails import MEASURED, choose, choose_twins, pictures

HERE = Path(__file__).resolve().parent

MARK = "<!doctype html><!-- made by builder.report; replaced when it is run again -->"
"""The first line of every report, and of nothing else."""


def make(folder: Path, out: Path, thumbnails: int = 3000, side: int = 96) -> str:
    """Write the report of a release folder; returns a line that says what it is.

    Raises UserError where the folder is no sound release, or where `out` is not ours to write.
    """
    if not agfd30k.is_release(folder):
        raise UserError(f"{folder}: not a release folder; make one with `agfd30k release`, or name another")
    require_free(folder, out)
    labels = Labels.of(folder)
    page = render(folder, labels, thumbnails, side)
    with atomic(out) as file:
        file.write(page)
    shown = min(thumbnails, len(labels.codes))
    size = f"{len(page) / 1e6:.1f} MB"
    return f"{out}: {shown:,} of {len(labels.codes):,} pictures, {size}; open it in a browser"


def require_free(folder: Path, out: Path) -> None:
    """Raise UserError where `out` lies in the release, has no folder to lie in, or is a file that is not a report."""
    if out.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{out}: lies in the release, which holds only what is published; use another --out")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: not a folder; make it first, or use another --out")
    if not out.exists():
        return
    if not out.is_file():
        raise UserError(f"{out}: not a file; use another --out")
    with open(out, "rb") as file:
        ours = file.readline().rstrip() == MARK.encode()
    if not ours:
        raise UserError(f"{out}: is not a report, so it is not replaced; move it away or use another --out")


def render(folder: Path, labels: Labels, thumbnails: int, side: int) -> bytes:
    """Return the whole page."""
    title, preview = headline(folder)
    checks, precision, near = checks_report(folder), calibration(folder), labels.near()
    faces = Faces.of(folder)
    chosen = choose(labels, thumbnails)
    twins = choose_twins(labels)
    wanted = dict.fromkeys([*chosen, *(place for *two, _ in near for place in two), *(p for two in twins for p in two)])
    shown = pictures(folder, labels, [*wanted], side)
    script, style = ((HERE / f"report.{kind}").read_text(encoding="utf-8") for kind in ("js", "css"))
    environment = Environment(loader=FileSystemLoader(HERE), undefined=StrictUndefined, autoescape=True)
    environment.filters["count"] = "{:,}".format
    page = environment.get_template("report.html.jinja").render(
        mark=MARK,
        title=title,
        preview=preview,
        rows=len(labels.codes),
        features=[_feature(row, labels, precision) for row in checks.features],
        calibrated=bool(precision),
        kinds=faces.measured,
        charts=faces.charts(labels),
        unfound=faces.unfound(labels, checks.features),
        unseen=faces.unseen(labels),
        size_of_chart=(5 * BINS - 1, TALL),
        pairs=[([shown[place] for place in places], bits) for *places, bits in near],
        twins=[_twins(labels, two, shown) for two in twins],
        twinned=len(labels.twins),
        hashed=bool(labels.hashed.any()),
        radius=RADIUS,
        side=side,
        images=[shown[place]["image"] for place in chosen],
        data=_data(labels, chosen, [shown[place] for place in chosen], [check.name for check in checks.checks])
        | {"side": side, "rejected": rejected_tries(checks.features)},
        script=script,
        style=style,
        policy=policy(script, style),
    )
    return page.encode("utf-8", "replace")


def _feature(row: FeatureCounts, labels: Labels, precision: dict[str, dict]) -> dict[str, Any]:
    """A feature's counts, with its pictures' scores in bins and how often its check is right (None: not known)."""
    reasons = sorted(row.reasons.items(), key=lambda item: -item[1])
    scores = labels.histogram(row.feature)
    return row.model_dump(mode="json") | {"reasons": reasons, "scores": scores, "precision": precision.get(row.feature)}


def _twins(labels: Labels, places: tuple[int, int], shown: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """A picture and its twin, and what the picture shows; they are alike only where they have one seed."""
    feature = labels.names["feature"][labels.column("feature")[places[0]]]
    two = [shown[place] for place in places]
    return {"feature": feature, "two": two, "same_seed": two[0]["seed"] == two[1]["seed"]}


def _data(labels: Labels, chosen: list[int], rows: list[dict[str, Any]], checks: list[str]) -> dict[str, Any]:
    """What the script reads: names, counts of all rows by combination of labels, and columns of the pictures shown."""
    cells, counts = labels.cells()
    phrases, phrase = _numbered(row["phrase"] for row in rows)
    outcomes, outcome = _numbered(row["outcome"] for row in rows)
    sizes, size = _numbered(row["size"] for row in rows)
    words, prompts = _words(row["prompt"] for row in rows)
    judging = [name for name in checks if name != HashCheck.name]  # duplicates are looked for over all pictures
    return {
        "axes": [{"name": axis, "values": labels.names[axis]} for axis in AXES],
        "cells": cells,
        "counts": counts,
        "codes": labels.codes[chosen].T.tolist(),
        "id": [row["id"] for row in rows],
        "age": [row["age"] for row in rows],
        "attempt": [row["attempt"] for row in rows],
        "seed": [row["seed"] for row in rows],
        "words": words,
        "prompt": prompts,
        "sizes": sizes,
        "size": size,
        "face": [row["face"] for row in rows],
        "phrases": phrases,
        "phrase": phrase,
        "outcomes": [[*known, [name for name in judging if name not in known[0] + known[1]]] for known in outcomes],
        "outcome": outcome,
        "measures": MEASURED,
        "measured": [row["measured"] for row in rows],
    }


def _numbered(values: Iterable[Any]) -> tuple[list[Any], list[int]]:
    """Return the distinct values, and which of them each one is."""
    places: dict[Any, int] = {}
    numbers = [places.setdefault(value, len(places)) for value in values]
    return list(places), numbers


def _words(prompts: Iterable[str | None]) -> tuple[list[str], list[list[int]]]:
    """Return the distinct parts of prompts, each up to and with a comma, and which of them follow each other in each
    prompt: whole they would take five times the room, since they differ in a part or two.
    """
    parts = [re.split(r"(?<=, )", prompt or "") for prompt in prompts]
    places: dict[str, int] = {}
    numbers = [[places.setdefault(part, len(places)) for part in prompt] for prompt in parts]
    return list(places), numbers


def policy(script: str, style: str) -> str:
    """Return the content security policy of a page that runs this script and style alone and loads nothing."""
    return f"default-src 'none'; img-src data:; script-src '{_digest(script)}'; style-src '{_digest(style)}'"


def _digest(text: str) -> str:
    """Return what a content security policy calls a script or style that may run."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
