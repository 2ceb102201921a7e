"""Progress that knows its audience: one bar for the whole job on a terminal, elsewhere shards and heartbeats."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from builder.common.progress import TICK, counted, duration, heartbeat, is_watched, progress_bar, repeated
from builder.plan.plan import Shard
from builder.raw.build import RawBuild
from builder.raw.layout import REJECTED, ROWS

if TYPE_CHECKING:
    from tqdm import tqdm

NAMED = 3
"""Shards that a line names, of those that are waited for."""
QUIET = 600
"""Seconds without a row after which others may be suspended."""


class Holdup:
    """What a process waits for: `shards` that others are writing, as a line of the heartbeat.

    Others may take as long as they like. How old their latest row is tells whether they are at work.
    """

    def __init__(self, shards: list[Shard], raw: RawBuild):
        self.shards = shards
        self.raw = raw
        self.started = time.monotonic()

    def __call__(self) -> str:
        shards = list(self.shards)
        names = ", ".join(shard.name for shard in shards[:NAMED])
        more = f" and {len(shards) - NAMED:,} more" if len(shards) > NAMED else ""
        line = f"waiting for other processes for {duration(time.monotonic() - self.started)}: they write {names}{more}"
        if (age := self._age(shards)) is None:
            return line
        quiet = "; are they suspended? Ctrl-C ends the waiting" if age > QUIET else ""
        return f"{line}, last {duration(age)} ago{quiet}"

    def _age(self, shards: list[Shard]) -> float | None:
        """Seconds since the last row was written, None where there is none."""
        paths = [self.raw.shard_folder(shard) / name for shard in shards for name in (ROWS, REJECTED)]
        times = [path.stat().st_mtime for path in paths if path.exists()]
        return max(0.0, time.time() - max(times)) if times else None


class Progress:
    """Progress of a whole build, read from the files, so that one process knows what every process has done.

    `count` gives (pictures, rejected tries) on disk now, `total` is how many pictures are wanted; `main` is True on the
    first process of a machine. Rates and times are those of this run: what was there before it, and the time until the
    first batch begins, are left out. It counts for a hundredth of the time at most.
    """

    def __init__(self, total: int, count: Callable[[], tuple[int, int]], main: bool):
        self.total = total
        self.count = count
        self.main = main
        self.next = self.cost = 0.0
        self.activity: Callable[[], str] | None = None
        self.lock = threading.Lock()
        self.done, self.rejected = self.before = count() if main else (0, 0)
        self.paced, self.started = self.done, time.monotonic()
        watched = main and is_watched()
        self.bar = progress_bar(total=total, initial=self.done, unit="picture", smoothing=0.05) if watched else None
        self.beating = ExitStack()
        if self.bar is not None:
            self.beating.enter_context(repeated(self.bar.refresh, TICK))
        elif main:
            self.beating.enter_context(heartbeat(self.line))

    def begin(self) -> None:
        """The first batch of this process begins: from here on the rate counts."""
        if self.main:
            self._look(now=True)
        self.paced, self.started = self.done, time.monotonic()
        if self.bar is not None:
            self.bar.unpause()

    @contextmanager
    def during(self, activity: str, detail: Callable[[], str] | None = None) -> Iterator[None]:
        """While something else is done than pictures: the bar says what, the heartbeat says `detail` where given."""
        started = time.monotonic()
        self.activity = detail or (lambda: f"{activity} ({duration(time.monotonic() - started)})")
        if self.bar is not None:
            self.bar.set_description_str(activity)
        try:
            yield
        finally:
            self.activity = None
            if self.bar is not None:
                self.bar.set_description_str("")

    def line(self) -> str:
        """What the heartbeat says."""
        activity = self.activity
        self._look(now=self.cost < 0.05)
        return f"{activity()} | {self._all()}" if activity else self._all()

    def batch(self) -> None:
        """A batch of this process was committed."""
        if self.bar is not None and self._look():
            self._draw(self.bar)

    def shard(self, name: str, pictures: int, rejected: int, seconds: float) -> None:
        """A shard of this process is done; it has made so many pictures of it, in so many seconds."""
        if self.bar is not None:
            return
        rate = pictures / seconds if seconds > 0 else 0.0
        line = f"{name}: {counted(pictures, 'picture')}, {rejected:,} rejected, {rate:.2f} pictures/s"
        if self.main and self._look(now=self.cost < 0.05):
            line += f" | {self._all()}"
        print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Draw the bar for the last time; other processes may still be at work."""
        self.beating.close()
        if self.main:
            self._look(now=True)
        if self.bar is not None:
            self._draw(self.bar)
            self.bar.close()

    @property
    def pace(self) -> float:
        """Kept pictures a second since the first batch of this run began."""
        return max(0, self.done - self.paced) / max(time.monotonic() - self.started, 1e-9)

    def _all(self) -> str:
        """How much is there, and what this run has made of it."""
        line = f"{self.done:,}/{self.total:,} in all"
        new, rejected = self.done - self.before[0], self.rejected - self.before[1]
        if new <= 0 and rejected <= 0:
            return line
        pace = self.pace
        left = f", {duration((self.total - self.done) / pace)} left" if pace > 0 and self.done < self.total else ""
        return f"{line}; in this run {new:,}, {rejected:,} rejected, {pace:.2f} pictures/s{left}"

    def _look(self, now: bool = False) -> bool:
        started = time.monotonic()
        if started < self.next and not now:
            return False
        with self.lock:  # the heartbeat has a thread of its own
            self.done, self.rejected = self.count()
        self.cost = time.monotonic() - started
        self.next = time.monotonic() + 100 * self.cost
        return True

    def _draw(self, bar: tqdm) -> None:
        bar.set_postfix(rejected=self.rejected, refresh=False)
        bar.update(min(self.done, self.total) - bar.n)
