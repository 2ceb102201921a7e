"""Rows of a benchmark, measured in processes of their own: one that crashes, or takes too long, costs one row."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import ROOT

SCRIPT = Path(__file__).with_name("generation_rows.py")
START = 30.0
"""Seconds that a process may take longer for its first row: it imports and loads what the others have."""
LEAST = 10.0
"""Seconds that must be left of the whole for a row to begin."""


@dataclass(frozen=True)
class Row:
    """What is measured (a key of `generation_rows.ROWS`), at a batch size, in so many seconds at most.

    Rows that follow each other and have the same `process` share one. `cache` is where torch.compile keeps its work;
    `told` is added to the name in a table.
    """

    name: str
    batch: int
    limit: float
    process: str
    cache: str = "cache"
    told: str = ""


def measured(
    rows: list[Row], folder: Path, seconds: float, rounds: int, script: Path = SCRIPT
) -> Iterator[tuple[Row, dict]]:
    """Yield each row with its numbers, or with why it `failed`; the whole ends after so many seconds."""
    end = time.monotonic() + seconds
    for _, group in itertools.groupby(rows, lambda row: (row.process, row.cache)):
        left = list(group)
        while left:
            for row, found in _one_process(list(left), folder, end, rounds, script):
                left.remove(row)
                said = found.get("failed", "measured")
                print(f"  {row.name}, batch {row.batch}: {said}, {end - time.monotonic():.0f} s left", file=sys.stderr)
                yield row, found


def _one_process(rows: list[Row], folder: Path, end: float, rounds: int, script: Path) -> Iterator[tuple[Row, dict]]:
    """Yield rows until the process that measures them ends, or has to be ended."""
    if end - time.monotonic() < LEAST:
        yield rows[0], {"failed": "not reached, no time was left"}
        return
    with tempfile.TemporaryFile() as log:
        process, answers = _started(rows, folder, log, rounds, script)
        try:
            for number, row in enumerate(rows):
                limit = min(row.limit + (0 if number else START), end - time.monotonic())
                try:
                    answer = answers.get(timeout=max(0.0, limit))
                except queue.Empty:
                    yield row, {"failed": f"out of time after {limit:.0f} s"}
                    return
                if answer is None:
                    yield row, {"failed": f"its process ended with status {process.wait()}: {_last_line(log)}"}
                    return
                yield row, json.loads(answer)
        finally:
            _end(process)


def _started(rows: list[Row], folder: Path, log, rounds: int, script: Path) -> tuple[subprocess.Popen, queue.Queue]:
    """Start a process; the queue gives its lines, and None at its end."""
    todo = json.dumps([[row.name, row.batch] for row in rows])
    process = subprocess.Popen(
        [sys.executable, str(script), str(folder), todo, str(min(row.limit for row in rows)), str(rounds)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TORCHINDUCTOR_CACHE_DIR": str(folder / rows[0].cache)},
        stdout=subprocess.PIPE,
        stderr=log,
        start_new_session=True,
    )
    answers: queue.Queue = queue.Queue()

    def read() -> None:
        for line in process.stdout:
            answers.put(line)
        answers.put(None)

    threading.Thread(target=read, daemon=True).start()
    return process, answers


def _last_line(log) -> str:
    log.seek(0)
    lines = log.read().decode(errors="replace").split("\n")
    return next((line.strip()[:150] for line in reversed(lines) if line.strip()), "it said nothing")


def _end(process: subprocess.Popen) -> None:
    """End a process with all that it has started: compilers have workers."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
