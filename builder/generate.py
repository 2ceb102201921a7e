"""Make the pictures: `accelerate launch builder/generate.py`, on one process or many, once or again after a stop."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.common import cli
from builder.common.address import Place
from builder.common.errors import UserError, shortened
from builder.engine.choice import Kind

if TYPE_CHECKING:
    from builder.dataset.statistics import Statistics
    from builder.engine.ray import Ray
    from builder.generation.config import GenerateConfig
    from builder.generation.worker import Ended, Run
    from builder.raw.signing import Signer

RETRY = 10
"""Seconds between two tries to make a release of a folder that others write in."""


def generate(
    context: typer.Context,
    raw: cli.RawPlace = cli.RAW,
    out: cli.ReleaseFolder = Path("agfd30k"),
    spec: cli.Table = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Hub id (or owner/name@revision), diffusers folder, .safetensors file, or preview (with guidance "
            "and steps of its own)",
            show_default="the table's",
        ),
    ] = None,
    model_config: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="folder with the model's json and txt files, for a .safetensors file"),
    ] = None,
    only: cli.Only = None,
    scale: cli.Scale = 1.0,
    limit: cli.Limit = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=cli.whole(1),
            help="pictures made at once on each process",
            show_default="8 on a CPU, on a GPU by its memory",
        ),
    ] = None,
    twins: Annotated[
        bool,
        typer.Option(
            "--twins",
            help="for each picture of a feature its twin too, the same person and seed without the feature, beyond "
            "--limit; may be added to a build that is there",
        ),
    ] = False,
    shard_size: Annotated[int, typer.Option(metavar="N", parser=cli.whole(1), help="pictures a shard")] = 256,
    image_format: cli.ImageFormat = "png",
    safety_checker: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Hub id (or owner/name@revision) or folder, in place of the model's own",
            show_default="the model's own, else the table's",
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CHECK",
            help="leave a check of the table out: integrity, face, attribute or duplicates; may be repeated, or hold "
            "several with commas",
        ),
    ] = None,
    cpu: Annotated[
        bool, typer.Option("--cpu", help="make pictures on the CPU, however long a model of full size takes")
    ] = False,
    sign_certificate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="sign every picture (C2PA): your certificate and those that issued it, PEM; see --sign-key",
        ),
    ] = None,
    sign_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="the certificate's private key, PEM, not encrypted; read once")
    ] = None,
    keep_rejected: Annotated[
        int,
        typer.Option(
            metavar="N",
            parser=cli.whole(0),
            help="rejected pictures of each reason to keep in the raw folder's rejected/, for a look; never one that "
            "the safety checker flagged or that looks like a minor",
        ),
    ] = 0,
    engine: Annotated[
        Kind | None,
        typer.Option(
            help="who makes the pictures: this process, with those that its launcher started, or a cluster by Ray, at "
            "RAY_ADDRESS, a task on each GPU",
            show_default="here, or ray where RAY_ADDRESS is set and no launcher",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print what would be made, and exit")] = False,
) -> int:
    """Make labelled faces from a table of attributes, and the release folder that load_dataset reads.

    Run it again after a stop: it goes on. What changes pixels is in the table or noted in recipe.json.
    """
    from builder.generation import launcher
    from builder.generation.config import GenerateConfig
    from builder.spec import table

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logging.basicConfig(format="%(message)s")
    _require_own_disk(raw)
    config = GenerateConfig(
        raw=raw.folder,
        store=raw.address,
        table=spec or table.DEFAULT,
        model=model,
        model_config=model_config,
        only=cli.words(only),
        scale=scale,
        limit=limit,
        twins=twins,
        batch_size=batch_size,
        shard_size=shard_size,
        image_format=image_format,
        safety_checker=safety_checker,
        without=cli.words(without),
        cpu=cpu,
        keep_rejected=keep_rejected,
        signer=_signer(sign_certificate, sign_key),
    )
    with cli.terminable(), raw.naming():
        launcher.watch()
        return _generate(config, out, dry_run, engine, context.obj or {})


def _require_own_disk(raw: Place) -> None:
    """Raise UserError for a folder that is a mounted bucket."""
    if raw.address is None:
        from builder.storage.mounts import require_unmounted

        require_unmounted(raw.folder)


def _signer(certificate: Path | None, key: Path | None) -> Signer | None:
    """Return who signs the pictures, None where nobody does; what is wrong with the files is told before all else."""
    from builder.raw.signing import Signer

    if certificate and key:
        return Signer.of_files(certificate, key)
    if certificate or key:
        raise UserError("--sign-certificate and --sign-key belong together: give both, or none")
    return None


def _generate(
    config: GenerateConfig, out: Path, dry_run: bool, engine: Kind | None, stand_ins: dict[str, Callable]
) -> int:
    from builder.generation import advice

    try:
        with advice.given():
            if dry_run:
                return _dry_run(config, out)
            _say_start(config)
            return _run(config, out, engine, stand_ins)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise UserError(
            f"{where}{error.strerror or error}; what is committed in {config.raw} is safe: put that right and run again"
        ) from error


def _dry_run(config: GenerateConfig, out: Path) -> int:
    from builder.models import tokenizer
    from builder.plan import summary

    plan = config.plan
    tokenize = tokenizer.tokenizer(plan.spec.recipe.model, plan.spec.recipe.revision)
    try:
        for line in summary.lines(plan, tokenize):
            print(line)
        print(flush=True)
        for line in _preflight(config, out):
            print(line)
    except BrokenPipeError:  # `--dry-run | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _preflight(config: GenerateConfig, out: Path) -> Iterator[str]:
    """Yield what a run would take; offline it is told what could not be looked up."""
    from builder.generation.preflight import Preflight
    from builder.generation.worker import Run
    from builder.models.faults import Unreachable

    try:
        yield from Preflight.of(Run(config), out).lines()
    except Unreachable as error:
        yield f"not looked up: {error}"


def _run(config: GenerateConfig, out: Path, engine: Kind | None, stand_ins: dict[str, Callable]) -> int:
    from builder.dataset import packing
    from builder.dataset.folder import sweep
    from builder.generation.preflight import Preflight
    from builder.generation.worker import Run  # torch and OpenCV, which take seconds to import

    if config.raw.resolve() == out.resolve():
        raise UserError(f"--raw and --out are the same folder, {config.raw}")
    run = Run(config, **stand_ins)
    if not config.store:
        sweep(out)
        packing.require_free(out, run.raw.recipe)
    if not run.is_finished and (cluster := _cluster(engine, config)):
        _make_on(cluster, run, out, stand_ins)
    elif not run.is_finished:
        preflight = Preflight.of(run, out)
        if run.rank.index == 0:
            print("\n".join(preflight.lines()), flush=True)
        preflight.require()
        run.fetch()
    for number in (signal.SIGINT, signal.SIGTERM):  # from here on a second one, or one while packing, ends it at once
        signal.signal(number, signal.SIG_DFL)
    return _end(run.run(), run, out)


def _cluster(engine: Kind | None, config: GenerateConfig) -> Ray | None:
    """Return the cluster that shall make the pictures, None where this process does, as one of a launcher's must."""
    from builder.engine.choice import chosen
    from builder.generation import launcher

    if launcher.is_launched() or "RANK" in os.environ:
        if engine is Kind.RAY:
            raise UserError("--engine ray: the cluster starts the processes; run it once, without a launcher and RANK")
        return None
    return chosen(engine, gpus=not config.cpu)


