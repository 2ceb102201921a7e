"""SIGKILL a build at random instants, let it go on, and count what was lost.

    python tests/experiments/kill.py --kills 20

prints a row for 1 and for 2 ranks. A build dies once it has begun to work, at a moment drawn at random, and starts
again, until it was killed often enough: at first while pictures are made, then while duplicates are taken back and made
again. Then it may finish, and is compared with a build that nobody disturbed.
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
from collections import Counter
from pathlib import Path

from builder import verify

STANDIN = Path(__file__).parents[1] / "fixtures" / "standin.py"
LAUNCH = {
    0: [sys.executable],
    1: ["accelerate", "launch", "--cpu", "--num_processes", "1"],
    2: ["accelerate", "launch", "--multi_gpu", "--num_processes", "2"],
}
"""How a build is started, by ranks; 0 is plain python."""
BATCH = 4
BUILD = [
    *["--model", "preview", "--only", "occlusion", "--scale", "0.2"],
    *["--shard-size", "16", "--batch-size", str(BATCH)],
]
STARTED = 180
"""Seconds within which a build must have come to where it is killed."""


def start(folder, ranks=1, delay=0.0, arguments=BUILD):
    """Start a build in `folder`, in a process group of its own."""
    folder.mkdir(exist_ok=True)
    environment = {
        **os.environ,
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
    """Every try whose picture was a duplicate."""
    return {(row["id"], row["attempt"]) for row in lines(folder, "rejected.jsonl") if "duplicate" in row["reason"]}


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
        if path.is_file() and not path.name.endswith("lock"):
            data = path.read_bytes()
            if path.name == "receipt.json":
                data = {key: value for key, value in json.loads(data).items() if key != "finished"}
            found[str(path.relative_to(folder))] = data
    return found


def trial(folder, ranks, kills, rng, undisturbed):
    """A build that is killed `kills` times: what it lost, doubled, tore and made again."""
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
        "as undisturbed": content(folder) == undisturbed,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="SIGKILLs for each number of ranks (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        finish(Path(folder, "undisturbed"))
        undisturbed = content(Path(folder, "undisturbed"))
        rows = [trial(Path(folder, f"ranks{n}"), n, arguments.kills, rng, undisturbed) for n in (1, 2)]
    for row in rows:
        if row is rows[0]:
            print("  ".join(row))
        print("  ".join(f"{value!s:>{len(name)}}" for name, value in row.items()))
    good = all(r["as undisturbed"] and r["lost"] == r["doubled"] == r["torn"] == 0 for r in rows)
    return 0 if good and all(r["most redone"] <= r["allowed"] and r["kills"] == arguments.kills for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
