"""Which process of how many this is, and whether it was told to stop."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from builder.common.errors import UserError
from builder.generation import launcher

RANKS = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0}
"""Where a launcher says which process this is, and what holds where none does."""


AGAIN = {signal.SIGINT: 1.0, signal.SIGTERM: 5.0}
"""Seconds after which a signal is taken for a second one; launchers repeat the first."""


class Interrupted(BaseException):
    """The run was told to stop while nothing was under way that it could finish first."""


class Stop:
    """True once SIGTERM or Ctrl-C came, in its `with`: the batch at hand is finished and committed, then the run ends.

    The death of a launcher counts too, since it cannot pass on the signal that killed it.
    """

    def __init__(self):
        self.signal: int | None = None
        self.since = 0.0
        self.before: dict[int, Any] = {}
        self.is_idle = False

    def __enter__(self) -> Stop:
        launcher.watch()
        if threading.current_thread() is threading.main_thread():  # nobody else may set handlers
            self.before = {number: signal.signal(number, self._note) for number in AGAIN}
        return self

    def __exit__(self, *_: object) -> None:
        """From here on signals do what they did before."""
        for number, handler in self.before.items():
            signal.signal(number, handler)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within, nothing can be lost: a signal raises Interrupted, and so does one that came before."""
        self.is_idle = True
        try:
            if self:
                raise Interrupted
            yield
        finally:
            self.is_idle = False

    def _note(self, number: int, frame: object) -> None:
        if self.signal is None:
            self.signal, self.since = number, time.monotonic()
            if self.is_idle:
                raise Interrupted
            os.write(2, b"\nstopping after this batch (Ctrl-C again: at once, which loses the batch)\n")
        elif self._is_urgent(number):
            signal.signal(number, self.before[number])
            signal.raise_signal(number)

    def _is_urgent(self, number: int) -> bool:
        """True for a second Ctrl-C, and for a second SIGTERM of a launcher that is dead.

        After Ctrl-C, which ends the launcher too, its death is no reason to hurry.
        """
        hurries = number == signal.SIGINT or (number == self.signal and launcher.is_dead())
        return hurries and time.monotonic() - self.since > AGAIN[signal.Signals(number)]

    def __bool__(self) -> bool:
        return self.signal is not None


@dataclass(frozen=True)
class Rank:
    """Which process this is, of how many, and the device it works on.

    `local` is its number among the `neighbours` of this machine, itself being one; `sharing` of them use its device.
    """

    index: int
    count: int
    device: torch.device
    local: int = 0
    neighbours: int = 1
    sharing: int = 1

    @classmethod
    def here(cls, cpu: bool = False) -> Rank:
        """As `accelerate launch` or torchrun says in the environment; alone where nobody says anything.

        No process group is joined: ranks need nothing of each other, so one that dies or starts late holds up nobody.
        Raises UserError for what is not a rank.
        """
        index, count, local = (number(name, alone) for name, alone in RANKS.items())
        neighbours = max(1, number("LOCAL_WORLD_SIZE", 1))
        if not 0 <= index < count:
            raise UserError(
                f"RANK is {index} and WORLD_SIZE {count}: RANK must be 0 to {count - 1}; unset both to work alone"
            )
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        if cpu or accelerator is None or os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true"):
            return cls(index, count, torch.device("cpu"), local, neighbours, neighbours)
        devices = torch.accelerator.device_count()
        device = torch.device(accelerator.type, local % devices)
        return cls(index, count, device, local, neighbours, -(-neighbours // devices))

    def use_cores(self) -> None:
        """On a CPU, take this process's share of the machine's cores, unless the user has set OMP_NUM_THREADS.

        accelerate allows one to each process where nobody says anything.
        """
        if self.device.type == "cpu" and launcher.chose_threads():
            torch.set_num_threads(max(1, _cores() // self.neighbours))


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def number(name: str, alone: int) -> int:
    """Return a variable of the environment as a number that is not negative, or `alone` where it is not set."""
    text = os.environ.get(name, str(alone))
    if not text.isdecimal():
        raise UserError(f"the environment says {name}={text!r}: give it a whole number, or unset it to work alone")
    return int(text)
