"""One process's part of a build: take a share of the shards, make what is missing, commit batch by batch.

There is no collective in here: ranks meet in the files alone.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from builder.checks import loading
from builder.checks.suite import Outcome
from builder.generation import deduplication
from builder.generation.batches import Opened, Try, Work
from builder.generation.process import Rank, Stop
from builder.generation.progress import Progress
from builder.models import source
from builder.plan.plan import Plan, Shard
from builder.plan.sample import Result
from builder.raw.build import RawBuild, read_recipe, recorded_checks, recorded_source
from builder.raw.layout import REJECTED
from builder.raw.recipe import BuildRecipe, Settings
from builder.raw.row_count import RowCount
from builder.raw.rows import rejection
from builder.raw.shard_writer import Locked, ShardWriter

SAFETY_CHECKER = "CompVis/stable-diffusion-safety-checker"
LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "datasets", "pillow", "numpy")
THREADS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True)
class GenerateConfig:
    """Where and how a build is made; what is made stands in its plan.

    `toml` is the table's text, kept in the recipe for reading. `model_config` is the folder that says what is in a
    .safetensors file. `safety_checker` is used where the model has none of its own.
    """

    raw: Path
    toml: str
    batch_size: int = 8
    image_format: str = "png"
    model_config: Path | None = None
    safety_checker: str = SAFETY_CHECKER
    unchecked_adults: bool = False


@dataclass(frozen=True)
class Ended:
    """How a process's part of a build ended.

    `signal` is what stopped it, None where it came to its end; `locked` are shards that another process is writing;
    `complete` says that everything asked for is made and holds no duplicates; `worked` that this process made some.
    """

    signal: int | None
    locked: tuple[Locked, ...]
    complete: bool
    worked: bool


class Run:
    """One process's part of a build: `prepare`, which writes nothing, then `run`.

    `load` makes the pipeline from a model source, like `loading.load`, and `build_checks` the checks, like
    `checks.loading.build`.
    """

    def __init__(self, config: GenerateConfig, plan: Plan, load: Callable, build_checks: Callable):
        self.config = config
        self.plan = plan
        self.load = load
        self.build_checks = build_checks
        self.rank = Rank.here()
        self.pipeline = None

    def prepare(self) -> BuildRecipe:
        """Settle which exact models are meant; returns the recipe. Raises UserError where one cannot be found."""
        config, spec = self.config, self.plan.spec
        there = read_recipe(config.raw)
        recorded = recorded_source(there, spec.recipe.model, spec.recipe.revision)
        self.source = source.resolve(spec.recipe.model, spec.recipe.revision, recorded, config.model_config)
        self.check_sources = loading.resolve(spec, recorded_checks(there))
        settings = Settings(
            image_format=config.image_format,
            shard_size=self.plan.shard_size,
            safety_checker=config.safety_checker,
            unchecked_adults=config.unchecked_adults,
        )
        versions = loading.versions(spec, self.check_sources)
        self.checker = self._checker() if there is None else None  # may fail: before it is recorded
        self.recipe = BuildRecipe.of(spec, self.source, config.toml, settings, versions)
        return self.recipe

    def run(self) -> Ended:
        """Make the pictures. Raises UserError where the folder is another build's, or a model cannot be loaded."""
        self.stop = Stop()
        try:
            self._begin()
            return self._run()
        finally:
            self.stop.over()

    def _run(self) -> Ended:
        shards = self.plan.shards
        rows, rejected = RowCount(self.config.raw), RowCount(self.config.raw, REJECTED)
        self.progress = Progress(self.plan.chosen, lambda: (rows(shards), rejected(shards)), self.rank.index == 0)
        try:
            mine = shards[self.rank.index :: self.rank.count]
            others = [shard for n, shard in enumerate(shards) if n % self.rank.count != self.rank.index]
            locked, duplicates = self._build(mine, others), None
            while not self.stop and self._all_done() and (duplicates := deduplication.take_back(self.raw, self.plan)):
                locked = self._build(shards)  # whoever found the duplicates makes others, alone
        finally:
            self.progress.close()
        complete = duplicates == 0 and not self.stop
        return Ended(self.stop.signal, tuple(locked), complete, worked=self.pipeline is not None)

    def _begin(self) -> None:
        """Make the folder this build's own, and finish what a killed process left half done."""
        self.raw = RawBuild.begin(self.config.raw, self.recipe)
        self.raw.note_asked(self.plan)
        deduplication.resume(self.raw, self.plan)

    def _is_done(self, shard: Shard) -> bool:
        return self.raw.is_done(self.plan, shard)

    def _build(self, mine: Sequence[Shard], others: Sequence[Shard] = ()) -> list[Locked]:
        """Work through a share of the shards, then take what slower processes have not begun.

        A batch is checked and written while the next one is made. Returns what was left of the own share because
        another process is writing there.
        """
        shards = itertools.chain(mine, reversed(others))
        with Work(shards, self.plan, self._open, self._finish) as work, ThreadPoolExecutor(1) as behind:
            settling: Future | None = None
            while not self.stop:
                tries = work.next(self.config.batch_size)
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
        return None if self._is_done(shard) else self.raw.writer(self.plan, shard)

    def _finish(self, opened: Opened) -> None:
        """Write the receipt of a shard of which nothing is left, and say so."""
        versions = {"python": sys.version.split()[0], **{name: version(name) for name in LIBRARIES}}
        finished = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        writer = opened.writer
        writer.finish(fingerprint=self.recipe.fingerprint, versions=versions, finished=finished)
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
        pictures = [result for result in results if result.image]
        samples, images = [result.attempt.sample for result in pictures], [result.image for result in pictures]
        outcomes = list(pool.map(self.checks.look, samples, images))
        self.checks.read(samples, images, outcomes)
        of_pictures = iter(outcomes)
        return [next(of_pictures) if result.image else Outcome(result.reason or "") for result in results]

    def _line(self, each: Try, result: Result, outcome: Outcome) -> dict[str, Any]:
        """The line to commit: a row, its picture being in its place, or a rejected try."""
        if outcome.reason:
            return rejection(each.attempt, outcome.reason, outcome.detail, outcome.checks)
        checker = self.pipeline.checker_of(each.attempt.sample)
        writer = each.opened.writer
        return writer.write_picture(each.attempt, result.image, checker, outcome.verified, outcome.checks)

    def _checker(self) -> source.Source | None:
        """The safety checker to load beside the model; None where the model has its own, or needs none."""
        checked = self.plan.minors or not self.config.unchecked_adults
        return source.resolve_checker(self.source, self.config.safety_checker) if checked else None

    def _load(self):
        return self.load(
            self.source,
            self.plan.spec.recipe,
            self.rank.device,
            config=self.config.model_config,
            safety_checker=self.checker or self._checker(),
            check_adults=not self.config.unchecked_adults,
            minors=self.plan.minors,
        )

    def _all_done(self) -> bool:
        return all(map(self._is_done, self.plan.shards))
