"""One process's part of a build: take a share of the shards, make what is missing, commit batch by batch.

There is no collective in here: ranks meet in the files alone. Whoever finishes the last shard makes the release.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from builder import UserError, models, raw, refill, release
from builder.checks import Outcome
from builder.checks import loading as checks
from builder.plan import Attempt, Plan, Result, Shard
from builder.progress import Progress
from builder.shards import REJECTED, Locked, ShardWriter, is_done, rejection

LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "datasets", "pillow", "numpy")


RANKS = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0}
"""Where a launcher says which process this is, and what holds where none does."""


class Stop:
    """True once SIGTERM or Ctrl-C came: the batch at hand is finished and committed, then the run ends.

    The death of `accelerate launch` counts too, since it cannot pass on the signal that killed it.
    """

    def __init__(self):
        self.signal: int | None = None
        self.since = 0.0
        self.launcher = os.getppid() if "ACCELERATE_MIXED_PRECISION" in os.environ else None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: object) -> None:
        if self.signal is None:
            self.signal, self.since = number, time.monotonic()
            os.write(2, b"\nstopping after this batch (Ctrl-C again: at once, which loses the batch)\n")
        elif number == signal.SIGINT and time.monotonic() - self.since > 1:  # launchers repeat the first one
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def over(self) -> None:
        """From here on a signal ends the process at once, as usual."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)

    def __bool__(self) -> bool:
        if self.launcher is not None and os.getppid() != self.launcher:
            self._note(signal.SIGTERM, None)
        return self.signal is not None


@dataclass(frozen=True)
class Rank:
    """Which process this is, of how many, and the device it works on."""

    index: int
    count: int
    device: torch.device

    @classmethod
    def here(cls) -> Rank:
        """As `accelerate launch` or torchrun says in the environment; alone where nobody says anything.

        No process group is joined: ranks need nothing of each other, so one that dies or starts late holds up nobody.
        """
        index, count, local = (int(os.environ.get(name, alone)) for name, alone in RANKS.items())
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        if found is None or os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true"):
            return cls(index, count, torch.device("cpu"))
        return cls(index, count, torch.device(found.type, local % torch.accelerator.device_count()))


