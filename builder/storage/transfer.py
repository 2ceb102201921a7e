"""Many files on their way from or to a store, with the rate and the time that is left."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from builder.common.address import Address
from builder.common.progress import counted, duration, heartbeat, progress_bar

TRANSFERS = 4
"""Files that are on their way side by side."""


class Transfer:
    """Tells how fetching goes: a bar, or lines of a log, with the rate and the time that is left.

    So it does for putting files, as `verb` says and `way`, "from" or "to" an address.
    """

    def __init__(self, address: Address, total: int, count: int, verb: str = "fetching", way: str = "from"):
        self.address, self.total, self.count, self.verb, self.way = address, total, count, verb, way
        self.bytes = self.done = 0
        self.started = time.monotonic()
        self.lock = threading.Lock()

    def __enter__(self) -> Transfer:
        if self.count:
            line = f"{self.verb} {counted(self.count, 'file')}, {self.total / 1e6:,.1f} MB, {self.way} {self.address}"
            print(line, file=sys.stderr, flush=True)
        self.bar = progress_bar(total=self.total, unit="B", unit_scale=True)
        self.beat = heartbeat(self.line)
        self.beat.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.beat.__exit__(*error)
        self.bar.close()

    def add(self, size: int) -> None:
        """Another one is there."""
        with self.lock:
            self.bytes, self.done = self.bytes + size, self.done + 1
        self.bar.update(size)

    def line(self) -> str:
        """What the heartbeat says."""
        rate = self.bytes / max(time.monotonic() - self.started, 1e-9)
        left = f", {duration((self.total - self.bytes) / rate)} left" if rate else ""
        return f"{self.verb}: {self.done:,} of {self.count:,} files, {rate / 1e6:.1f} MB/s{left}"
