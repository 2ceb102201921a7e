"""SIGKILL a build at random instants, let it go on, and count what was lost.

    python tests/experiments/kill.py --kills 20

prints a row for 1 and for 2 ranks. A build dies once it has begun to work, at a moment drawn at random, and starts
again, until it was killed often enough: at first while pictures are made, then while duplicates are taken back and made
again. Then it may finish, and is compared with a build that nobody disturbed.

    python tests/experiments/kill.py --startup --kills 20

kills builds at a moment between 0 and 15 s after their start, while launchers and workers import, load and begin: the
launcher alone or its whole process group, with 1 and with 2 ranks. 10 s later no process may be left, and the next
launch must end with status 0 and every row.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path
from unittest import mock

from builder import verify
from builder.raw.rows import TAKEN_BACK
from tests.fixtures import inside, standin

STANDIN = Path(__file__).parents[1] / "fixtures" / "standin.py"
LAUNCH = {
    0: [sys.executable],
    1: ["accelerate", "launch", "--cpu", "--num_processes", "1"],
    2: ["accelerate", "launch", "--multi_gpu", "--num_processes", "2"],
}
"""How a build is started, by ranks; 0 is plain python."""
BATCH = 4
BUILD = [
    *["--model", "preview", "--only", "occlusion", "--scale", "0.1", "--twins"],
    *["--shard-size", "16", "--batch-size", str(BATCH)],
]
SMALL = ["--model", "preview", "--only", "occlusion", "--scale", "0.02", "--shard-size", "16", "--batch-size", "4"]
"""A build of 72 pictures."""
STARTED = 180
"""Seconds within which a build must have come to where it is killed."""
STARTUP = 15.0
"""Seconds after its start within which a build is killed by `startup`."""
LEFT = 10.0
"""Seconds after which no process of a killed build may be left."""
TIMED = ("finished", "digest")
"""What tells the time in a receipt: when, and the digest of all of it."""
MARK = "STANDIN_MARK"
"""The variable by which the processes of a build are known."""


def start(folder, ranks=1, delay=0.0, arguments=BUILD, **variables):
    """Start a build in `folder`, in a process group of its own."""
    folder.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        **variables,
        "STANDIN_LOG": str(folder / "tries.log"),
        "STANDIN_DELAY": str(delay),
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    return subprocess.Popen(
        [*LAUNCH[ranks], str(STANDIN), *arguments],
        cwd=folder,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=open(folder / "errors.log", "a"),
    )


def wait_for_tries(process, folder, count):
    """Wait until a build has made so many tries. Fails where it ends before, or does not come so far in time."""
    limit = time.monotonic() + STARTED
    while sum(tries(folder).values()) < count:
        assert process.poll() is None, f"it ended with {process.returncode}: {(folder / 'errors.log').read_text()}"
        assert time.monotonic() < limit, f"fewer than {count} tries after {STARTED} s"
        time.sleep(0.02)


def finish(folder, ranks=1, arguments=BUILD):
    """Run a build to its end; its exit status must be 0."""
    process = start(folder, ranks, arguments=arguments)
    assert process.wait() == 0, (folder / "errors.log").read_text()


def run_here(folder, *arguments):
    """Run a build to its end in this process; returns what `subprocess.run` does."""
    folder.mkdir(exist_ok=True)
    log = {"STANDIN_LOG": str(folder / "tries.log")}
    with mock.patch.dict(os.environ, log), contextlib.chdir(folder):
        return inside.run(*standin.small(arguments), load=standin.StandIn, checks=standin.checks)


def tries(folder):
    """How often every (id, attempt) was made."""
    log = folder / "tries.log"
    return Counter(log.read_text().splitlines()) if log.exists() else Counter()


def lines(folder, name):
    """The whole lines of a file in every shard, parsed."""
    found = []
    for path in sorted(folder.glob(f"agfd30k-raw/shards/*/{name}")):
        found += [json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    return found


def kept(folder):
    """Every try whose picture is committed."""
    return {(row["id"], row["attempt"]) for row in lines(folder, "metadata.jsonl")}


def settled(folder):
    """Every try whose outcome is on disk."""
    return {
        f"{row['id']} {row['attempt']}" for name in ("metadata.jsonl", "rejected.jsonl") for row in lines(folder, name)
    }


def taken_back(folder):
    """Every try whose picture was a duplicate, or a twin of one."""
    return {(row["id"], row["attempt"]) for row in lines(folder, "rejected.jsonl") if row["reason"] in TAKEN_BACK}


def refilling(folder):
    """Has the build begun to take duplicates back?"""
    return any(folder.glob("*/duplicates.json")) or bool(taken_back(folder))


def kill(folder, ranks, rng, late=False):
    """SIGKILL a build at a random moment after its first try, or, `late`, after it began to take duplicates back;
    returns whether it died of it, and the tries that are not on disk.
    """
    before, gone = sum(tries(folder).values()), taken_back(folder)
    first = late and not refilling(folder)
    process = start(folder, ranks, delay=0.0 if first else 0.01)
    limit = time.monotonic() + STARTED

    def working():
        if first:
            return refilling(folder)
        return sum(tries(folder).values()) > before or taken_back(folder) != gone

    while not working() and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.02)
    time.sleep(rng.uniform(0, 0.2 if late else 0.7))
    with contextlib.suppress(ProcessLookupError):  # it may have come to its end
        os.killpg(process.pid, signal.SIGKILL)
    killed = process.wait() == -signal.SIGKILL
    return killed, set(tries(folder)) - settled(folder)


def content(folder):
    """Every file of a raw build and its release, but what tells the time or guards a folder."""
    found = {}
    for path in sorted([*folder.glob("agfd30k-raw/**/*"), *folder.glob("agfd30k/**/*")]):
        if path.is_file() and not path.name.endswith("lock") and path.name != ".pace.json":
            data = path.read_bytes()
            if path.name == "receipt.json":
                data = {key: value for key, value in json.loads(data).items() if key not in TIMED}
            found[str(path.relative_to(folder))] = data
    return found


def is_undisturbed(folder, undisturbed):
    """Whether a build ended as one that nobody disturbed; prints the names of what is different."""
    now = content(folder)
    different = sorted(name for name in {*now, *undisturbed} if now.get(name) != undisturbed.get(name))
    if different:
        print(f"{len(different)} files differ: {', '.join(different[:5])}")
    return not different


def trial(folder, ranks, kills, rng, undisturbed, finish=finish):
    """A build that is killed `kills` times: what it lost, doubled, tore and made again. `finish` runs it to its end."""
    committed, seen, most_redone, lost, late = set(), 0, 0, 0, 0
    while seen < kills:
        killed, unsettled = kill(folder, ranks, rng, late=seen >= kills // 2)
        lost += len(committed - kept(folder) - taken_back(folder))
        committed = kept(folder)
        most_redone = max(most_redone, len(unsettled))
        if not killed:
            break
        seen += 1
        late += refilling(folder)
    finish(folder, ranks)
    ids = Counter(row["id"] for row in lines(folder, "metadata.jsonl"))
    torn = [path for path in folder.rglob("*.tmp") if path.is_file()]
    return {
        "ranks": ranks,
        "kills": seen,
        "refilling": late,
        "rows": len(ids),
        "taken back": len(taken_back(folder)),
        "lost": lost + len(committed - kept(folder) - taken_back(folder)),
        "doubled": sum(ids.values()) - len(ids),
        "torn": len(torn) + (verify.main([str(folder / "agfd30k-raw")]) != 0),
        "most redone": most_redone,
        "allowed": 2 * BATCH * ranks,
        "as undisturbed": is_undisturbed(folder, undisturbed),
    }


def processes(mark):
    """Ids of all processes, whoever started them, that bear a mark in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"{MARK}={mark}".encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def end(process, mark, number=signal.SIGKILL, whole=False):
    """Send a signal to a launcher or its process group; returns the processes that are left LEFT seconds later."""
    with contextlib.suppress(ProcessLookupError):  # it may have come to its end
        (os.killpg if whole else os.kill)(process.pid, number)
    limit = time.monotonic() + LEFT
    process.wait()
    while (left := processes(mark)) and time.monotonic() < limit:
        time.sleep(0.1)
    return left


