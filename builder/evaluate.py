"""Where does a face model fail? Its failures on a release, slice by slice, with intervals; or two models compared."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.common import cli
from builder.common.errors import UserError

if TYPE_CHECKING:
    from builder.evaluation.report import Report

TASKS = "detect, attribute, landmark, recognise or fake"


def evaluate(
    release: Annotated[
        str,
        typer.Argument(
            help="a release folder, a dataset on the Hub: owner/name or owner/name@revision, or a report.json"
        ),
    ] = "agfd30k",
    other: Annotated[
        Path | None, typer.Argument(help="another report.json, of the same pictures: the two models are compared")
    ] = None,
    task: Annotated[str | None, typer.Option(metavar="TASK", help=f"what the model does: {TASKS}")] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="what it says of every picture, .jsonl or .parquet, by id: docs/evaluation.md"
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="or the model: opencv:yunet, opencv:haar, a .task file, module:function, or a transformers model "
            "(owner/name)",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="a new folder for the report and what a model says; without it the table is only printed",
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMNS",
            help="slices, columns with commas between; repeat it for more tables",
            show_default="feature,sex",
        ),
    ] = None,
    baseline: Annotated[str, typer.Option(metavar="FEATURE", help="what slices are compared with")] = "base",
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            help="least score of a box or a fake, least cosine of a match, largest distance of points",
            show_default="0.5, 0.5, none, 0.1",
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="of an attribute: feature, sex or age_group", show_default="feature"),
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="train, validation or test", show_default="all of them")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="take pictures that no check confirmed too, not only verified ones")
    ] = False,
    real: Annotated[
        Path | None,
        typer.Option(
            metavar="PLACE",
            help="of a fake: real pictures of your own, a folder that --model looks at, or a file of their scores, as "
            "--predictions",
        ),
    ] = None,
    fake_label: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="which of a transformers classifier's labels means fake; several with commas between",
            show_default="told from its labels",
        ),
    ] = None,
    hub_results: Annotated[
        bool,
        typer.Option(
            "--hub-results", help="of a dataset on the Hub: write .eval_results too, for the model's repository"
        ),
    ] = False,
    worst: Annotated[int, typer.Option(metavar="N", parser=cli.whole(0), help="slices that are named at the end")] = 5,
    batch_size: Annotated[
        int, typer.Option(metavar="N", parser=cli.whole(1, 10_000), help="pictures that are looked at together")
    ] = 32,
) -> None:
    """Tell where a face model fails: how often, slice by slice, with intervals, and how much more than on `base`.

    A model that is named looks at every picture once; stopped, it goes on in the same --out. Its predictions stay
    there: with --predictions they give other slices at no cost. Two reports of the same pictures are compared.
    """
    dataset = _dataset(release, out) if hub_results else ""
    if other is not None or Path(release).name == "report.json":
        _compare(Path(release), other, out)
        return
    from builder.evaluation import evaluate as evaluation
    from builder.evaluation import page
    from builder.evaluation.hub_results import require_folder_measured
    from builder.evaluation.report import PAGE, require_free

    if task is None:
        raise UserError(f"--task: say what the model does: {TASKS}")
    config = evaluation.EvaluateConfig(
        task=task,
        model=model,
        predictions=predictions,
        by=[columns.split(",") for columns in by or ("feature,sex",)],
        baseline=baseline,
        threshold=threshold,
        label=label,
        split=split,
        verified=not everything,
        real=real,
        fake_label=fake_label or (),
        batch_size=batch_size,
        out=out,
    )
    if out:
        require_free(out)
    folder = _folder(release, needs_pictures=bool(model))
    if dataset:
        require_folder_measured(dataset, folder)
    with cli.terminable():
        report = evaluation.evaluate(folder, config, release)
    print(report.table())
    _name_worst(report, worst)
    if out:
        data = page.of_report(report, folder)
        _write_page(report.save(out), data)
        print(f"{out} is ready: open {PAGE}; report.json, report.md, cells.parquet, outcomes.parquet")
        if dataset:
            _write_hub_results(report, dataset, folder, out)


def _dataset(release: str, out: Path | None) -> str:
    """Return the dataset on the Hub of which results are asked for. Raises UserError where there can be none."""
    dataset = cli.HUB_ID.fullmatch(release)
    if Path(release).exists() or not dataset:
        raise UserError(f"--hub-results: {release} is no dataset on the Hub; evaluate the published one, owner/name")
    if out is None:
        raise UserError("--hub-results: needs --out, the folder that they are written into")
    return dataset[1]


def _write_hub_results(report: Report, dataset: str, folder: Path, out: Path) -> None:
    from builder.evaluation import hub_results
    from builder.hub import commits

    path = hub_results.save(out, report, dataset, commits.of(folder)).relative_to(out)
    benchmark = f"{dataset} is registered as a benchmark with the task {hub_results.task_id(report.document)}"
    print(f"{path} is for the model's repository: the Hub shows it only where {benchmark}")


def _write_page(out: Path, data: bytes) -> None:
    from builder.common.files import atomic
    from builder.evaluation.report import PAGE

    with atomic(out / PAGE) as file:
        file.write(data)


def _name_worst(report: Report, number: int) -> None:
    cells = report.worst(number)
    sure = [cell for cell in cells if cell.holm is not None and cell.holm <= 0.05 and (cell.difference or 0) > 0]
    names = ", ".join(cell.name for cell in sure)
    if number:
        print(f"\nCertainly worse (Holm p at most 0.05, 30 pictures or more), worst first: {names or 'nothing'}")


def _compare(first: Path, second: Path | None, out: Path | None) -> None:
    """Print what is different between two reports, and write it where asked."""
    from builder.evaluation import page
    from builder.evaluation.comparison import Comparison
    from builder.evaluation.report import PAGE, Report, require_free

    if second is None:
        raise UserError(f"{first}: is a report; name another one to compare it with")
    if out:
        require_free(out)
    one, another = Report.load(first), Report.load(second)
    comparison = Comparison.of(one, another)
    print(comparison.table())
    if out:
        data = page.of_comparison(comparison, one, another)
        _write_page(comparison.save(out), data)
        print(f"{out} is ready: open {PAGE}; comparison.json and comparison.md")


def _folder(release: str, needs_pictures: bool) -> Path:
    """Return the release folder; of a dataset on the Hub only what is needed is downloaded."""
    folder = Path(release)
    dataset = cli.HUB_ID.fullmatch(release)
    if folder.exists() or not dataset:
        return folder
    if not needs_pictures:
        from builder.hub import metadata

        return metadata.download(dataset[1], dataset[2], metadata.WITH_CHECKS)
    place = Path(dataset[1].partition("/")[2])
    if place.exists():
        raise UserError(f"{place}: is there already; evaluate on that, or move it away to download {release}")
    from builder.hub import snapshot

    return snapshot.download(dataset[1], dataset[2], place)


COMMAND = cli.Command(
    evaluate,
    [
        "agfd30k evaluate agfd30k --task detect --predictions mine.jsonl --out report",
        "agfd30k evaluate agfd30k --task detect --model opencv:yunet --out yunet",
        "agfd30k evaluate mine/report.json yunet/report.json",
    ],
    stopped="stopped; what the model has said is kept in --out, run it again to go on",
)


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    return COMMAND.run(argv)


if __name__ == "__main__":
    sys.exit(main())
