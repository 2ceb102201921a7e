"""Make the pictures: `accelerate launch builder/generate.py`, on one or many processes, once or again after a stop.

Every rank computes the same plan, takes its share of the shards, and works through them: generate, check, write,
commit. What is committed stays; a run that was stopped goes on where it ended, with any number of processes. Whoever
finishes the last shard makes the release.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from builder import UserError, spec
from builder.plan import SHARD_SIZE, Attempt, Plan, Shard

log = logging.getLogger("agfd30k")


class Stop:
    """Set by SIGTERM and Ctrl-C: the current batch is finished and committed, then the run ends.

    The launcher's death counts too: it cannot pass on what it no longer hears.
    """

    def __init__(self):
        self.signal: int | None = None
        self.parent = os.getppid() if "ACCELERATE_MIXED_PRECISION" in os.environ else None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: object) -> None:
        self.signal = self.signal or number

    def __bool__(self) -> bool:
        if self.parent is not None and os.getppid() != self.parent:
            self.signal = self.signal or signal.SIGTERM
        return self.signal is not None


def parser() -> argparse.ArgumentParser:
    """The command line. Flags choose where, how much and how fast; what changes pixels is in the table."""
    made = argparse.ArgumentParser(
        prog="accelerate launch builder/generate.py",
        description="Make labelled faces from a table of attributes, and the release folder that load_dataset reads.",
        epilog="example: accelerate launch builder/generate.py --only occlusion/only_mask --scale 0.1",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    option = made.add_argument
    option("--raw", type=Path, default=Path("agfd30k-raw"), help="where pictures and rows are written while they are made")
    option("--out", type=Path, default=Path("agfd30k"), help="the release folder")
    option("--spec", type=Path, default=spec.DEFAULT_SPEC, help="the table, TOML")
    option("--model", help="Hub id, diffusers folder, .safetensors file, or preview (default: the table's)")
    option("--model-config", type=Path, help="folder with the model's json and txt files, for a .safetensors file")
    option("--only", action="append", default=[], metavar="ATTRIBUTE[/FEATURE]", help="make only this; may be repeated")
    option("--scale", type=_scale, default=1.0, help="share of every quota to make, at least 1 picture a feature and sex")
    option("--limit", type=_positive, help="at most so many pictures, spread evenly (default: no limit)")
    option("--batch-size", type=_positive, default=8, help="pictures made at once on each process")
    option("--shard-size", type=_positive, default=SHARD_SIZE, help="pictures a shard")
    option("--image-format", choices=["png", "webp", "jpg"], default="png", help="png and webp are lossless")
    option("--safety-checker", metavar="MODEL", help="used where the model has none (default: CompVis's on the Hub)")
    option("--unchecked-adults", action="store_true", help="no safety checker for rows of adults; minors keep theirs")
    option("--dry-run", action="store_true", help="print what would be made, and exit")
    return made


def main(argv: list[str] | None = None, load: Callable | None = None) -> int:
    """The command; returns the exit status. `load` stands in for `pipeline.load` in tests of everything around it."""
    logging.basicConfig(format="%(message)s", level=logging.INFO if os.environ.get("RANK", "0") == "0" else logging.WARNING)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    args = parser().parse_args(argv)
    try:
        table = spec.load(args.spec)
        recipe = dataclasses.replace(table.recipe, model=args.model or table.recipe.model)
        table = dataclasses.replace(table, recipe=recipe)
        plan = Plan(table, args.only, args.scale, args.limit, args.shard_size)
        if args.dry_run:
            return _dry_run(plan)
        return Run(args, plan, load).run()
    except UserError as error:
        print(f"generate: {error}", file=sys.stderr)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(
            f"generate: {where}{error.strerror or error}; what is committed in {args.raw} is safe: "
            "put that right and run again",
            file=sys.stderr,
        )
    return 2


def _dry_run(plan: Plan) -> int:
    from builder import dry_run

    tokenize = dry_run.tokenizer(plan.spec.recipe.model, plan.spec.recipe.revision)
    for line in dry_run.lines(plan, tokenize):
        print(line)
    return 0


class Run:
    """One process's part of a build."""

    def __init__(self, args: argparse.Namespace, plan: Plan, load: Callable | None):
        self.args = args
        self.plan = plan
        self.load = load
        self.stop = Stop()
        self.pipeline = None

    def run(self) -> int:
        from accelerate import PartialState

        from builder import models, raw
        from builder.progress import Progress

        self.state = PartialState(cpu=not _has_gpu())
        self.main = self.state.process_index == 0
        recipe, folder = self.plan.spec.recipe, self.args.raw
        recorded = raw.recorded_source(folder, recipe.model, recipe.revision)
        self.source = models.resolve(recipe.model, recipe.revision, recorded)
        settings = {
            "image_format": self.args.image_format,
            "shard_size": self.plan.shard_size,
            "safety_checker": self.args.safety_checker or "default",
            "unchecked_adults": self.args.unchecked_adults,
        }
        document = raw.document(self.plan.spec, self.source, self.args.spec.read_text(encoding="utf-8"), **settings)
        raw.begin(folder, document)
        self.fingerprint = document["fingerprint"]
        shards = self.plan.shards
        count, names = raw.RowCount(folder), [shard.name for shard in shards]
        self.progress = Progress(self.plan.chosen, lambda: count(names), self.main)
        try:
            locked = self._build(shards[self.state.process_index :: self.state.num_processes])
        finally:
            self.progress.close()
            _leave_group()
        return self._end(shards, locked)

    def folder(self, shard: Shard) -> Path:
        return self.args.raw / "shards" / shard.name

    def _build(self, shards: list[Shard]) -> list[str]:
        """Work through shards; returns what was left alone because another run is writing there."""
        from builder.shards import Locked, is_done

        locked = []
        for shard in shards:
            if self.stop:
                break
            if is_done(self.folder(shard), self.plan.ids(shard)):
                continue
            try:
                self._shard(shard)
            except Locked as error:
                locked.append(str(error))
        return locked

    def _shard(self, shard: Shard) -> None:
        """One shard, from where it stands to its receipt; or to the end of a batch, if told to stop."""
        from builder.shards import ShardWriter

        asked, started = self.plan.asked(shard), time.monotonic()
        with ShardWriter(self.folder(shard), self.plan.whole(shard), self.plan, self.args.image_format) as writer:
            before, rejected = len(writer.rows), len(writer.rejected)
            while pending := writer.pending(asked):
                if self.stop:
                    return
                self._batch(writer, pending[: self.args.batch_size])
            writer.finish(fingerprint=self.fingerprint, versions=_versions(), finished=time.strftime("%FT%TZ", time.gmtime()))
            made, rejected = len(writer.rows) - before, len(writer.rejected) - rejected
        self.progress.shard(shard.name, made, rejected, time.monotonic() - started)

    def _batch(self, writer, attempts: list[Attempt]) -> None:
        """Generate → check → write each picture while the next is decoded → commit the batch."""
        from builder.checks import integrity

        pipeline = self._pipeline()
        made_by = {
            "model": self.source.name,
            "model_revision": self.source.revision,
        }
        writing, rejected = [], []
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
            for result in pipeline.generate(attempts):
                reason = result.reason or integrity(result.image)
                if reason:
                    attempt = result.attempt
                    rejected.append({"id": attempt.sample.id, "attempt": attempt.number, "seed": attempt.seed, "reason": reason})
                else:
                    checker = pipeline.checker_of(result.attempt.sample)
                    row = {**made_by, "safety_checker": checker}
                    writing.append(pool.submit(writer.write_picture, result.attempt, result.image, row))
            rows = [future.result() for future in writing]
        writer.commit(rows, rejected)
        self.progress.batch(len(rejected))

    def _pipeline(self):
        """The model, loaded when the first picture is wanted."""
        if self.pipeline is None:
            from builder import pipeline

            load = self.load or pipeline.load
            self.pipeline = load(
                self.source,
                self.plan.spec.recipe,
                self.state.device,
                config=self.args.model_config,
                safety_checker=self.args.safety_checker or pipeline.SAFETY_CHECKER,
                check_adults=not self.args.unchecked_adults,
            )
        return self.pipeline

    def _end(self, shards: list[Shard], locked: list[str]) -> int:
        """Say how it ended, and make the release if nothing is left to do."""
        from builder import release
        from builder.shards import is_done

        if self.stop:
            print(f"stopped; everything made so far is safe in {self.args.raw}: run the same command again to go on", file=sys.stderr)
            return 128 + self.stop.signal
        if locked:
            print(f"generate: {locked[0]}" + (f" ({len(locked)} shards)" if len(locked) > 1 else ""), file=sys.stderr)
            return 2 if self.pipeline is None else 0
        if all(is_done(self.folder(shard), self.plan.ids(shard)) for shard in shards):
            counts = release.make(self.args.raw, self.args.out)
            if self.main or self.state.num_processes > 1:
                print(release.summary(counts, self.args.out))
        return 0


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def _leave_group() -> None:
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _versions() -> dict[str, str]:
    names = ("torch", "diffusers", "transformers", "accelerate", "datasets", "pillow", "numpy")
    return {"python": sys.version.split()[0], **{name: version(name) for name in names}}


def _scale(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 1, got {text}")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {text}")
    return value


if __name__ == "__main__":
    sys.exit(main())