def launch(folder, ranks):
    """Run a small build; returns its exit status."""
    return start(folder, ranks, arguments=SMALL).wait()


def startup(folder, ranks, whole, kills, rng, undisturbed, seconds=STARTUP, launch=launch):
    """Builds that are killed while they start: how many left a process behind, or were not made good by the next.

    They are killed within so many `seconds`, spread over them; `launch` runs the next one.
    """
    began = ended = orphans = 0
    statuses, same = Counter(), 0
    for number in range(kills):
        build, mark = folder / str(number), uuid.uuid4().hex
        process = start(build, ranks, delay=0.1, arguments=SMALL, **{MARK: mark})
        time.sleep(rng.uniform(number, number + 1) * seconds / kills)
        ended += process.poll() is not None
        began += bool(tries(build))
        left = end(process, mark, whole=whole)
        orphans += len(left)
        statuses[launch(build, ranks)] += 1
        same += is_undisturbed(build, undisturbed)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return {
        "ranks": ranks,
        "killed": "group" if whole else "launcher",
        "kills": kills,
        "before the first try": kills - began,
        "after the end": ended,
        "left after 10 s": orphans,
        "next ends with 0": statuses[0],
        "as undisturbed": same,
    }


def print_table(rows):
    """A line for each row, under the names of its columns."""
    print("  ".join(rows[0]))
    for row in rows:
        print("  ".join(f"{value!s:>{len(name)}}" for name, value in row.items()), flush=True)


def run_startup(folder, kills, rng):
    """The table of builds that are killed while they start; returns whether all is well."""
    finish(folder / "undisturbed", arguments=SMALL)
    undisturbed = content(folder / "undisturbed")
    cases = [(ranks, whole) for ranks in (1, 2) for whole in (False, True)]
    shares = [len(range(n, kills, len(cases))) for n in range(len(cases))]
    rows = []
    for (ranks, whole), share in zip(cases, shares):
        place = folder / f"ranks{ranks}-{whole}"
        place.mkdir()
        rows.append(startup(place, ranks, whole, share, rng, undisturbed))
    print_table(rows)
    return all(
        row["left after 10 s"] == 0 and row["next ends with 0"] == row["as undisturbed"] == row["kills"] for row in rows
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--kills", type=int, default=20, help="SIGKILLs for each number of ranks, or in all (default: 20)"
    )
    parser.add_argument("--startup", action="store_true", help="kill while processes start")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.startup:
            return 0 if run_startup(Path(folder), arguments.kills, rng) else 1
        finish(Path(folder, "undisturbed"))
        undisturbed = content(Path(folder, "undisturbed"))
        rows = [trial(Path(folder, f"ranks{n}"), n, arguments.kills, rng, undisturbed) for n in (1, 2)]
    print_table(rows)
    good = all(r["as undisturbed"] and r["lost"] == r["doubled"] == r["torn"] == 0 for r in rows)
    return 0 if good and all(r["most redone"] <= r["allowed"] and r["kills"] == arguments.kills for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
