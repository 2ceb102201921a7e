"""A build on a cluster: a task for each of its accelerators, which is what a launcher's process is elsewhere.

A task loads the model once and makes its share of the shards, then what others have not begun. One that is lost with
its machine is run again elsewhere, and goes on where the files end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from builder.common.errors import UserError
from builder.engine.engine import Engine, LostTask
from builder.generation.config import GenerateConfig
from builder.generation.preflight import Preflight
from builder.generation.process import RANKS
from builder.generation.worker import Run


@dataclass(frozen=True)
class Part:
    """One process's part of a build, number `index` of `count`; `stand_ins` are those of `worker.Run`."""

    config: GenerateConfig
    out: Path
    index: int
    count: int
    stand_ins: dict[str, Callable] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"process {self.index} of {self.count}"


def require_sendable(config: GenerateConfig) -> None:
    """Raise UserError for a private key, which does not leave the machine that it lies on."""
    if config.signer:
        raise UserError(
            "--sign-key: a private key is not sent to other machines; start the builder on each of them without "
            "--engine ray, as `accelerate launch` or Slurm do"
        )


def make(run: Run, engine: Engine, workers: int, out: Path, stand_ins: dict[str, Callable] | None = None) -> None:
    """Make what is left of a run's pictures by so many tasks at once; its progress is read from the files.

    Raises LostTask where tasks die and nothing was made meanwhile, and UserError where something is left.
    """
    parts = [Part(run.config, out, index, workers, stand_ins or {}) for index in range(workers)]
    with closing(run.progress_of_all()) as progress, progress.during(f"{workers} tasks on the cluster"):
        left = run.count_left()
        while True:
            try:
                for _ in engine.map(make_part, parts):
                    pass
                break
            except LostTask:  # as often as there is something new, as on machines that are taken away time and again
                before, left = left, run.count_left()
                if left >= before:
                    raise
    run.exchange.look()
    if not run.is_finished:
        raise UserError(
            f"{run.raw.folder}: the cluster ended before all was made; run it again to go on. Is this folder the same "
            "on all of its machines?"
        )
    run.recorded = run.exchange.recorded()  # with which it loads no model, to find that nothing is left


def make_part(part: Part) -> int:
    """Make a part of a build; returns its number. Raises UserError where it cannot be made, or is told to stop."""
    config = part.config
    if config.store:
        config = replace(config, raw=config.store.workspace)  # that of the machine that this is
    with _ranked(part):
        run = Run(config, **part.stand_ins)
        if not run.is_finished:
            Preflight.of(run, part.out).require()
            run.fetch()
        if run.run().signal:
            raise UserError(f"{part}: was told to stop; run the same command again to go on")
    return part.index


@contextmanager
def _ranked(part: Part) -> Iterator[None]:
    """Within, the environment says which process this is, as a launcher does."""
    before = {name: os.environ.get(name) for name in RANKS}
    os.environ.update(RANK=str(part.index), WORLD_SIZE=str(part.count), LOCAL_RANK="0")
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