def _make_on(engine: Ray, run: Run, out: Path, stand_ins: dict[str, Callable]) -> None:
    """Make a run's pictures on a cluster, and say how many tasks do it."""
    from builder.common.progress import counted
    from builder.generation import cluster

    cluster.require_sendable(run.config)
    workers = engine.places()
    print(f"cluster   {counted(workers, 'task')}, {'a core' if run.config.cpu else 'a GPU'} each", flush=True)
    cluster.make(run, engine, workers, out, stand_ins)


def _say_start(config: GenerateConfig) -> None:
    """Say what is made, by what and where, before what takes time; on each machine once."""
    from builder.common.progress import counted
    from builder.generation import launcher
    from builder.raw.row_count import RowCount

    if launcher.is_first_here():
        plan = config.plan
        what = f"{counted(plan.chosen, 'picture')} by {plan.spec.recipe.model} in {config.store or config.raw}"
        if not config.store:
            what += f", {max(0, plan.chosen - RowCount(config.raw)(plan.shards)):,} left"
        print(f"making {what}", flush=True)


def _end(ended: Ended, run: Run, out: Path) -> int:
    """Say how it ended; where nothing is left to do, make the release. Returns the exit status."""
    from builder.dataset import packing

    if ended.worked and not ended.signal and run.config.limit and run.rank.index == 0:
        print(_outlook(run), flush=True)
    if run.config.store and not ended.signal:
        if run.rank.index == 0:
            print(_stored(run.config, out))
        return 0
    while not ended.signal:
        try:
            statistics = _release(out, run, tell=run.rank.index == 0 and not ended.worked)
        except UserError as error:
            if not run.others_write():
                raise
            line = shortened(f"no release yet: {error}; trying again in {RETRY} s")
            print(line, file=sys.stderr, flush=True)
            time.sleep(RETRY)
            ended = run.run()  # they may have opened again what was done
            continue
        if statistics:
            print(packing.summary(statistics, run.raw.recipe, out))
            print(_next(out, run.raw.recipe.model.kind == "preview"))
        return 0
    where = f"{run.config.store} and {run.raw.folder}" if run.config.store else run.raw.folder
    print(f"stopped; all that was made is safe in {where}: run the same command again to go on", file=sys.stderr)
    return 128 + ended.signal


