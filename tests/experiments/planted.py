"""Plant what the checks must find, at known rates, and count what they find.

    python tests/experiments/planted.py                  # the whole table of 30,000 pictures, some minutes
    python tests/experiments/planted.py --scale 0.05     # a first look

prints a table for a generator that disobeys, for copies, and for pictures that must not be kept; exit status 1 where
anything is not as it was planted.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.experiments import disobedience
from tests.fixtures import copies, reasons


def disobey(folder, scale):
    """A generator that disobeys, over the table; yields its faults."""
    started = time.monotonic()
    print(disobedience.run(folder, "--scale", str(scale)).split("\n\n")[0], end="\n\n")
    seconds = time.monotonic() - started
    print(*disobedience.table_lines(folder), sep="\n", end="\n\n")
    yield from disobedience.faults(folder, scale)
    hits, trials, promised = disobedience.coverage(folder)
    samples = f"samples of {disobedience.JUDGED} judged pictures"
    print(f"Wilson's 95% interval holds the planted precision in {hits} of {trials} independent {samples}", end=": ")
    print(f"{hits / max(trials, 1):.1%}, arithmetic says {promised:.1%}")
    if trials and not disobedience.likely(hits, trials, promised):
        yield f"coverage {hits / trials:.1%}, {promised:.1%} expected"
    hits, trials, _ = disobedience.coverage(folder, resamples=200)
    print(f"and the precision of all kept pictures of a feature in {hits / trials:.1%} of {trials:,} drawn {samples}")
    if hits / trials < 0.94:
        yield f"coverage of resamples {hits / trials:.1%}"
    print(f"{seconds:.0f} s for the build", end="\n\n")


def give_up(folder):
    """A feature that is never passed; yields its faults."""
    found = list(disobedience.given_up(folder))
    print(f"a feature that the verifier never passes: {'; '.join(found) or 'given up, reported, and the run ends'}\n")
    yield from found


def copy(count, side):
    """Copies of drawn faces; yields its faults."""
    measured = copies.Measured(count, side)
    print(f"{len(measured.own):,} drawn faces of {side} pixels and a copy of every kind of each")
    print(*copies.table_lines(measured), sep="\n", end="\n\n")
    yield from copies.faults(measured)


def reject(folder, each):
    """Pictures that must not be kept; yields its faults."""
    found = reasons.run(folder, each)
    print(*reasons.table_lines(found), sep="\n", end="\n\n")
    yield from reasons.faults(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the table to build (default: 1)")
    parser.add_argument("--originals", type=int, default=2000, help="drawn faces that have copies (default: 2000)")
    parser.add_argument("--side", type=int, default=128, help="their width and height in pixels (default: 128)")
    parser.add_argument("--each", type=int, default=3, help="pictures of each kind to reject (default: 3)")
    parser.add_argument("--folder", type=Path, help="where to build (default: a temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        places = [Path(folder, name) for name in ("disobey", "give-up", "reject")]
        for place in places:
            place.mkdir()
        found = [*disobey(places[0], arguments.scale), *give_up(places[1])]
        found += [*copy(arguments.originals, arguments.side), *reject(places[2], arguments.each)]
    print(*(f"FAULT {fault}" for fault in found), sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
