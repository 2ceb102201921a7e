"""Take a stand-in build of a million pictures through every stage after generation, by one worker and by two.

    python tests/experiments/million.py --pictures 1000000 --folder /large/disk

prints a row for each stage and number of workers: minutes by the clock, seconds of computing, of all processes, the
driver and its busiest worker, and the largest memory of one process and of all; then how much sooner two workers would
be done on two idle cores, by the seconds of computing of the driver and its busiest worker, since other programs may
hold the clock up; and what each stage would take for a hundred million, by the slope from a build of a tenth.

The rows, receipts and shards are as the builder writes them, by the real plan. The pictures are tiny real ones, of
16×16, all of which have the bytes of one of a few: the files are links to these. So reading them is quicker than from a
disk, and they take hardly any room; how long pictures of the usual size take is what `python benchmarks release`
measures.
"""

import argparse
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from builder.dataset import packing
from builder.dataset.folder import Release
from builder.engine.here import Here
from builder.generation import deduplication
from builder.linting import lint
from builder.raw.build import RawBuild
from builder.raw.verification import verify
from tests.fixtures import large_build

PROJECTED = 100_000_000
INTERVAL = 0.1
"""Seconds between two looks at the processes."""


def plan(folder, workers):
    """Hold every receipt against the plan, as each start of the builder does."""
    RawBuild.open(folder / "raw").require_complete()


def duplicates(folder, workers):
    """Find the pictures that are nearly others; none is taken back, so that all stages have as many."""
    raw = RawBuild.open(folder / "raw")
    deduplication.decide(raw, raw.asked, raw.finished(), raw.spec.checks.duplicates, Here(workers))


def pack(folder, workers):
    """Make the release."""
    raw = RawBuild.open(folder / "raw")
    packing.pack(raw, folder / "release", anew=True, plan=raw.asked, engine=Here(workers))


def verified(folder, workers):
    """Check every row, picture and receipt."""
    found = verify(folder / "raw", False, print, engine=Here(workers))
    if found.faults or found.strangers or found.unfinished:
        raise RuntimeError(str(found))


def linted(folder, workers):
    """Check the release, with a sample of its pictures."""
    found = list(lint.check(Release(folder / "release"), allow_preview=True, engine=Here(workers)))
    if found:
        raise RuntimeError("\n".join(map(str, found[:5])))


STAGES = {"plan": plan, "duplicates": duplicates, "pack": pack, "verify": verified, "lint": linted}
ALONE = ("plan",)
"""Stages that are one process, whatever the number of workers."""


@dataclass(frozen=True)
class Spent:
    """What a stage took: seconds by the clock; of computing, of the driver, with what its workers are copies of, of the
    busiest worker of each pool that was started, and of all processes; MiB of the largest process, and of all at once,
    of which what they share is counted once.
    """

    clock: float
    driver: float
    busiest: float
    computing: float
    largest: float
    memory: float

    @property
    def path(self):
        """Seconds that two idle cores would take at most: as if no worker computed while the driver does."""
        return self.driver + self.busiest


class Workers:
    """The processes that a driver has started, by pools that follow each other, with the seconds each has computed."""

    def __init__(self):
        self.pools = [{}]

    def see(self, seconds):
        """Note those that are there now. Where none of the last pool is, they are a new one."""
        if seconds and not seconds.keys() & self.pools[-1].keys():
            self.pools.append({})
        self.pools[-1] |= seconds

    def busiest(self):
        """Seconds of the busiest one of each pool, added up."""
        return sum(max(pool.values(), default=0.0) for pool in self.pools)

    def computing(self):
        """Seconds of all."""
        return sum(sum(pool.values()) for pool in self.pools)


def measure(stage, folder, workers):
    """Run a stage in a process of its own, and look at it and at those that it starts."""
    command = [sys.executable, __file__, "--stage", stage, "--folder", folder, "--workers", workers]
    started = time.perf_counter()
    child = psutil.Popen(list(map(str, command)))
    pools, driver, server, largest, memory = Workers(), 0.0, 0.0, 0, 0
    while child.poll() is None:
        seconds, now = {}, 0
        for process in tree(child):
            try:
                times, held, parent = process.cpu_times(), process.memory_full_info(), process.ppid()
            except psutil.Error:  # it has just ended
                continue
            if process == child:
                driver = times.user + times.system
            elif parent != child.pid:
                seconds[process.pid] = times.user + times.system
            else:  # what workers are copies of, which imports before the first of them begins
                server = max(server, times.user + times.system)
            largest, now = max(largest, held.rss), now + held.pss
        pools.see(seconds)
        memory = max(memory, now)
        time.sleep(INTERVAL)
    if child.returncode:
        raise SystemExit(f"{stage} by {workers}: status {child.returncode}")
    driver += server
    clock, computing = time.perf_counter() - started, driver + pools.computing()
    return Spent(clock, driver, pools.busiest(), computing, largest / 2**20, memory / 2**20)


def tree(child):
    """Return a process and all that it has started, as far as they are there."""
    try:
        return [child, *child.children(recursive=True)]
    except psutil.Error:
        return []


COLUMNS = ["stage", "workers", "pictures", "minutes", "CPU-s", "driver", "busiest", "MiB_one", "MiB_all"]


def show(*cells):
    """Print a row."""
    texts = [
        f"{cell:,.2f}" if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else cell for cell in cells
    ]
    print("".join(f"{text:>12}" for text in texts), flush=True)


def measured_stages(folder, pictures, stages):
    """Write a build and take it through the stages, by one worker and by two; returns what was spent."""
    started = time.perf_counter()
    made = large_build.write(folder, pictures)
    print(f"\n{made:,} pictures, written in {time.perf_counter() - started:,.0f} s\n", flush=True)
    show(*COLUMNS)
    spent = {}
    for stage in stages:
        for workers in (1,) if stage in ALONE else (1, 2):
            one = spent[stage, workers] = measure(stage, folder, workers)
            cells = one.clock / 60, one.computing, one.driver, one.busiest, one.largest, one.memory
            show(stage, workers, made, *cells)
    return made, spent


def compare(spent, stages):
    """Print how much sooner two workers are done than one."""
    print()
    show("stage", "by clock", "computing")
    for stage in (stage for stage in stages if stage not in ALONE):
        one, two = spent[stage, 1], spent[stage, 2]
        show(stage, one.clock / two.clock, one.path / two.path)


def project(small, large, stages):
    """Print what a hundred million pictures would take, by the slope between two builds."""
    (few, before), (many, after) = small, large
    print(f"\n{PROJECTED:,} pictures, by the slope from {few:,} to {many:,}; not measured\n")
    show("stage", "ms each", "bytes each", "CPU hours", "GiB_one")
    for stage in stages:
        one, two = before[stage, 1], after[stage, 1]
        seconds, size = ((getattr(two, key) - getattr(one, key)) / (many - few) for key in ("computing", "largest"))
        more = PROJECTED - many
        hours, most = (two.computing + more * seconds) / 3600, (two.largest + more * size) / 1024
        show(stage, 1000 * seconds, 2**20 * size, hours, most)


def main():
    """The experiment, or a stage of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the builds lie (default: a temporary folder)")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=1, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.stage:
        STAGES[args.stage](args.folder, args.workers)
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        small = measured_stages(Path(name, "small"), max(1_000, args.pictures // 10), args.stages)
        shutil.rmtree(Path(name, "small"))
        large = measured_stages(Path(name, "large"), args.pictures, args.stages)
        compare(large[1], args.stages)
        project(small, large, args.stages)


if __name__ == "__main__":
    main()
