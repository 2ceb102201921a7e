"""Progress bars where somebody looks, on a terminal and in a notebook; a log gets a line now and then."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

BEAT, TICK = 30.0, 1.0
"""Seconds between two lines of a log, and between two looks of a bar at the clock."""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "picture"), counted(1200, "picture"), counted(2, "try")
    ('1 picture', '1,200 pictures', '2 tries')
    """
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def duration(seconds: float) -> str:
    """Return a time as hours, minutes and seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


@contextmanager
def heartbeat(line: Callable[[], str], pause: float | None = None) -> Iterator[None]:
    """Print a line every BEAT seconds, where nobody looks at a bar: whoever reads the log sees that it goes on."""
    if is_watched():
        yield
        return
    with repeated(lambda: print(line(), file=sys.stderr, flush=True), BEAT if pause is None else pause):
        yield


@contextmanager
def repeated(action: Callable[[], object], pause: float) -> Iterator[None]:
    """Do something every `pause` seconds, in a thread of its own."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(pause):
            action()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def is_watched() -> bool:
    """Return True on a terminal and in a notebook."""
    return sys.stderr.isatty() or _in_notebook()


def progress_bar(*iterable: Any, **options: Any) -> Any:
    """Return a tqdm bar, a notebook's own in a notebook; it draws nothing where nobody looks. `options` are tqdm's."""
    if not _in_notebook():
        from tqdm import tqdm
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # without ipywidgets the bar is text
            from tqdm.auto import tqdm
    return tqdm(*iterable, disable=not is_watched(), **options)


def _in_notebook() -> bool:
    return "ipykernel" in sys.modules
