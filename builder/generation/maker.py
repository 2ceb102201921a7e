"""The models' part of a run: loaded when the first batch is wanted, used batch by batch, compiled where that pays."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING

from builder.checks.suite import Checks
from builder.generation.batches import Try
from builder.generation.build_models import BuildModels
from builder.generation.process import Rank, Stop
from builder.generation.progress import Progress
from builder.generation.settling import settle
from builder.models import acceleration
from builder.models.acceleration import Accelerator
from builder.plan.sample import Result
from builder.raw.rejected_pictures import RejectedPictures
from builder.spec.spec import Spec

if TYPE_CHECKING:
    from builder.models.pipeline import Pipeline

MEASURED = 3
"""Batches by which a process knows how fast it is: the first of them also chooses kernels."""


class Maker:
    """Makes and judges the batches of one process.

    `load` makes the pipeline and `build_checks` the checks, as `worker.Run` says. `left` gives how many pictures are
    left for all processes.
    """

    def __init__(
        self, spec: Spec, rank: Rank, load: Callable, build_checks: Callable, batch_size: int | None, left: Callable
    ):
        self.spec = spec
        self.rank = rank
        self.load = load
        self.build_checks = build_checks
        self.given = batch_size
        self.left = left
        self.pipeline: Pipeline | None = None
        self.batches = self.tries = 0
        self.began = 0.0

    @cached_property
    def accelerator(self) -> Accelerator:
        """How the device is used; a finished build does not touch it."""
        return acceleration.accelerator(self.rank.device)

    @cached_property
    def batch_size(self) -> int:
        """Pictures made at once: as many as were asked for, or as suit the device before anything is loaded."""
        recipe = self.spec.recipe
        return self.given or self.accelerator.batch_size(recipe.width * recipe.height, self.rank.sharing)

    def prepare(self, models: Callable[[], BuildModels], stop: Stop, progress: Progress) -> Pipeline:
        """Load the checks' models and the model, which `models` downloads where they are not here yet."""
        if self.pipeline is None:
            with stop.at_once(), progress.during("loading the model"):
                found, recipe, device = models(), self.spec.recipe, self.rank.device
                self.checks: Checks = self.build_checks(self.spec, found.checks, device)
                options = {"safety_checker": found.safety_checker, "vae": found.vae, "batch_size": self.batch_size}
                self.pipeline = self.load(found.model, recipe, device, **options)
                self.accelerator.release()  # all weights are there before another stream reads them
        return self.pipeline

    def make(self, tries: list[Try], progress: Progress) -> Iterable[Result]:
        """Return a result for each try; the device may still be at it when this returns, and whoever reads waits."""
        if self.pipeline is None:
            raise ValueError("nothing is loaded")
        if not self.batches:
            progress.begin()
            self.began = time.monotonic()
        for each in tries:
            each.opened.begin()
        with self._compiling(self.pipeline, progress):
            results = self.pipeline.generate([each.attempt for each in tries])
        self.batches, self.tries = self.batches + 1, self.tries + len(tries)
        return results

    def settle(self, tries: list[Try], results: Iterable[Result], rejects: RejectedPictures) -> None:
        """Check what was made, write what is kept, and commit, shard by shard, while the next batch is being made."""
        with self.accelerator.aside():
            settle(self.checks, tries, list(results), rejects)

    def _compiling(self, pipeline: Pipeline, progress: Progress) -> AbstractContextManager[None]:
        """Have the model compiled with the batch that is next, where so much is left that it pays."""
        if self.batches != MEASURED or not self.accelerator.is_static:
            return nullcontext()
        seconds_each = (time.monotonic() - self.began) / self.tries
        if not acceleration.is_worth_compiling(seconds_each * self.left() / self.rank.count):
            return nullcontext()
        pipeline.compile(processes=self.rank.neighbours)
        return progress.during("compiling the model, which makes the rest faster")
