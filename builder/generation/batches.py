"""Which tries come next: full batches over the borders of shards, while the batch before is still being settled.

A rank works through its shards in order. Where the one at hand has too few tries left to fill a batch, the next one is
opened and gives some of its own, so that only the very last batches are smaller than the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from builder.plan.plan import Plan, Shard
from builder.plan.sample import Attempt, Sample
from builder.raw.shard_writer import Locked, ShardWriter


@dataclass
class Opened:
    """A shard that is being written, and what was there when it was opened."""

    shard: Shard
    writer: ShardWriter
    asked: list[Sample]
    stack: ExitStack
    started: float | None = None

    def __post_init__(self):
        self.rows, self.rejected = len(self.writer.rows), len(self.writer.rejected)

    @property
    def seconds(self) -> float:
        """Since the first batch with something of it began."""
        return time.monotonic() - self.started if self.started is not None else 0.0

    def begin(self) -> None:
        """A batch with something of it begins."""
        if self.started is None:
            self.started = time.monotonic()

    def close(self) -> None:
        """Let go of the lock."""
        self.stack.close()


@dataclass(frozen=True)
class Try:
    """One try to be made, and the shard it belongs to."""

    opened: Opened
    attempt: Attempt


class Work:
    """The tries of some shards, batch by batch. Use it as a context manager: it lets go of every shard at its end.

    `open_shard` gives a shard's writer, not yet entered, or None for one that is done; `finish` is called for each
    shard once nothing of it is left. A shard that another process is writing is left to it.
    """

    def __init__(
        self,
        shards: Iterable[Shard],
        plan: Plan,
        open_shard: Callable[[Shard], ShardWriter | None],
        finish: Callable[[Opened], None],
    ):
        self.waiting = iter(shards)
        self.plan = plan
        self.open_shard = open_shard
        self.finish = finish
        self.open: list[Opened] = []
        self.busy: set[str] = set()

    def __enter__(self) -> Work:
        return self

    def __exit__(self, *_: object) -> None:
        for opened in self.open:
            opened.close()

    def next(self, size: int) -> list[Try]:
        """At most `size` tries that nobody is at, in plan order; none when all that is left is being settled."""
        self._finish()
        chosen: list[Try] = []
        for opened in self._shards():
            busy = set(self.busy)  # as it was before the rows are read: what is settled meanwhile stays out
            left = (a for a in opened.writer.pending(opened.asked) if a.sample.id not in busy)
            chosen += [Try(opened, attempt) for attempt, _ in zip(left, range(size - len(chosen)))]
            if len(chosen) == size:
                break
        self.busy |= {each.attempt.sample.id for each in chosen}
        return chosen

    def settled(self, tries: Iterable[Try]) -> None:
        """The outcome of these is on disk, or they shall be chosen again."""
        self.busy -= {each.attempt.sample.id for each in tries}

    def _shards(self) -> Iterator[Opened]:
        """Yield the open shards, then those that are opened because more is wanted."""
        yield from list(self.open)
        for shard in self.waiting:
            writer, stack = self.open_shard(shard), ExitStack()
            if writer is None:
                continue
            try:
                stack.enter_context(writer)
            except Locked:
                continue
            asked = self.plan.asked(shard)
            writer.give_up_untried(asked)
            self.open.append(Opened(shard, writer, asked, stack))
            if not self._finished(self.open[-1]):  # another process may have finished it just before
                yield self.open[-1]

    def _finish(self) -> None:
        """Finish and close every open shard of which nothing is left."""
        for opened in list(self.open):
            self._finished(opened)

    def _finished(self, opened: Opened) -> bool:
        """Finish and close a shard if nothing of it is left, and return True then."""
        ids = {sample.id for sample in opened.asked}
        if ids & self.busy or opened.writer.pending(opened.asked):
            return False
        self.finish(opened)
        opened.close()
        self.open.remove(opened)
        return True
