"""The whole process on the models of the benchmark: checks, safety checker, files and release included."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import devices
import generation_models

from builder.generate import main
from builder.models import acceleration, loading
from builder.models.pipeline import Pipeline
from builder.plan.sample import Attempt, Result

BEFORE = {False: 2, True: 5}
"""Batches that are left out of the rate: the first chooses kernels, the fourth compiles, where anything does."""
BATCHES = 4
"""Those that count."""
PIXELS = 512 * 512
REHEARSED = 2
"""Pictures at once on a CPU."""


class Timed:
    """A pipeline that notes when the pictures of each batch were there, and how busy the device was in one of them."""

    def __init__(self, pipeline: Pipeline, device: devices.Device, watched: int):
        self.pipeline = pipeline
        self.busy = device.busy()
        self.watched = watched
        self.queued = 0
        self.fetched: list[tuple[float, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pipeline, name)

    def generate(self, attempts: list[Attempt]) -> Iterator[Result]:
        """Make one batch, as the pipeline does."""
        if self.queued == self.watched:
            self.busy.start()
        elif self.queued == self.watched + 1:
            self.busy.stop()
        self.queued += 1
        return self._noted(self.pipeline.generate(attempts), len(attempts))

    def _noted(self, results: Iterable[Result], count: int) -> Iterator[Result]:
        yield from results
        self.fetched.append((time.perf_counter(), count))

    def rate(self, before: int) -> float:
        """Return the tries a second of the batches that count; what is tried again comes after them."""
        (began, _), *rest = self.fetched[before - 1 : before + BATCHES]
        return sum(count for _, count in rest) / (rest[-1][0] - began)


def run(session, compiled: bool) -> dict:
    """Make some batches of pictures; returns what it took, and how many were kept."""
    device, folder, before = session.device, session.folder, BEFORE[compiled]
    is_gpu = device.torch.type == "cuda"
    size = acceleration.accelerator(device.torch).batch_size(PIXELS) if is_gpu else REHEARSED
    batches = before + BATCHES
    timed: list[Timed] = []

    def load(*args: Any, **options: Any) -> Timed:
        timed.append(Timed(loading.load(*args, **options), device, before - 1))
        return timed[0]

    acceleration.is_worth_compiling = lambda seconds_left: compiled
    out = folder / f"process-{compiled}"
    shutil.rmtree(out, ignore_errors=True)
    device.forget_peak()
    started = time.perf_counter()
    status = main(_arguments(folder, out, size, batches), load=load)
    seconds = time.perf_counter() - started
    if status:
        raise RuntimeError(f"the process ended with status {status}")
    kept = len(list(out.glob("raw/shards/*/images/*")))
    tries = sum(count for _, count in timed[0].fetched)
    spent = {"peak": device.peak(), "busy": timed[0].busy.share, "seconds": seconds}
    facts = {"kept": kept, "tries": tries, "is_compiled": timed[0].is_compiled, "batch": size}
    return {"rate": timed[0].rate(before), **spent, **facts}


def _arguments(folder: Path, out: Path, size: int, batches: int) -> list[str]:
    """Return the command line: pictures whose prompts are of one length, and no check for what random weights do not
    draw, faces and sharp edges.
    """
    paths = {"model": folder / generation_models.MODEL, "safety-checker": folder / generation_models.CHECKER}
    paths |= {"spec": folder / generation_models.TABLE, "raw": out / "raw", "out": out / "release"}
    options = [f"--{name}={path}" for name, path in paths.items()]
    return [*options, f"--limit={size * batches}", f"--batch-size={size}", "--only=base", "--without=face,integrity"]
