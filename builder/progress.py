"""Progress that knows its audience: one bar for the whole job on a terminal, a line per shard elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from tqdm import tqdm


class Progress:
    """Progress of a whole build, read from the files, so that rank 0 knows what every rank has done.

    `count` gives the pictures that are on disk now, `total` is how many are wanted; `main` is True on rank 0.
    """

    def __init__(self, total: int, count: Callable[[], int], main: bool):
        self.total = total
        self.count = count
        self.main = main
        self.rejected = 0
        self.next = 0.0
        self.started = time.monotonic()
        self.before = count() if main else 0
        on_terminal = main and sys.stderr.isatty()
        self.bar = tqdm(total=total, initial=self.before, unit="picture", smoothing=0.05) if on_terminal else None

    def batch(self, rejected: int) -> None:
        """A batch of this rank was committed. Counting takes a hundredth of the time at most."""
        self.rejected += rejected
        if self.bar is not None and time.monotonic() >= self.next:
            started = time.monotonic()
            self._draw()
            self.next = time.monotonic() + 100 * (time.monotonic() - started)

    def shard(self, name: str, pictures: int, rejected: int, seconds: float) -> None:
        """A shard of this rank is done."""
        if self.bar is not None:
            return
        rate = pictures / seconds if seconds > 0 else 0.0
        line = f"{name}: {pictures} pictures, {rejected} rejected, {rate:.2f} pictures/s"
        if self.main:
            done = self.count()
            pace = (done - self.before) / max(time.monotonic() - self.started, 1e-9)
            left = f", {_duration((self.total - done) / pace)} left" if pace > 0 and done < self.total else ""
            line += f" | {done}/{self.total} in all, {pace:.2f} pictures/s{left}"
        print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Draw the bar for the last time."""
        if self.bar is not None:
            self._draw()
            self.bar.close()

    def _draw(self) -> None:
        self.bar.set_postfix(rejected=self.rejected, refresh=False)
        self.bar.update(self.count() - self.bar.n)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
