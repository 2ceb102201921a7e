"""What the benchmarks share: alternating runs, processes with their memory, tables, and the machine they ran on."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = ("torch", "diffusers", "transformers", "datasets", "pyarrow", "pillow", "numpy", "opencv-python-headless")


@dataclass
class Table:
    """A result: a title, columns, rows of texts and numbers, and notes that belong to it."""

    title: str
    columns: list[str]
    rows: list[list] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells) -> None:
        """Append a row."""
        if len(cells) != len(self.columns):
            raise ValueError(f"{self.title}: {len(cells)} cells for {len(self.columns)} columns")
        self.rows.append(list(cells))

    def __str__(self) -> str:
        """The table in Markdown, its columns aligned so that it reads well in a terminal too."""
        cells = [[_text(cell) for cell in row] for row in self.rows]
        widths = [max(len(column), *(len(row[n]) for row in cells)) for n, column in enumerate(self.columns)]
        right = [all(not isinstance(row[n], str) for row in self.rows) for n in range(len(self.columns))]
        rule = ["-" * (width - 1) + (":" if left else "-") for width, left in zip(widths, right)]
        lines = [_line(row, widths, right) for row in [self.columns, rule, *cells]]
        return "\n".join([f"### {self.title}", "", *lines, *(f"\n{note}" for note in self.notes), ""])

    def as_dict(self) -> dict:
        """The table as plain JSON values."""
        return dict(vars(self))


def _line(cells: list[str], widths: list[int], right: list[bool]) -> str:
    return "| " + " | ".join((c.rjust if r else c.ljust)(w) for c, w, r in zip(cells, widths, right)) + " |"


def _text(cell) -> str:
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:,.1f}" if abs(cell) >= 10 else f"{cell:,.2f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell) if cell is not None else "-"


class Seconds(float):
    """The median of some runs' seconds, which are kept in `runs`."""

    runs: tuple[float, ...]

    @classmethod
    def of(cls, runs: Iterable[float]) -> Seconds:
        """Return the median of one run or more."""
        kept = tuple(runs)
        median = cls(statistics.median(kept))
        median.runs = kept
        return median

    @property
    def spread(self) -> float | None:
        """Half of what lies between the slowest and the quickest run, as a percentage of the median; None of one."""
        return 50 * (max(self.runs) - min(self.runs)) / self if len(self.runs) > 1 else None


SPREAD = "±: half of what lies between the smallest and the largest of {} rounds, in percent of their median."
"""The note of a table with ratios; how many rounds there were is filled in."""


def ratio(one: Seconds, other: Seconds) -> tuple[float, float | None]:
    """Return how many times longer one piece of work took than another, and the spread of it in percent.

    They took turns, so that each round gives a ratio of its own; a machine that is slower for a round changes none.
    """
    rounds = Seconds.of(a / b for a, b in zip(one.runs, other.runs, strict=True))
    return float(rounds), rounds.spread


def alternating(
    work: dict[str, Callable[[], object]], repeats: int, prepare: Callable[[], object] = lambda: None
) -> dict[str, Seconds]:
    """Return the seconds of each piece of work; they take turns, so that a noisy moment falls on all alike.

    Each round begins with another one, and before each `prepare` is called, which is not timed.
    """
    names = list(work)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(repeats):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            prepare()
            started = time.perf_counter()
            work[name]()
            seconds[name].append(time.perf_counter() - started)
    return {name: Seconds.of(runs) for name, runs in seconds.items()}


@dataclass(frozen=True)
class Process:
    """What a process took: seconds on the clock and of computing, and its largest memory in MiB."""

    seconds: float
    computing: float
    peak: float


LAUNCHER = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
spent = resource.getrusage(resource.RUSAGE_CHILDREN)
found = [time.perf_counter() - started, spent.ru_utime + spent.ru_stime, spent.ru_maxrss]
print(json.dumps(found))
sys.exit(done.returncode)
"""
"""Starts a process from a small one: what a large one starts is said to have its memory."""


def process(command: list[str], folder: Path, **environment: str) -> Process:
    """Run Python with some arguments in a folder; raises RuntimeError where it fails."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCHER, sys.executable, *command],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)[:200]}: status {done.returncode}: {done.stderr[-500:]}")
    seconds, computing, peak = json.loads(done.stdout)
    return Process(seconds, computing, peak / (1024 if sys.platform != "darwin" else 1024**2))


def machine() -> dict[str, str]:
    """What the numbers were measured on, and when."""
    import torch

    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        names = [line.split(":")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
        processor = names[0].strip() if names else processor
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "processor": f"{processor}, {os.cpu_count()} cores",
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }
