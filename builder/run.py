"""One process's part of a build: take a share of the shards, make what is missing, commit batch by batch.

There is no collective in here: ranks meet in the files alone. Whoever finishes the last shard makes the release.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from builder import UserError, models, raw, refill, release
from builder.checks import Outcome
from builder.checks import loading as checks
from builder.plan import Plan, Result, Shard
from builder.progress import Progress
from builder.rank import Rank, Stop
from builder.receipts import REJECTED, is_done
from builder.rows import rejection
from builder.shards import Locked, ShardWriter
from builder.work import Opened, Try, Work

LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "datasets", "pillow", "numpy")
THREADS = min(8, os.cpu_count() or 1)


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
            mine = shards[self.rank.index :: self.rank.count]
            others = [shard for n, shard in enumerate(shards) if n % self.rank.count != self.rank.index]
            locked, duplicates = self._build(mine, others), None
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
        self.checker = self._checker() if raw.read(self.args.raw) is None else None  # may fail: before it is recorded
        raw.begin(self.args.raw, document)
        raw.note_asked(self.args.raw, self.plan)
        refill.resume(self.args.raw, self.plan)
        self.fingerprint = document["fingerprint"]

    def _folder(self, shard: Shard) -> Path:
        return self.args.raw / raw.SHARDS / shard.name

    def _is_done(self, shard: Shard) -> bool:
        return is_done(self._folder(shard), self.plan.ids(shard))

    def _build(self, mine: Sequence[Shard], others: Sequence[Shard] = ()) -> list[Locked]:
        """Work through a share of the shards, then take what slower processes have not begun.

        A batch is checked and written while the next one is made. Returns what was left of the own share because
        another process is writing there.
        """
        shards = itertools.chain(mine, reversed(others))
        with Work(shards, self.plan, self._open, self._finish) as work, ThreadPoolExecutor(1) as behind:
            settling: Future | None = None
            while not self.stop:
                tries = work.next(self.args.batch_size)
                if not tries and settling is None:
                    break
                results = self._make(tries)
                if settling:
                    settling.result()
                settling = behind.submit(self._settle, work, tries, results) if results else None
            if settling:
                settling.result()
        return [error for shard, error in work.locked.items() if shard in mine and not self._is_done(shard)]

    def _open(self, shard: Shard) -> ShardWriter | None:
        if self._is_done(shard):
            return None
        made_by = {"model": self.source.name, "model_revision": self.source.revision}
        whole, ending = self.plan.whole(shard), self.args.image_format
        return ShardWriter(self._folder(shard), whole, self.plan, ending, made_by)

    def _finish(self, opened: Opened) -> None:
        """Write the receipt of a shard of which nothing is left, and say so."""
        versions = {"python": sys.version.split()[0], **{name: version(name) for name in LIBRARIES}}
        finished = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        writer = opened.writer
        writer.finish(fingerprint=self.fingerprint, versions=versions, finished=finished)
        rows, rejected = len(writer.rows) - opened.rows, len(writer.rejected) - opened.rejected
        self.progress.shard(opened.shard.name, rows, rejected, time.monotonic() - opened.started)

    def _make(self, tries: list[Try]) -> list[Result]:
        """The model's part: a result for each try; none if the run was told to stop while the model was loaded."""
        if tries and self.pipeline is None:
            self.checks = self.build_checks(self.plan.spec, self.check_sources, self.rank.device)
            self.pipeline = self._load()
        return list(self.pipeline.generate([each.attempt for each in tries])) if tries and not self.stop else []

    def _settle(self, work: Work, tries: list[Try], results: list[Result]) -> None:
        """The rest of a batch: check what was made, write what is kept, and commit, shard by shard."""
        with ThreadPoolExecutor(THREADS) as pool:
            outcomes = self._check(pool, results)
            lines = list(pool.map(self._line, tries, results, outcomes))
        for opened in {id(each.opened): each.opened for each in tries}.values():
            own = [(line, outcome) for each, line, outcome in zip(tries, lines, outcomes) if each.opened is opened]
            kept = [line for line, outcome in own if not outcome.reason]
            opened.writer.commit(kept, [line for line, outcome in own if outcome.reason])
        work.settled(tries)
        self.progress.batch()

    def _check(self, pool: ThreadPoolExecutor, results: list[Result]) -> list[Outcome]:
        """What the checks say of each result; where there is no picture the reason is known already."""
        made = [result for result in results if result.image]
        samples, images = [result.attempt.sample for result in made], [result.image for result in made]
        looked = list(pool.map(self.checks.look, samples, images))
        self.checks.read(samples, images, looked)
        found = iter(looked)
        return [next(found) if result.image else Outcome(result.reason) for result in results]

    def _line(self, each: Try, result: Result, outcome: Outcome) -> dict[str, Any]:
        """The line to commit: a row, its picture being in its place, or a rejected try."""
        if outcome.reason:
            return rejection(each.attempt, outcome.reason, outcome.detail, outcome.checks)
        checker = self.pipeline.checker_of(each.attempt.sample)
        return each.opened.writer.write_picture(each.attempt, result.image, checker, outcome)

    def _checker(self) -> models.Source | None:
        """The safety checker to load beside the model; None where the model has its own, or needs none."""
        checked = self.plan.minors or not self.args.unchecked_adults
        return models.resolve_checker(self.source, self.args.safety_checker) if checked else None

    def _load(self):
        return self.load(
            self.source,
            self.plan.spec.recipe,
            self.rank.device,
            config=self.args.model_config,
            safety_checker=self.checker or self._checker(),
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
        alone = self.rank.count == 1
        if locked and (alone or self.pipeline is None):  # one of several may find that the others did its share
            more = f" ({len(locked)} shards)" if len(locked) > 1 else ""
            print(f"generate: {locked[0]}{more}", file=sys.stderr)
            return 2 if alone and self.pipeline is None else 0
        if complete:
            census, made = release.make(self.args.raw, self.args.out)
            if made or (self.rank.index == 0 and self.pipeline is None):
                print(release.summary(census, raw.require(self.args.raw), self.args.out))
        return 0
