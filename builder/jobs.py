"""Make the dataset on the Hub's own machines: what it will cost, the script of the job, and its start."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from builder.common import cli

HUB_MODEL = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?(?<!\.safetensors)(?<!\.ckpt)")
"""A model's name on the Hub, and none of a file."""


def _repo_id(text: str) -> str:
    """The name of a dataset on the Hub, as the Hub allows it."""
    from builder.hub.publisher import repo_id_fault

    if fault := repo_id_fault(text):
        raise typer.BadParameter(fault)
    return text


def _positive(text: object) -> float:
    """A number above 0."""
    try:
        value = float(str(text))
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise typer.BadParameter(f"must be a number above 0, got {text!r}")
    return value


def _require_possible(
    model: str, repo_id: str | None, *, is_preview_allowed: bool, is_part: bool, unused: dict[str, bool]
) -> None:
    """Raise UserError for a job that would cost money and fail at its end."""
    from builder import preview
    from builder.common.errors import UserError

    flags = [flag for flag, is_chosen in unused.items() if is_chosen]
    if flags and not repo_id:
        raise UserError(f"{', '.join(flags)}: nothing is published without --repo-id")
    if model != preview.NAME and (not HUB_MODEL.fullmatch(model) or Path(model).exists()):
        raise UserError(f"the model {model} is a file or folder of this machine, which the job's lacks: give a Hub id")
    if repo_id and is_part:
        raise UserError("--repo-id with --scale, --limit or --only: a part is only published with --allow-incomplete")
    if repo_id and model == preview.NAME and not is_preview_allowed:
        raise UserError("--repo-id with --model preview: its pictures are only published with --allow-preview")


def jobs(
    bucket: Annotated[
        str,
        typer.Option(
            metavar="OWNER/NAME[/FOLDER]", help="the bucket on the Hub that keeps the raw build; made if need be"
        ),
    ],
    repo_id: Annotated[
        str | None,
        typer.Option(metavar="OWNER/NAME", parser=_repo_id, help="the dataset to publish at the end; else nothing is"),
    ] = None,
    spec: cli.Table = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Hub id, or preview", show_default="the table's")
    ] = None,
    only: cli.Only = None,
    scale: cli.Scale = 1.0,
    limit: cli.Limit = None,
    twins: Annotated[bool, typer.Option("--twins", help="for each picture of a feature its twin too")] = False,
    image_format: cli.ImageFormat = "png",
    append: Annotated[bool, typer.Option("--append", help="add the rows that the dataset there lacks")] = False,
    tag: Annotated[str | None, typer.Option(metavar="NAME", help="tag for the commit, once it is verified")] = None,
    public: Annotated[bool, typer.Option("--public", help="let everyone see it, once it is verified")] = False,
    allow_incomplete: Annotated[
        bool, typer.Option("--allow-incomplete", help="publish it although features lack pictures, as with --scale")
    ] = False,
    allow_preview: Annotated[
        bool, typer.Option("--allow-preview", help="publish pictures of the preview model")
    ] = False,
    flavor: Annotated[
        str, typer.Option(metavar="NAME", help="the machine: `hf jobs hardware` lists them")
    ] = "a10g-small",
    timeout: Annotated[str, typer.Option(metavar="TIME", help="the longest time of an attempt: 90m, 6h, 2d")] = "6h",
    attempts: Annotated[
        int, typer.Option(metavar="N", parser=cli.whole(1), help="how often it is started in all; each goes on")
    ] = 3,
    rate: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            parser=_positive,
            help="pictures a second, as you have measured them",
            show_default="what the build in the bucket has noted",
        ),
    ] = None,
    raw: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="take the rate that this raw build has noted", show_default="that in the bucket"
        ),
    ] = None,
    price_per_hour: Annotated[
        float | None,
        typer.Option(metavar="USD", parser=_positive, help="price of the machine", show_default="what the Hub says"),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="write the script there, with the files that it takes, to start it by hand"
        ),
    ] = None,
    start: Annotated[
        bool, typer.Option("--start", help="start the job, which costs money, and print its address")
    ] = False,
) -> None:
    """Make the dataset in a job on the Hub: say what it will cost, and print or start the script that does it.

    The script works on the job's own disk, keeps finished shards in the bucket, goes on there after a time-out, and
    publishes the release. Nothing is started without --start.
    """
    from builder.hub.jobs import Jobs, JobsConfig
    from builder.plan.plan import Plan
    from builder.spec import table

    words = cli.words(only)
    plan = Plan(table.load(spec or table.DEFAULT), words, scale, limit, twins=twins)
    _require_possible(
        model or plan.spec.recipe.model,
        repo_id,
        is_preview_allowed=allow_preview,
        is_part=bool(words or limit or scale < 1) and not allow_incomplete,
        unused={"--append": append, "--tag": bool(tag), "--public": public},
    )
    generate = ["--scale", str(scale), "--image-format", image_format, *(["--twins"] if twins else [])]
    for flag, value in (("--model", model), ("--limit", limit), ("--only", ",".join(words) or None)):
        generate += [flag, str(value)] if value is not None else []
    upload = None
    if repo_id:
        upload = ["--repo-id", repo_id, *(["--tag", tag] if tag else [])]
        chosen = {"--append": append, "--public": public, "--allow-preview": allow_preview}
        chosen["--allow-incomplete"] = allow_incomplete
        upload += [flag for flag, is_chosen in chosen.items() if is_chosen]
    config = JobsConfig(
        plan=plan,
        bucket=bucket,
        generate=tuple(generate),
        upload=None if upload is None else tuple(upload),
        table=spec,
        flavor=flavor,
        timeout=timeout,
        attempts=attempts,
        rate=rate,
        price=price_per_hour,
        raw=raw,
    )
    job = Jobs(config)
    for line in job.lines():
        print(line, file=sys.stderr, flush=True)
    if start:
        print(job.start())
    elif write:
        job.write(write)
        print(f"cd {write} && {job.command}")
    else:
        print("nothing is started: --start does so, --write FOLDER writes this script and its files", file=sys.stderr)
        print(job.script, end="")


COMMAND = cli.Command(
    jobs,
    [
        "agfd30k jobs --bucket you/agfd30k-build --limit 20 --start",
        "agfd30k jobs --bucket you/agfd30k-build --repo-id you/AGFD-30K --start",
    ],
)


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    return COMMAND.run(argv)


if __name__ == "__main__":
    sys.exit(main())
