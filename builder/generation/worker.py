"""One process's part of a build: take a share of the shards, make what is missing, commit batch by batch.

There is no collective in here: ranks meet in the files alone, and whoever has nothing left to do waits for the others.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import agfd30k
from builder.checks import loading
from builder.generation import exchange
from builder.generation.batches import Opened, Try, Work
from builder.generation.build_models import BuildModels
from builder.generation.config import GenerateConfig
from builder.generation.maker import Maker
from builder.generation.pace import Pace
from builder.generation.process import Interrupted, Rank, Stop
from builder.generation.progress import Holdup, Progress
from builder.plan.plan import Shard
from builder.plan.sample import Result
from builder.raw.receipts import Reopened
from builder.raw.recipe import BuildRecipe, Settings
from builder.raw.rejected_pictures import RejectedPictures
from builder.raw.shard_writer import Locked, ShardWriter, is_locked

if TYPE_CHECKING:
    from builder.models.pipeline import Pipeline

LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "datasets", "pillow", "numpy")
PAUSE = 1.0
"""Seconds between two looks at what other processes are writing."""


@dataclass(frozen=True)
class Ended:
    """How a process's part of a build ended.

    `signal` is what stopped it; None where everything asked for is made, by whom ever, and holds no duplicates.
    `worked` says that this process made some of it.
    """

    signal: int | None
    worked: bool


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    """Return what a shard's receipt says of who made it: Python and the libraries, by name."""
    return (("python", sys.version.split()[0]), *((name, version(name)) for name in LIBRARIES))


def load_model(*source: Any, **options: Any) -> Pipeline:
    """`models.loading.load`, whose libraries take seconds to import and which a finished build does without."""
    from builder.models.loading import load

    return load(*source, **options)


