"""Progress that knows its audience: one bar for the whole job on a terminal, a line per shard elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from builder.common.progress import is_watched, progress_bar

if TYPE_CHECKING:
    from tqdm import tqdm


class Progress:
    """Progress of a whole build, read from the files, so that rank 0 knows what every rank has done.

    `count` gives (pictures, rejected tries) on disk now, `total` is how many pictures are wanted; `main` is True on
    rank 0. The bar counts for a hundredth of the time at most.
    """

    def __init__(self, total: int, count: Callable[[], tuple[int, int]], main: bool):
        self.total = total
        self.count = count
        self.main = main
        self.next = self.cost = 0.0
        self.started = time.monotonic()
        self.done, self.rejected = self.before = count() if main else (0, 0)
        watched = main and is_watched()
        self.bar = progress_bar(total=total, initial=self.done, unit="picture", smoothing=0.05) if watched else None

    def batch(self) -> None:
        """A batch of this rank was committed."""
        if self.bar is not None and self._look():
            self._draw(self.bar)

    def shard(self, name: str, pictures: int, rejected: int, seconds: float) -> None:
        """A shard of this rank is done."""
        if self.bar is not None:
            return
        rate = pictures / seconds if seconds > 0 else 0.0
        line = f"{name}: {pictures} pictures, {rejected} rejected, {rate:.2f} pictures/s"
        if self.main and self._look(now=self.cost < 0.05):
            pace = (self.done - self.before[0]) / max(time.monotonic() - self.started, 1e-9)
            left = f", {_duration((self.total - self.done) / pace)} left" if pace > 0 and self.done < self.total else ""
            line += f" | {self.done}/{self.total} in all, {pace:.2f} pictures/s{left}"
        print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Draw the bar for the last time; other ranks may still be at work."""
        if self.bar is not None:
            self._look(now=True)
            self._draw(self.bar)
            self.bar.close()

    def _look(self, now: bool = False) -> bool:
        started = time.monotonic()
        if started < self.next and not now:
            return False
        self.done, self.rejected = self.count()
        self.cost = time.monotonic() - started
        self.next = time.monotonic() + 100 * self.cost
        return True

    def _draw(self, bar: tqdm) -> None:
        bar.set_postfix(rejected=self.rejected, refresh=False)
        bar.update(min(self.done, self.total) - bar.n)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
