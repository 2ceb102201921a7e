"""Which process of how many this is, and whether it was told to stop."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass
from typing import Any

import torch

from builder.common.errors import UserError

RANKS = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0}
"""Where a launcher says which process this is, and what holds where none does."""


class Stop:
    """True once SIGTERM or Ctrl-C came, in its `with`: the batch at hand is finished and committed, then the run ends.

    The death of `accelerate launch` counts too, since it cannot pass on the signal that killed it.
    """

    def __init__(self):
        self.signal: int | None = None
        self.since = 0.0
        self.launcher = os.getppid() if "ACCELERATE_MIXED_PRECISION" in os.environ else None
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():  # nobody else may set handlers
            self.before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        """From here on signals do what they did before."""
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:
        if self.signal is None:
            self.signal, self.since = number, time.monotonic()
            os.write(2, b"\nstopping after this batch (Ctrl-C again: at once, which loses the batch)\n")
        elif number == signal.SIGINT and time.monotonic() - self.since > 1:  # launchers repeat the first one
            signal.signal(number, self.before[number])
            signal.raise_signal(number)

    def __bool__(self) -> bool:
        if self.launcher is not None and os.getppid() != self.launcher:
            self._note(signal.SIGTERM, None)
        return self.signal is not None


@dataclass(frozen=True)
class Rank:
    """Which process this is, of how many, on this machine and in all, and the device it works on."""

    index: int
    count: int
    device: torch.device
    local: int = 0

    @classmethod
    def here(cls, cpu: bool = False) -> Rank:
        """As `accelerate launch` or torchrun says in the environment; alone where nobody says anything.

        No process group is joined: ranks need nothing of each other, so one that dies or starts late holds up nobody.
        Raises UserError for what is not a rank.
        """
        index, count, local = (_number(name, alone) for name, alone in RANKS.items())
        if not 0 <= index < count:
            raise UserError(
                f"RANK is {index} and WORLD_SIZE {count}: RANK must be 0 to {count - 1}; unset both to work alone"
            )
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        if cpu or accelerator is None or os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true"):
            return cls(index, count, torch.device("cpu"), local)
        return cls(index, count, torch.device(accelerator.type, local % torch.accelerator.device_count()), local)


def _number(name: str, alone: int) -> int:
    """Return a variable of the environment as a number that is not negative, or `alone` where it is not set."""
    text = os.environ.get(name, str(alone))
    if not text.isdecimal():
        raise UserError(f"the environment says {name}={text!r}: give it a whole number, or unset it to work alone")
    return int(text)