class Run:
    """One process's part of a build.

    `load` makes the pipeline from a model source, like `models.loading.load`, and `build_checks` the checks, like
    `checks.loading.build`. Which exact models are meant is settled when this is made, and nothing is written before
    `run`. Raises UserError where a model cannot be found.
    """

    def __init__(self, config: GenerateConfig, load: Callable = load_model, build_checks: Callable = loading.build):
        self.config = config
        self.plan = config.plan
        self.rank = Rank.here(config.cpu)
        self.stop = Stop()
        self.is_fetched = False
        self.maker = Maker(self.plan.spec, self.rank, load, build_checks, config.batch_size, self.count_left)
        self.settings = Settings(image_format=config.image_format, shard_size=self.plan.shard_size)
        self.rejects = RejectedPictures(config.raw, config.keep_rejected)
        self.exchange = exchange.of(config.raw, config.store, self.plan, self.rank, self.rejects)
        self.recorded = self.exchange.recorded()
        self.raw = self.exchange.build(self._finished_recipe() or self._recipe())
        self.raw.require_free()

    @cached_property
    def models(self) -> BuildModels:
        """The models to make and judge pictures with; a build that is finished does without."""
        half = self.rank.device.type == "cuda"
        config = self.config
        return BuildModels.of(self.plan.spec, self.recorded, config.model_config, config.safety_checker, half)

    def _recipe(self) -> BuildRecipe:
        models, spec = self.models, self.plan.spec
        checker = models.safety_checker.id if models.safety_checker else None
        vae = models.vae.id if models.vae else None
        versions = loading.versions(spec, models.checks)
        return BuildRecipe.of(spec, models.model, self.config.toml, self.settings, versions, checker, vae)

    @property
    def is_finished(self) -> bool:
        """True where nothing is left to make, unless duplicates are found."""
        return all(map(self._is_done, self.plan.shards))

    def _finished_recipe(self) -> BuildRecipe | None:
        """Return the recorded recipe where it is the one asked for and nothing is left to make: no model is needed."""
        there = self.recorded
        if there is None or there.model.kind != "hub" or self.config.safety_checker:
            return None
        spec = self.plan.spec
        known = there.spec if there.spec.template else there.spec.changed(template=spec.template)  # an older version's
        if (known, there.settings) != (spec, self.settings):
            return None
        there = replace(there, spec=known)
        raw = self.exchange.build(there)
        return there if all(raw.is_done(self.plan, shard) for shard in self.plan.shards) else None

    def fetch(self) -> None:
        """Download what is missing of the models. Raises UserError where it cannot be had."""
        if not self.is_fetched:
            self.models = self.models.fetched(self.rank.local == 0)
            self.is_fetched = True

    def run(self) -> Ended:
        """Make the pictures, and wait for what other processes are making.

        Raises UserError where the folder is another build's, or a model cannot be loaded.
        """
        with self.stop:
            self.rank.use_cores()
            with closing(self.progress_of_all(self.rank.local == 0)) as self.progress, suppress(Interrupted):
                if self.recorded is None or self.recorded.fingerprint != self.raw.fingerprint:
                    self._load()  # what cannot be loaded is not recorded
                self.exchange.begin()
                self.recorded = self.raw.recipe
                self.raw.note_asked(self.plan)
                self._rounds()
        worked = self.maker.pipeline is not None
        if self.rank.index == 0 and worked:
            Pace.note(self.config.raw, self.rank, self.progress.pace)
        return Ended(self.stop.signal, worked)

    def count_left(self) -> int:
        """Return how many pictures are not there yet, of all processes'."""
        return max(0, self.plan.chosen - self.exchange.counter()()[0])

    def others_write(self) -> bool:
        """Return True where another process is writing in this folder, whatever it was asked for."""
        return any(map(is_locked, agfd30k.shards(self.raw.folder)))

    def progress_of_all(self, is_told: bool = True) -> Progress:
        """Return the progress of all processes, of which `is_told` says whether this one tells it."""
        return Progress(self.plan.chosen, self.exchange.counter(), is_told)

    def _rounds(self) -> None:
        """Make everything, wait for what others make and finish what they leave; then make again what turned out to be
        a duplicate. Returns when nothing is left, or after a signal.

        Between rounds a process holds no lock, so that two never wait for each other.
        """
        while not self.stop:
            try:
                with self.stop.at_once(), self.progress.during("looking for duplicates"):
                    self.exchange.resume()
                self._build(self.exchange.order())
                if self._wait() and self._take_back() == 0:
                    return
            except (Locked, Reopened):  # another process has opened a shard that was done, for choices of its own
                with self.stop.at_once():
                    time.sleep(PAUSE)

    def _wait(self) -> bool:
        """Wait while other processes are writing all that is left; returns True when everything is done."""
        left = self._left()
        with self.stop.at_once(), self.progress.during("waiting for other processes", Holdup(left, self.raw)):
            while left and all(self._is_of_others(shard) for shard in left):
                time.sleep(PAUSE)
                left[:] = [shard for shard in left if not self._is_done(shard)]
        return not left and not self._left()

    def _take_back(self) -> int | None:
        with self.stop.at_once(), self.progress.during("looking for duplicates"):
            return self.exchange.take_back()

    def _left(self) -> list[Shard]:
        return [shard for shard in self.plan.shards if not self._is_done(shard)]

    def _is_of_others(self, shard: Shard) -> bool:
        """Return True where another process is writing a shard, or what its pictures are twins of."""
        return is_locked(self.raw.shard_folder(shard)) or not self._is_ready(shard)

    def _is_ready(self, shard: Shard) -> bool:
        """Return True unless a shard's pictures are twins of some that are not there yet."""
        return shard.of is None or self._is_done(shard.of)

    def _is_done(self, shard: Shard) -> bool:
        return self.raw.is_done(self.plan, shard)

    def _build(self, shards: Iterable[Shard]) -> None:
        """Work through shards, but for those that other processes are writing.

        A batch is checked and written while the next one is made.
        """
        with Work(shards, self.plan, self._open, self._finish) as work, ThreadPoolExecutor(1) as behind:
            settling: Future | None = None
            while not self.stop:
                tries = work.next(self.maker.batch_size)
                if not tries and settling is None:
                    break
                results = self._make(tries)
                if settling:
                    settling.result()
                settling = behind.submit(self._settle, work, tries, results) if results is not None else None
            if settling:
                settling.result()
        self.exchange.settle(bool(self.stop))

    def _open(self, shard: Shard) -> ShardWriter | None:
        if self._is_done(shard) or not self._is_ready(shard) or not self.exchange.prepare(shard):
            return None
        return self._writer(shard)

    def _writer(self, shard: Shard) -> ShardWriter:
        return self.raw.writer(self.plan, shard, anew=False, signer=self.config.signer)

    def _finish(self, opened: Opened) -> None:
        """Write the receipt of a shard of which nothing is left, and say so."""
        finished = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        writer = opened.writer
        writer.finish(fingerprint=self.raw.fingerprint, versions=dict(_versions()), finished=finished)
        self.exchange.deliver(opened.shard)
        rows, rejected = len(writer.rows) - opened.rows, len(writer.rejected) - opened.rejected
        if rows or rejected:
            self.progress.shard(opened.shard.name, rows, rejected, opened.seconds)

    def _make(self, tries: list[Try]) -> Iterable[Result] | None:
        """Return a result for each try, None where there is nothing to do. Raises Interrupted if the run is told to
        stop meanwhile to load.
        """
        if not tries:
            return None
        self._load()
        return None if self.stop else self.maker.make(tries, self.progress)

    def _settle(self, work: Work, tries: list[Try], results: Iterable[Result]) -> None:
        """The rest of a batch."""
        self.maker.settle(tries, results, self.rejects)
        work.settled(tries)
        self.progress.batch()

    def _load(self) -> None:
        self.maker.prepare(self._fetched, self.stop, self.progress)

    def _fetched(self) -> BuildModels:
        self.fetch()
        return self.models
