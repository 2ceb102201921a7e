"""Several processes with pictures at a fixed rate: how much of each one's time is lost, and what a slow one does.

The stand-in for the model sleeps instead of computing, so a machine of few cores can run many of them. The peer is the
example of diffusers' documentation, which gives each process an equal part beforehand.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness import ROOT, Table

PICTURES = 288
"""24 shards of 12: as many for each of 2 or 4 processes."""
DELAY = 0.04
"""Seconds that the stand-in takes for each try."""
BUILD = [
    *[str(Path(__file__).with_name("standin.py")), "--model", "preview", "--only", "pose/left_right"],
    *["--shard-size", "12", "--batch-size", "4"],
]
PEER = "diffusers' documented example"
SPLIT = [str(Path(__file__).with_name("split.py"))]
SLOW = [DELAY, 3 * DELAY]
TRIALS: dict[str, tuple[str, list[float], bool]] = {
    "1": ("build", [DELAY], False),
    "2": ("build", [DELAY] * 2, False),
    "4": ("build", [DELAY] * 4, False),
    "2, one of them at a third of the rate": ("build", SLOW, False),
    "2 that know nothing of each other, one folder": ("build", [DELAY] * 2, True),
    f"{PEER}: 1": ("split", [DELAY], False),
    f"{PEER}: 2": ("split", [DELAY] * 2, False),
    f"{PEER}: 2, one at a third of the rate": ("split", SLOW, False),
}
"""By name: which script, the delay of each process, and whether they are strangers, each of which makes everything."""


def run(scale: float = 1.0) -> Iterator[Table]:
    """One table."""
    count = max(64, int(PICTURES * scale))
    table = Table(
        "Scaling: pictures at a fixed rate",
        ["processes", "s", "pictures/s", "efficiency", "made twice"],
        notes=[
            f"{count} pictures, {1 / DELAY:.0f} tries/s a process; from when all begin to the last picture, each once. "
            "Efficiency: as a share of what the processes could make, if each were as quick as one alone."
        ],
    )
    alone: dict[str, float] = {}
    for name, (script, delays, strangers) in TRIALS.items():
        command = [*BUILD, "--limit", str(count)] if script == "build" else [*SPLIT, str(count)]
        seconds, made, twice = _trial(command, delays, strangers)
        rate = made / seconds
        share = efficiency(rate, delays, alone.setdefault(command[0], rate))
        table.add(name, seconds, rate, share, twice)
    yield table


def efficiency(rate: float, delays: list[float], alone: float) -> float:
    """Pictures a second as a share of what processes with these delays could make.

    `alone` is the rate of one process with DELAY; what it takes beyond its delay, every process takes for each picture.
    """
    cost = 1 / alone - DELAY
    return rate / sum(1 / (delay + cost) for delay in delays)


def _trial(command: list[str], delays: list[float], strangers: bool) -> tuple[float, int, int | None]:
    """Seconds from the common start to the last picture, pictures, and tries that were made more than once, if known.

    Raises RuntimeError where a process fails.
    """
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), _free_port()
        started = [
            subprocess.Popen(
                [sys.executable, *command],
                cwd=folder,
                env=_environment(delay, rank, len(delays), strangers, port),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for rank, delay in enumerate(delays)
        ]
        if sum(process.wait() != 0 for process in started):
            raise RuntimeError(f"a process of {len(delays)} failed")
        start = max(path.stat().st_mtime for path in folder.glob("began*"))
        times = [path.stat().st_mtime for path in folder.rglob("images/*.png")]
        log = folder / "tries.log"
        tries = log.read_text().splitlines() if log.exists() else None
        return max(times) - start, len(times), None if tries is None else len(tries) - len(set(tries))


def _environment(delay: float, rank: int, count: int, strangers: bool, port: int) -> dict[str, str]:
    """As a launcher sets it, but for the delay, which is each process's own. Nobody begins before all are ready."""
    own = {"STANDIN_DELAY": str(delay), "STANDIN_SMALL": "1"}
    own |= {"STANDIN_READY": f"began-{rank}", "STANDIN_PROCESSES": str(count)}
    place, size = (0, 1) if strangers else (rank, count)
    ranks = {"RANK": str(place), "WORLD_SIZE": str(size), "LOCAL_RANK": str(place), "LOCAL_WORLD_SIZE": str(size)}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return {**os.environ, **own, **ranks, **meeting, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
