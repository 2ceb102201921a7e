"""This machine's processes: the engine that is always there."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from builder.engine.engine import MOST_DEATHS, guarded, lost

Task = TypeVar("Task")
Result = TypeVar("Result")

START = 2.0
"""Seconds of work that are worth a process: twice what it needs to import what this project reads pictures with."""
HEARTBEAT = 1.0
"""Seconds between two looks of a worker at whether its driver is still there."""


_hiding = threading.Lock()


def cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Here:
    """Runs tasks in `workers` processes of this machine, as many as it has cores unless given; in this one where one is
    enough, in so many `threads` of it.

    When a worker dies, others are started and what they were at is run again: first all tasks that were in flight one
    by one, so that the one that kills is known, and the others after it as before.
    """

    def __init__(self, workers: int | None = None, threads: int = 1):
        self.workers = cores() if workers is None else workers
        self.threads = threads

    @classmethod
    def sized(cls, seconds: float, threads: int = 1) -> Here:
        """Return the engine for so much work in one process: no more workers than have START seconds of it each.

        This is how every stage chooses. Where one process does with `threads`, `seconds` are only those in which a
        thread holds Python's lock: no others are gained by a second process.
        """
        return cls(max(1, min(cores(), int(seconds / START))), threads)

    def map(self, step: Callable[[Task], Result], tasks: Iterable[Task]) -> Generator[Result, None, None]:
        """Yield the result of every task; see Engine.map."""
        waiting = deque(tasks)
        if min(self.workers, len(waiting)) <= 1:
            yield from map(step, waiting) if self.threads == 1 else _in_threads(self.threads, step, waiting)
            return
        deaths: Counter[int] = Counter()
        numbered = deque(enumerate(waiting))
        alone: deque[tuple[int, Task]] = deque()
        while numbered or alone:
            with _pool(min(self.workers, len(numbered) + len(alone)), _module(step)) as pool:
                flight: dict[Future[Result], tuple[int, Task]] = {}
                try:
                    while numbered or alone or flight:
                        _submit(pool, step, flight, numbered, alone, self.workers)
                        done, _ = wait(flight, return_when=FIRST_COMPLETED)
                        for future in done:
                            result = future.result()
                            del flight[future]
                            yield result
                except BrokenProcessPool:
                    _end(pool)
                    alone.extendleft(_judged(flight.values(), deaths))
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise


def _in_threads(threads: int, step: Callable[[Task], Result], tasks: Iterable[Task]) -> Generator[Result, None, None]:
    with ThreadPoolExecutor(threads) as pool:
        try:
            for done in as_completed([pool.submit(step, task) for task in tasks]):
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _submit(
    pool: ProcessPoolExecutor,
    step: Callable[[Task], Result],
    flight: dict[Future[Result], tuple[int, Task]],
    numbered: deque[tuple[int, Task]],
    alone: deque[tuple[int, Task]],
    workers: int,
) -> None:
    """Start tasks: one at a time of those that may have killed a worker, else as many as there are workers."""
    most, source = (1, alone) if alone else (workers, numbered)
    while source and len(flight) < most:
        entry = source[0]
        with _starting():  # a process may be started here, and the pool may be broken by now
            flight[pool.submit(guarded, step, entry[1])] = entry
        source.popleft()


def _end(pool: ProcessPoolExecutor) -> None:
    """Kill the workers of a broken pool. It does so itself, but for one that is being started while it breaks: for that
    it would wait for ever. Source: CPython 3.11, concurrent/futures/process.py, terminate_broken and submit.
    """
    for process in list((pool._processes or {}).values()):
        process.kill()


def _judged(flight: Iterable[tuple[int, Task]], deaths: Counter[int]) -> list[tuple[int, Task]]:
    """Return the tasks that were in flight. One that was alone has killed its worker: raises LostTask where it has
    killed too many. Of several nobody knows which it was.
    """
    entries = list(flight)
    if len(entries) == 1:
        number, task = entries[0]
        deaths[number] += 1
        if deaths[number] >= MOST_DEATHS:
            raise lost(task)
    return entries


def _pool(workers: int, module: str) -> ProcessPoolExecutor:
    """Return a pool whose workers are copies of a new process, which has imported a module for all of them and those of
    later pools: copies of this one would share locks that its threads hold.
    """
    context = multiprocessing.get_context(
        "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    )
    context.set_forkserver_preload([module])
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(os.getpid(),))


def _module(step: Any) -> str:
    """Return where a step lies, whatever it is wrapped in."""
    while inner := getattr(step, "func", None) or getattr(step, "step", None):
        step = inner
    return str(step.__module__)


@contextmanager
def _starting() -> Iterator[None]:
    """Keep new processes from Ctrl-C, which is the driver's to handle, and from importing the main program, which no
    step lies in: a script of a user's that has no guard would do its work again in each of them.
    """
    with _hiding, _uninterrupted():
        main = sys.modules["__main__"]
        spec, file = main.__spec__, main.__dict__.pop("__file__", None)
        main.__spec__ = None
        try:
            yield
        finally:
            main.__spec__ = spec
            if file is not None:
                main.__file__ = file


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back; processes that are started meanwhile never see it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(driver: int) -> None:
    """Prepare a worker: Ctrl-C is the driver's to handle, and without a driver there is nothing left to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch, args=(driver,), daemon=True).start()


def _watch(driver: int) -> None:
    while _is_there(driver):
        time.sleep(HEARTBEAT)
    os._exit(1)


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
