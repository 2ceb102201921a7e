"""Make the pictures: `accelerate launch builder/generate.py`, on one process or many, once or again after a stop."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from builder import preview
from builder.common import cli
from builder.common.cli import positive, scale
from builder.common.errors import UserError
from builder.plan.plan import SHARD_SIZE, Plan
from builder.spec import table
from builder.spec.criteria import KINDS

SAFETY_CHECKER = "CompVis/stable-diffusion-safety-checker"

if TYPE_CHECKING:
    from builder.generation.worker import Ended, Run


def parser() -> argparse.ArgumentParser:
    """The command line. What changes pixels is in the table or noted in recipe.json."""
    made = cli.parser(
        "accelerate launch builder/generate.py",
        "Make labelled faces from a table of attributes, and the release folder that load_dataset reads.",
        "accelerate launch builder/generate.py --only occlusion/only_mask --scale 0.1",
    )
    option = made.add_argument
    option(
        "--raw",
        metavar="FOLDER",
        type=Path,
        default=Path("agfd30k-raw"),
        help="folder that pictures and rows are written to",
    )
    option("--out", metavar="FOLDER", type=Path, default=Path("agfd30k"), help="the release folder")
    option("--spec", metavar="FILE", type=Path, default=table.DEFAULT, help="the table, TOML")
    option(
        "--model",
        help="Hub id, diffusers folder, .safetensors file, or preview (with a guidance of its own); else the table's",
    )
    option(
        "--model-config",
        metavar="FOLDER",
        type=Path,
        help="folder with the model's json and txt files, for a .safetensors file",
    )
    option("--only", action="append", metavar="ATTRIBUTE[/FEATURE]", help="make only this; may be repeated")
    option(
        "--scale",
        metavar="N",
        type=scale,
        default=1.0,
        help="share of every quota to make, at least 1 a feature and sex",
    )
    option("--limit", metavar="N", type=positive, help="at most so many pictures, spread evenly")
    option("--batch-size", metavar="N", type=positive, default=8, help="pictures made at once on each process")
    option("--shard-size", metavar="N", type=positive, default=SHARD_SIZE, help="pictures a shard")
    option("--image-format", choices=["png", "webp", "jpg"], default="png", help="png and webp are lossless")
    option("--safety-checker", metavar="MODEL", default=SAFETY_CHECKER, help="used where the model has none of its own")
    option(
        "--unchecked-adults",
        action="store_true",
        help="no safety checker for rows of adults; whoever may be a minor keeps it",
    )
    option(
        "--without",
        action="append",
        metavar="CHECK",
        choices=list(KINDS),
        help="leave a check of the table out: integrity, face, attribute or duplicates; may be repeated",
    )
    option("--dry-run", action="store_true", help="print what would be made, and exit")
    return made


def main(argv: list[str] | None = None, load: Callable | None = None, build_checks: Callable | None = None) -> int:
    """The command; returns the exit status. `load` may stand in for `loading.load`, `build_checks` for
    `checks.loading.build`.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logging.basicConfig(format="%(message)s")
    args = parser().parse_args(argv)
    try:
        spec = table.load(args.spec)
        spec = spec.changed(recipe=spec.recipe.changed(model=args.model or spec.recipe.model))
        if spec.recipe.model == preview.NAME:
            spec = preview.fitted(spec)
        spec = spec.changed(checks=spec.checks.without(args.without or ()))
        plan = Plan(spec, args.only or (), args.scale, args.limit, args.shard_size)
        return _dry_run(plan) if args.dry_run else _run(args, plan, load, build_checks)
    except UserError as error:
        print(f"generate: {error}", file=sys.stderr)
    except KeyboardInterrupt:  # before the run takes over; from then on it stops after a batch
        print("generate: stopped before anything was begun", file=sys.stderr)
        return 130
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(
            f"generate: {where}{error.strerror or error}; what is committed in {args.raw} is safe: "
            "put that right and run again",
            file=sys.stderr,
        )
    return 2


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


def _run(args: argparse.Namespace, plan: Plan, load: Callable | None, build_checks: Callable | None) -> int:
    from builder.checks import loading as checks_loading  # torch and OpenCV, which a dry run does without
    from builder.dataset import packing
    from builder.generation.worker import GenerateConfig, Run

    if args.raw.resolve() == args.out.resolve():
        raise UserError(f"--raw and --out are the same folder, {args.raw}")
    config = GenerateConfig(
        raw=args.raw,
        toml=args.spec.read_text(encoding="utf-8"),
        batch_size=args.batch_size,
        image_format=args.image_format,
        model_config=args.model_config,
        safety_checker=args.safety_checker,
        unchecked_adults=args.unchecked_adults,
    )
    run = Run(config, plan, load or _load, build_checks or checks_loading.build)
    packing.require_free(args.out, run.prepare())
    return _end(run.run(), run, args.raw, args.out)


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


if __name__ == "__main__":
    sys.exit(main())