def _release(out: Path, run: Run, tell: bool) -> Statistics | None:
    """Make the release; None where it is there already, unless its statistics shall be told. Raises Reopened where
    another process has opened again what was asked for.
    """
    from builder.common.progress import heartbeat
    from builder.dataset import packing

    with heartbeat(lambda: f"making the release {out}"):
        return packing.pack(run.raw, out, plan=run.plan)[0] if tell else packing.pack_stale(run.raw, out, run.plan)


def _stored(config: GenerateConfig, out: Path) -> str:
    """What to do with what is in a store."""
    from builder.common.progress import counted

    done = f"{counted(config.plan.chosen, 'picture')} asked for, all done in {config.store}"
    return f"{done}\nmake the release: agfd30k release --raw {config.store} --out {shlex.quote(str(out))}"


def _outlook(run: Run) -> str:
    """How fast a few pictures were made, and how long all the others of the same choice would take at that."""
    from builder.common.progress import counted, duration

    rate = run.progress.pace
    if not rate:
        return "this run kept no picture"
    left = replace(run.config, limit=None).plan.chosen - run.plan.chosen
    more = f"{counted(left, 'picture')} more, without --limit, would take {duration(left / rate)}"
    return f"this run kept {rate:.2f} pictures/s: {more}"


def _next(out: Path, is_preview: bool) -> str:
    """What to do with a release."""
    release = shlex.quote(str(out))
    upload = f"agfd30k upload {release} --repo-id you/AGFD-30K"
    if is_preview:
        upload += " --allow-preview --allow-incomplete --dry-run"
    return f"look at it: agfd30k report {release}\npublish it: {upload}"


COMMAND = cli.Command(
    generate,
    [
        "agfd30k generate --only occlusion/only_mask --scale 0.1",
        "accelerate launch --multi_gpu --num_processes 8 builder/generate.py",
        "agfd30k generate --raw s3://bucket/faces",
    ],
    stopped="stopped; what was made is safe: run the same command again to go on",
)


def main(argv: list[str] | None = None, load: Callable | None = None, build_checks: Callable | None = None) -> int:
    """The command; returns the exit status. `load` and `build_checks` may stand in for those of `worker.Run`."""
    stand_ins = {"load": load, "build_checks": build_checks}
    return COMMAND.run(argv, obj={name: function for name, function in stand_ins.items() if function})


if __name__ == "__main__":
    sys.exit(main())
