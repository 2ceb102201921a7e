"""Fill the disk under a build again and again, let it go on, and count what was lost.

    python tests/experiments/full_disk.py --builds 8

prints a row for a plain process and for 2 ranks. A build and its release lie on a file system of their own (tmpfs, in a
mount namespace that ends with the experiment) that has no room for them. Each time a launch ends, which must be with a
line that says so and status 2 (of which torch's launcher makes 1), the file system grows at random, until
the build comes to its end; then it is compared with a build that had room.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from builder import verify
from tests.experiments.kill import SMALL, content, finish, is_undisturbed, kept, lines, print_table, start, taken_back

INSIDE = "AGFD30K_MOUNTS"
"""The variable that says that this process may mount."""
SAID = ("No space left on device", "are free: make room")
"""What a launch says of a full disk: while it works, or before it begins."""


def size(folder):
    """The bytes of all files in a folder, by pages of 4 KiB, as tmpfs counts them."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())


def mount(disk, room, *options):
    """Give the file system at `disk` so many bytes."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join([*options, f"size={room}"]), "none", disk], check=True)


def launch(folder, ranks):
    """Run a build on the disk; returns its exit status, and whether its line says that there is no room."""
    log = folder / "errors.log"
    log.unlink(missing_ok=True)
    places = ["--raw", "disk/agfd30k-raw", "--out", "disk/agfd30k"]
    status = start(folder, ranks, arguments=[*SMALL, *places]).wait()
    ends = [line for line in log.read_text().splitlines() if line.startswith("generate: ")]
    return status, bool(ends) and all(any(said in line for said in SAID) for line in ends)


def fill(folder, ranks, rng, undisturbed, needed):
    """One build on a disk that runs full until it has grown enough; returns what was counted."""
    disk = folder / "disk"
    disk.mkdir(parents=True)
    room = rng.randint(4096 * 8, needed // 2)
    mount(disk, room)
    committed, counts = set(), Counter()
    try:
        while (ended := launch(folder, ranks))[0] != 0 and counts["full"] < 100:
            status, is_said = ended
            counts["full"] += 1
            counts["status 2"] += status == 2
            counts["in a line"] += is_said
            counts["lost"] += len(committed - kept(disk) - taken_back(disk))
            committed = kept(disk)
            room += rng.randint(4096, needed // 4)
            mount(disk, room, "remount")
        ids = Counter(row["id"] for row in lines(disk, "metadata.jsonl"))
        counts["lost"] += len(committed - kept(disk) - taken_back(disk))
        counts["doubled"] = sum(ids.values()) - len(ids)
        torn = [path for path in disk.rglob("*.tmp") if path.is_file()]
        counts["torn"] = len(torn) + (verify.main([str(disk / "agfd30k-raw")]) != 0)
        counts["as undisturbed"] = ended[0] == 0 and is_undisturbed(disk, undisturbed)
    finally:
        subprocess.run(["umount", disk], check=False)
    return counts


def trial(folder, ranks, builds, rng, undisturbed, needed):
    """So many builds on disks that run full; returns a row of the table."""
    total = Counter()
    for number in range(builds):
        total += fill(folder / str(number), ranks, rng, undisturbed, needed)
    names = ["full", "status 2", "in a line", "lost", "doubled", "torn", "as undisturbed"]
    return {"ranks": ranks, "builds": builds, **{name: total[name] for name in names}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--builds", type=int, default=8, help="builds for each number of ranks (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="of the disks' sizes (default: 0)")
    arguments = parser.parse_args()
    if INSIDE not in os.environ:
        command = ["unshare", "-rm", sys.executable, "-m", "tests.experiments.full_disk", *sys.argv[1:]]
        return subprocess.run(command, cwd=Path(__file__).parents[2], env={**os.environ, INSIDE: "1"}).returncode
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        finish(Path(folder, "undisturbed"), arguments=SMALL)
        undisturbed = content(Path(folder, "undisturbed"))
        needed = size(Path(folder, "undisturbed"))
        rows = [
            trial(Path(folder, f"ranks{ranks}"), ranks, arguments.builds, rng, undisturbed, needed) for ranks in (0, 2)
        ]
    print_table(rows)
    good = all(row["lost"] == row["doubled"] == row["torn"] == 0 for row in rows)
    good = good and all(row["as undisturbed"] == row["builds"] and row["in a line"] == row["full"] for row in rows)
    return 0 if good and rows[0]["status 2"] == rows[0]["full"] else 1


if __name__ == "__main__":
    sys.exit(main())
