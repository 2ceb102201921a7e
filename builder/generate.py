"""Make the pictures: `accelerate launch builder/generate.py`, on one process or many, once or again after a stop."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from builder.common import cli
from builder.common.errors import UserError

if TYPE_CHECKING:
    from builder.generation.worker import Ended, GenerateConfig, Run
    from builder.plan.plan import Plan
    from builder.spec.spec import Spec


def generate(
    context: typer.Context,
    raw: cli.RawFolder = Path("agfd30k-raw"),
    out: cli.ReleaseFolder = Path("agfd30k"),
    spec: cli.Table = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Hub id, diffusers folder, .safetensors file, or preview (with a guidance of its own)",
            show_default="the table's",
        ),
    ] = None,
    model_config: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="folder with the model's json and txt files, for a .safetensors file"),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ATTRIBUTE[/FEATURE]", help="make only this; may be repeated, or hold several with commas"
        ),
    ] = None,
    scale: Annotated[
        float,
        typer.Option(metavar="N", parser=cli.scale, help="share of every quota to make, at least 1 a feature and sex"),
    ] = 1.0,
    limit: Annotated[
        int | None, typer.Option(metavar="N", parser=cli.whole(1), help="at most so many pictures, spread evenly")
    ] = None,
    batch_size: Annotated[
        int, typer.Option(metavar="N", parser=cli.whole(1), help="pictures made at once on each process")
    ] = 8,
    shard_size: Annotated[int, typer.Option(metavar="N", parser=cli.whole(1), help="pictures a shard")] = 256,
    image_format: Annotated[Literal["png", "webp", "jpg"], typer.Option(help="png and webp are lossless")] = "png",
    safety_checker: Annotated[
        str, typer.Option(metavar="MODEL", help="used where the model has none of its own")
    ] = "CompVis/stable-diffusion-safety-checker",
    unchecked_adults: Annotated[
        bool,
        typer.Option(
            "--unchecked-adults", help="no safety checker for rows of adults; whoever may be a minor keeps it"
        ),
    ] = False,
    without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CHECK",
            help="leave a check of the table out: integrity, face, attribute or duplicates; may be repeated, or hold "
            "several with commas",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print what would be made, and exit")] = False,
) -> int:
    """Make labelled faces from a table of attributes, and the release folder that load_dataset reads.

    Run it again after a stop: it goes on. What changes pixels is in the table or noted in recipe.json.
    """
    from builder.plan.plan import Plan
    from builder.spec import table

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logging.basicConfig(format="%(message)s")
    path = spec or table.DEFAULT
    try:
        plan = Plan(_spec(path, model, cli.words(without)), cli.words(only), scale, limit, shard_size)
        if dry_run:
            return _dry_run(plan)
        from builder.generation.worker import GenerateConfig  # torch and OpenCV, which a dry run does without

        config = GenerateConfig(
            raw=raw,
            toml=path.read_text(encoding="utf-8"),
            batch_size=batch_size,
            image_format=image_format,
            model_config=model_config,
            safety_checker=safety_checker,
            unchecked_adults=unchecked_adults,
        )
        return _run(config, plan, out, *(context.obj or (None, None)))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise UserError(
            f"{where}{error.strerror or error}; what is committed in {raw} is safe: put that right and run again"
        ) from error


def _spec(path: Path, model: str | None, without: Sequence[str]) -> Spec:
    """The table as the flags want it."""
    from builder import preview
    from builder.spec import table

    spec = table.load(path)
    recipe = dataclasses.replace(spec.recipe, model=model or spec.recipe.model)
    spec = dataclasses.replace(spec, recipe=recipe)
    if recipe.model == preview.NAME:
        spec = preview.fitted(spec)
    return dataclasses.replace(spec, checks=spec.checks.without(without))


def _dry_run(plan: Plan) -> int:
    from builder.models import tokenizer
    from builder.plan import summary

    tokenize = tokenizer.tokenizer(plan.spec.recipe.model, plan.spec.recipe.revision)
    try:
        for line in summary.lines(plan, tokenize):
            print(line)
    except BrokenPipeError:  # `--dry-run | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _run(config: GenerateConfig, plan: Plan, out: Path, load: Callable | None, build_checks: Callable | None) -> int:
    from builder.checks import loading as checks_loading
    from builder.dataset import packing
    from builder.generation.worker import Run

    if config.raw.resolve() == out.resolve():
        raise UserError(f"--raw and --out are the same folder, {config.raw}")
    run = Run(config, plan, load or _load, build_checks or checks_loading.build)
    packing.require_free(out, run.prepare())
    return _end(run.run(), run, config.raw, out)


def _end(ended: Ended, run: Run, raw: Path, out: Path) -> int:
    """Say how it ended; where nothing is left to do, make the release. Returns the exit status."""
    from builder.dataset import packing

    if ended.signal:
        print(f"stopped; all that was made is safe in {raw}: run the same command again to go on", file=sys.stderr)
        return 128 + ended.signal
    alone = run.rank.count == 1
    if ended.locked and (alone or not ended.worked):  # one of several may find that the others did its share
        more = f" ({len(ended.locked)} shards)" if len(ended.locked) > 1 else ""
        print(f"generate: {ended.locked[0]}{more}", file=sys.stderr)
        return 2 if alone and not ended.worked else 0
    if ended.complete:
        statistics, made = packing.make(raw, out)
        if made or (run.rank.index == 0 and not ended.worked):
            print(packing.summary(statistics, run.recipe, out))
    return 0


def _load(*source, **options):
    from builder.models import loading  # diffusers and transformers, which a finished build does without

    return loading.load(*source, **options)


COMMAND = cli.Command(
    generate,
    [
        "agfd30k generate --only occlusion/only_mask --scale 0.1",
        "accelerate launch --multi_gpu --num_processes 8 builder/generate.py",
    ],
    stopped="stopped before anything was begun",  # from then on a run stops after a batch
)


def main(argv: list[str] | None = None, load: Callable | None = None, build_checks: Callable | None = None) -> int:
    """The command; returns the exit status. `load` may stand in for `loading.load`, `build_checks` for
    `checks.loading.build`.
    """
    return COMMAND.run(argv, obj=(load, build_checks))


if __name__ == "__main__":
    sys.exit(main())
