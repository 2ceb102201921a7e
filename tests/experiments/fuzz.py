"""Change tables, raw builds and releases in every way that an editor, a disk or an enemy can, and watch the commands.

    python tests/experiments/fuzz.py --mutations 20000            # of all three kinds together
    python tests/experiments/fuzz.py --seed 17 --only builds --number 4711     # one mutation again, and what was said

prints a row for every kind of mutation; exit status 1 where anything is in a column that must be empty. A model's
stand-in makes the pictures. What must never happen:

    traceback    a command ends in an exception, or in more than a line of fewer than 300 characters
    hangs        it does not end within 20 seconds
    lost         a sound row, or its picture, is neither in its place nor set aside
    believed     status 0, and what is there is not what an undisturbed run has made
    not as new   after `verify --repair` and another run, the build is not the undisturbed one, byte for byte

`by hand` counts what only the user can put right, as the one line says: restore a recipe, move a folder away.
"""

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

from tests.fixtures.fuzzing.raw_builds import Builds
from tests.fixtures.fuzzing.releases import Releases
from tests.fixtures.fuzzing.tables import Tables

BAD = ("traceback", "hangs", "lost", "believed", "not as new")

KINDS = {"tables": 2, "builds": 1, "releases": 1}
"""What is mutated, and how often beside the others: tables take the least time."""


class World:
    """What is mutated, made once in each process."""

    def __init__(self, folder):
        self.builds = Builds(folder)
        self.tables = Tables(self.builds)
        self.releases = Releases(self.builds)
        self.folder = folder

    def mutate(self, kind, seed, number):
        """The mutation of this number; the same for the same seed."""
        rng = random.Random(f"{seed}/{kind}/{number}")
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            return getattr(self, kind).mutate(rng, Path(folder))


def work(kind, seed, number):
    """A task of a pool's process."""
    return kind, number, WORLD[0].mutate(kind, seed, number)


WORLD = []


def begin(folder):
    """Make what is mutated, in a folder of a pool's process's own."""
    WORLD.append(World(Path(tempfile.mkdtemp(dir=folder))))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--mutations", type=int, default=800, help="in all, half of them of tables, a quarter of builds (default: 800)"
    )
    parser.add_argument("--only", choices=KINDS, help="of this kind alone")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations (default: 0)")
    parser.add_argument("--number", type=int, help="the mutation of this number alone, and all that was said")
    parser.add_argument("--processes", type=int, default=2, help="at once (default: 2)")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    options = parser.parse_args(arguments)
    kinds = {options.only: 1} if options.only else KINDS
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        if options.number is not None:
            begin(folder)
            for kind in kinds:
                mutation = WORLD[0].mutate(kind, options.seed, options.number)
                print(*mutation.said, mutation.faults or "no fault", sep="\n\n")
            return 0
        turns = -(-options.mutations // sum(kinds.values()))
        tasks = [
            (kind, options.seed, turn * share + number)
            for turn in range(turns)
            for kind, share in kinds.items()
            for number in range(share)
        ]
        found = run(tasks, Path(folder), options.processes)
    return print_table(found)


def run(tasks, folder, processes):
    """Do every task, or as many as there is time for until ^C; returns (kind, number, mutation) of each."""
    found, began = [], time.monotonic()
    context = multiprocessing.get_context("spawn")
    with suppress(KeyboardInterrupt), ProcessPoolExecutor(processes, context, begin, (folder,)) as pool:
        for each in pool.map(work, *zip(*tasks), chunksize=4):
            found.append(each)
            kind, number, mutation = each
            for column, text in mutation.faults.items():
                print(f"{kind} {number} ({mutation.name}): {column}: {text}"[:400], flush=True)
            if len(found) % 500 == 0:
                rate = len(found) / (time.monotonic() - began)
                left = (len(tasks) - len(found)) / rate / 60
                print(f"{len(found):,} of {len(tasks):,}, {rate:.1f} a second, {left:.0f} min left", flush=True)
    return found


def print_table(found):
    """A row for every kind and target; returns the exit status."""
    rows = {}
    for kind, _, mutation in found:
        target = mutation.name.partition(":")[0] if kind != "tables" else "all"
        rows.setdefault((kind, target), []).append(mutation)
    names = ["mutations", *BAD, "by hand"]
    print(f"{'kind':<10}{'of':<18}" + "".join(f"{name:>12}" for name in names))
    for (kind, target), some in [*sorted(rows.items()), (("all", ""), [each for _, _, each in found])]:
        counts = [len(some), *(sum(column in each.faults for each in some) for column in BAD)]
        counts.append(sum(each.by_hand for each in some))
        print(f"{kind:<10}{target:<18}" + "".join(f"{count:>12,}" for count in counts))
    return 1 if any(mutation.faults for _, _, mutation in found) else 0


if __name__ == "__main__":
    sys.exit(main())
