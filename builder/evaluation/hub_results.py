"""A report as an evaluation result of the Hub: a file for the model's repository, in the client's own format.

The Hub shows a value without its direction, and the larger one is taken for the better. So the value is the share of
what did not fail, from 0 to 1, and the notes say what was counted. One file has one value: that of all slices together.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from builder.common.errors import UserError
from builder.common.files import atomic
from builder.dataset.build_info import BuildInfo
from builder.evaluation.cells import Pair
from builder.evaluation.report import Document, Report, percent

if TYPE_CHECKING:
    from huggingface_hub import EvalResultEntry

FOLDER = ".eval_results"
"""Where the Hub looks for results in a model's repository. Source: Hub documentation, evaluation results."""
DIGITS = 6


def task_id(document: Document) -> str:
    """Return the task's name at the Hub; those of different labels are different tasks.

    `attribute_sex` for `--task attribute --label sex`, else the name of the task.
    """
    return f"{document.task}_{document.label}" if document.label else document.task


def require_measured(dataset: str, is_preview: bool) -> None:
    """Raise UserError where the pictures are the preview's, of which nothing follows for a model."""
    if is_preview:
        raise UserError(
            f"{dataset}: its pictures are drawings of the preview model, on which no model is measured: there is no "
            "evaluation result for the Hub"
        )


def require_folder_measured(dataset: str, release: Path) -> None:
    """The same of a release folder, before a model looks at it."""
    info = BuildInfo.read(release)
    require_measured(dataset, info is not None and info.is_preview)


def entry(report: Report, dataset: str, revision: str | None = None, date: str | None = None) -> EvalResultEntry:
    """Return a report as the client's entry: `dataset` is owner/name, `revision` a commit of it, `date` today unless
    given.

    Raises UserError for the preview's pictures, where nothing could be tried, and for a client that is too old.
    """
    document = report.document
    require_measured(dataset, document.release.preview)
    if document.overall.rate is None:
        raise UserError(f"{dataset}: nothing could be tried, so there is no evaluation result for the Hub")
    try:
        from huggingface_hub import EvalResultEntry
    except ImportError:
        raise UserError("this huggingface_hub knows no evaluation results: pip install -U huggingface_hub") from None
    return EvalResultEntry(
        dataset_id=dataset,
        task_id=task_id(document),
        value=round(1 - document.overall.rate, DIGITS),
        dataset_revision=revision,
        date=date or datetime.now(UTC).date().isoformat(),
        notes="; ".join(_notes(report)),
    )


def save(folder: Path, report: Report, dataset: str, revision: str | None = None, date: str | None = None) -> Path:
    """Write the entry below a folder, where a model's repository has it; returns the file."""
    result = entry(report, dataset, revision, date)
    from huggingface_hub import eval_result_entries_to_yaml
    from huggingface_hub.repocard import yaml_dump

    path = folder / FOLDER / f"{dataset.rpartition('/')[2]}-{result.task_id}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as file:
        file.write(yaml_dump(eval_result_entries_to_yaml([result])).encode())
    return path


def _notes(report: Report) -> Iterator[str]:
    """Say what the value is, of which pictures, and what became of the slice that is certainly the worst."""
    document = report.document
    overall, release = document.overall, document.release
    what = f"1 - share of {document.unit}s {document.failure}"
    yield f"{what}, of {overall.trials:,} (95%: {_span(overall.interval)})"
    verified = "verified only" if release.verified_only else "verified or not"
    yield f"split {release.split or 'all'}, {verified}"
    if document.threshold is not None:
        yield f"threshold {document.threshold:g}"
    if real := document.real:
        yield f"{percent(real.rate)} of {real.pictures:,} real pictures taken for fake"
    for cell in report.worst(1):
        if cell.loss > 0 and cell.rate is not None:
            yield f"worst slice {cell.name}: {1 - cell.rate:.3g} ({_span(cell.interval)})"


def _span(failures: Pair) -> str:
    """Return the interval of what did not fail."""
    return f"{1 - failures[1]:.4g} to {1 - failures[0]:.4g}"