class Run:
    """A rank's work. `load` makes the pipeline from a model source, like `loading.load`, and `build_checks` the checks,
    like `checks.loading.build`.
    """

    def __init__(self, args: argparse.Namespace, plan: Plan, load: Callable, build_checks: Callable):
        self.args = args
        self.plan = plan
        self.load = load
        self.build_checks = build_checks
        self.rank = Rank.here()
        self.stop = Stop()
        self.pipeline = None

    def run(self) -> int:
        """Build and, if this finishes the last shard, release. Returns the exit status."""
        self._begin()
        shards = self.plan.shards
        rows, rejected = raw.RowCount(self.args.raw), raw.RowCount(self.args.raw, REJECTED)
        self.progress = Progress(self.plan.chosen, lambda: (rows(shards), rejected(shards)), self.rank.index == 0)
        try:
            locked = self._build(shards[self.rank.index :: self.rank.count])
            duplicates = None
            while not self.stop and self._all_done() and (duplicates := refill.take_back(self.args.raw, self.plan)):
                locked = self._build(shards)  # whoever found the duplicates makes others, alone
        finally:
            self.progress.close()
            self.stop.over()
        return self._end(locked, complete=duplicates == 0)

    def _begin(self) -> None:
        """Settle which exact model it is, and that both folders are this build's."""
        if self.args.raw.resolve() == self.args.out.resolve():
            raise UserError(f"--raw and --out are the same folder, {self.args.raw}")
        recipe = self.plan.spec.recipe
        recorded = raw.recorded_source(self.args.raw, recipe.model, recipe.revision)
        self.source = models.resolve(recipe.model, recipe.revision, recorded, self.args.model_config)
        self.check_sources = checks.resolve(self.plan.spec, raw.recorded_checks(self.args.raw))
        document = raw.document(
            self.plan.spec,
            self.source,
            self.args.spec.read_text(encoding="utf-8"),
            checks=checks.noted(self.plan.spec, self.check_sources),
            image_format=self.args.image_format,
            shard_size=self.plan.shard_size,
            safety_checker=self.args.safety_checker,
            unchecked_adults=self.args.unchecked_adults,
        )
        release.require_free(self.args.out, document)
        raw.begin(self.args.raw, document)
        raw.note_asked(self.args.raw, self.plan)
        refill.resume(self.args.raw, self.plan)
        self.fingerprint = document["fingerprint"]

    def _folder(self, shard: Shard) -> Path:
        return self.args.raw / raw.SHARDS / shard.name

    def _is_done(self, shard: Shard) -> bool:
        return is_done(self._folder(shard), self.plan.ids(shard))

    def _build(self, mine: list[Shard]) -> list[Locked]:
        """Work through a share of the shards; returns what was left because another run is writing there."""
        locked = {}
        for shard in mine:
            if self.stop:
                break
            if not self._is_done(shard):
                try:
                    self._shard(shard)
                except Locked as error:
                    locked[shard] = error
        return [error for shard, error in locked.items() if not self._is_done(shard)]

    def _shard(self, shard: Shard) -> None:
        """One shard, from where it stands to its receipt, or to the end of a batch if told to stop."""
        asked, started = self.plan.asked(shard), time.monotonic()
        made_by = {"model": self.source.name, "model_revision": self.source.revision}
        whole, ending = self.plan.whole(shard), self.args.image_format
        with ShardWriter(self._folder(shard), whole, self.plan, ending, made_by) as writer:
            rows, rejected = len(writer.rows), len(writer.rejected)
            while pending := writer.pending(asked):
                if self.pipeline is None:
                    self.checks = self.build_checks(self.plan.spec, self.check_sources, self.rank.device)
                    self.pipeline = self._load()
                if self.stop:
                    return
                self._batch(writer, pending[: self.args.batch_size])
            versions = {"python": sys.version.split()[0], **{name: version(name) for name in LIBRARIES}}
            finished = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            writer.finish(fingerprint=self.fingerprint, versions=versions, finished=finished)
            rows, rejected = len(writer.rows) - rows, len(writer.rejected) - rejected
        self.progress.shard(shard.name, rows, rejected, time.monotonic() - started)

    def _batch(self, writer: ShardWriter, attempts: list[Attempt]) -> None:
        """Generate, check each picture while the next ones are decoded, write what is kept, and commit."""
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
            results = [(result, pool.submit(self._look, result)) for result in self.pipeline.generate(attempts)]
            made = [result for result, _ in results if result.image]
            outcomes = [outcome.result() for result, outcome in results if result.image]
            self.checks.read([r.attempt.sample for r in made], [r.image for r in made], outcomes)
            rejected = [rejection(r.attempt, r.reason) for r, _ in results if not r.image]
            writing = []
            for result, outcome in zip(made, outcomes):
                if outcome.reason:
                    rejected.append(rejection(result.attempt, outcome.reason, outcome.detail, outcome.checks))
                else:
                    checker = self.pipeline.checker_of(result.attempt.sample)
                    writing.append(pool.submit(writer.write_picture, result.attempt, result.image, checker, outcome))
        writer.commit([future.result() for future in writing], rejected)
        self.progress.batch()

    def _look(self, result: Result) -> Outcome | None:
        return self.checks.look(result.attempt.sample, result.image) if result.image else None

    def _load(self):
        checked = self.plan.minors or not self.args.unchecked_adults
        checker = models.resolve_checker(self.source, self.args.safety_checker) if checked else None
        return self.load(
            self.source,
            self.plan.spec.recipe,
            self.rank.device,
            config=self.args.model_config,
            safety_checker=checker,
            check_adults=not self.args.unchecked_adults,
            minors=self.plan.minors,
        )

    def _all_done(self) -> bool:
        return all(map(self._is_done, self.plan.shards))

    def _end(self, locked: list[Locked], complete: bool) -> int:
        """Say how it ended; where nothing is left to do, make the release."""
        if self.stop:
            print(
                f"stopped; all that was made is safe in {self.args.raw}: run the same command again to go on",
                file=sys.stderr,
            )
            return 128 + self.stop.signal
        if locked:
            more = f" ({len(locked)} shards)" if len(locked) > 1 else ""
            print(f"generate: {locked[0]}{more}", file=sys.stderr)
            return 2 if self.pipeline is None else 0
        if complete:
            census, made = release.make(self.args.raw, self.args.out)
            if made or (self.rank.index == 0 and self.pipeline is None):
                print(release.summary(census, raw.require(self.args.raw), self.args.out))
        return 0
