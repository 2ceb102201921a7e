"""Two machines make one build in a store, while they are killed, suspended and their store fails: what was lost?

    python tests/experiments/store_faults.py --kills 20 --seed 1

prints a row for each build. Two processes, each with a workspace of its own and a way of its own to an S3 server on
loopback, make a build of stand-in pictures, with twins and duplicates. At instants drawn at random, by the pictures
made or by the requests sent, one of them is killed (SIGKILL), at times together with its workspace, or is suspended
until the other one has made everything, and then goes on (a zombie). All the while requests are refused as too many,
answers are lost after the store has acted, end in their middle, or come late. Then both may finish, and what is in the
store is compared with a build on a disk that nobody disturbed. Needs moto and s3fs.

    python tests/experiments/store_faults.py --requests

prints how many requests an undisturbed build takes, by kind and for each shard.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from builder import verify
from builder.common.address import Address
from builder.storage.build import fetch
from tests.experiments.kill import STANDIN, content, finish, is_undisturbed, print_table, taken_back, tries
from tests.fixtures.stores import Proxy, machine, serving

BUILD = [
    *["--model", "preview", "--only", "occlusion", "--scale", "0.04", "--twins"],
    *["--shard-size", "16", "--batch-size", "4"],
]
PATIENCE = 240
"""Seconds within which a process must have come to where it is stopped, or to its end."""
SHARES = {"busy": 0.03, "cut": 0.02, "half": 0.02, "slow": 0.05}
"""How many of all requests fail how."""


class Machine:
    """A machine: a folder with a cache, a way to the store, and the process that works there."""

    def __init__(self, folder, server, address, rank, rng=None, arguments=BUILD):
        self.folder = folder
        self.address = address
        self.rank = rank
        self.rng = rng
        self.arguments = arguments
        self.process = None
        self.armed = None
        self.proxy = Proxy(server.port, self.fault)
        folder.mkdir(parents=True)

    def start(self, delay=0.01):
        """Start the process, in a group of its own."""
        environment = {
            **os.environ,
            **self.proxy.environment,
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "STANDIN_LOG": str(self.folder / "tries.log"),
            "STANDIN_DELAY": str(delay),
            "STANDIN_PAUSE": "0.02",
            "STANDIN_ANSWER": "5",
            "OMP_NUM_THREADS": "1",
            "RANK": str(self.rank),
            "WORLD_SIZE": "2",
            "LOCAL_RANK": "0",
        }
        self.process = subprocess.Popen(
            [sys.executable, str(STANDIN), *self.arguments, "--raw", str(self.address)],
            cwd=self.folder,
            env=environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=open(self.folder / "errors.log", "a"),
        )

    def fault(self, method, path):
        """What befalls a request: what was armed, or what chance wants."""
        if self.armed and (fault := self.armed(method, path)):
            return fault
        if self.rng is None:
            return None
        left = self.rng.random()
        for name, share in SHARES.items():
            if left < share:
                return self.rng.uniform(0.02, 0.3) if name == "slow" else name
            left -= share
        return None

    def arm(self, count, number):
        """Send a signal at the so manieth request from now, which the store carries out, or never sees."""
        how = "cut" if count % 2 else "lost"
        left = [count]

        def armed(method, path):
            left[0] -= 1
            if left[0] == 0:
                self.signal(number)
                return how
            return None

        self.armed = armed

    def signal(self, number):
        with contextlib.suppress(ProcessLookupError):  # it may have come to its end
            os.killpg(self.process.pid, number)

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    @property
    def is_suspended(self):
        with contextlib.suppress(OSError):
            return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        return False

    @property
    def made(self):
        return sum(tries(self.folder).values())

    def finish(self):
        """Wait for the end, which must be a good one."""
        status = self.process.wait(PATIENCE)
        assert status == 0, f"status {status}: {self.errors}"

    @property
    def errors(self):
        return (self.folder / "errors.log").read_text()[-3000:]


def until(condition, what):
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, f"{what}: not within {PATIENCE} s"
        time.sleep(0.02)


def disturb(victim, rival, rng, number):
    """Stop a process at a random instant by a signal; returns whether it was stopped, and did not end before."""
    if rng.random() < 0.5:
        victim.arm(rng.randrange(1, 40), number)
    else:
        wanted = victim.made + rng.randrange(1, 12)
        victim.armed = None
        until(lambda: not victim.is_running or victim.made >= wanted or not rival.is_running, "a picture")
        if victim.is_running:
            time.sleep(rng.uniform(0, 0.05))
            victim.signal(number)
    until(lambda: not victim.is_running or victim.is_suspended, "the signal")
    victim.armed = None
    return victim.is_suspended or victim.process.returncode == -signal.SIGKILL


def seen(server, bucket):
    """Every receipt and every decision in the store, with its digest: none of them may ever change."""
    return {name: tag for name, tag in server.objects(bucket).items() if not name.endswith("asked.json")}


def trial(folder, server, rng, most, undisturbed):
    """A build that is disturbed until both processes have ended by themselves; returns what was found."""
    bucket = server.bucket()
    address = Address("s3", f"{bucket}/faces")
    machines = [Machine(folder / name, server, address, n, random.Random(rng.random())) for n, name in enumerate("ab")]
    kills = zombies = removed = changed = 0
    before = {}
    with machines[0].proxy, machines[1].proxy:
        for each in machines:
            each.start()
        while kills + zombies < most and all(each.is_running for each in machines):
            victim, rival = rng.sample(machines, 2)
            is_zombie = rng.random() < 0.2
            if not disturb(victim, rival, rng, signal.SIGSTOP if is_zombie else signal.SIGKILL):
                break
            now = seen(server, bucket)
            changed += sum(now.get(name) != tag for name, tag in before.items())
            before = now
            if is_zombie:
                zombies += 1
                rival.finish()
                before = seen(server, bucket)
                victim.signal(signal.SIGCONT)
                victim.finish()
                continue
            kills += 1
            if rng.random() < 0.33:
                removed += 1
                shutil.rmtree(victim.folder / "cache", ignore_errors=True)
            victim.start()
        for each in machines:
            if not each.is_running and each.process.returncode != 0:
                each.start()
        for each in machines:
            each.finish()
    now = seen(server, bucket)
    changed += sum(now.get(name) != tag for name, tag in before.items())
    return {
        "kills": kills,
        "zombies": zombies,
        "workspaces lost": removed,
        "faults": sum(sum(each.proxy.faults.values()) for each in machines),
        **judged(folder, server, address, undisturbed),
        "changed": changed,
        "made again": made_again(machines),
    }


def judged(folder, server, address, undisturbed):
    """Fetch what is in the store to a third machine, and compare it with a build that nobody disturbed."""
    third = folder / "third"
    with machine(third, server), open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        raw = fetch(address).folder
        torn = verify.main([str(address)]) != 0
    (third / "build").mkdir(exist_ok=True)
    (third / "build" / "agfd30k-raw").symlink_to(raw)
    build = third / "build"
    ids = Counter(id for id, _ in kept_in(raw))
    right = {name: data for name, data in undisturbed.items() if name.startswith("agfd30k-raw")}
    wanted = {name for name in right if "/images/" in name}
    there = {f"agfd30k-raw/{path.relative_to(raw)}" for path in raw.glob("shards/*/images/*")}
    return {
        "pictures": len(ids),
        "taken back": len(taken_back(build)),
        "lost": len(wanted - there),
        "doubled": sum(ids.values()) - len(ids),
        "torn": int(torn),
        "as undisturbed": is_undisturbed_raw(raw, right),
    }


def kept_in(raw):
    """Every try whose picture is committed, as a list: what stands twice is there twice."""
    import agfd30k

    return [(row["id"], row["attempt"]) for shard in agfd30k.shards(raw) for row in agfd30k.read_rows(shard)]


def is_undisturbed_raw(raw, right):
    """Whether a workspace holds what a build on a disk does, but for what is a machine's own."""
    place = raw.parent / "named" / "agfd30k-raw"
    place.parent.mkdir(exist_ok=True)
    shutil.copytree(raw, place, ignore=shutil.ignore_patterns(".*"), dirs_exist_ok=True)
    return is_undisturbed(place.parent, right)


def made_again(machines):
    """How many tries were made more than once, by whom ever."""
    made = sum((tries(each.folder) for each in machines), Counter())
    return sum(made.values()) - len(made)


def requests(folder, server):
    """Requests of an undisturbed build of two machines, by kind; and of a release on a third one."""
    address = Address("s3", f"{server.bucket()}/faces")
    machines = [Machine(folder / name, server, address, n) for n, name in enumerate("ab")]
    with machines[0].proxy, machines[1].proxy:
        for each in machines:
            each.start()
        for each in machines:
            each.finish()
    build = sum((each.proxy.requests for each in machines), Counter())
    with Proxy(server.port) as proxy, machine(folder / "third", proxy):
        fetched = fetch(address)
        return build, proxy.requests, len(fetched.catalog.newest), len(seen(server, address.bucket))


def print_requests(folder, server):
    build, released, shards, objects = requests(folder, server)
    print(f"{shards} shards, {objects} objects")
    for name, counted in (("made by two machines", build), ("fetched by a third", released)):
        for (method, kind), count in sorted(counted.items()):
            print(f"{name:<22}{method:<6}{kind:<10}{count:>6}{count / shards:>8.1f} a shard")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="SIGKILLs and suspensions in all (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--requests", action="store_true", help="count requests")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving() as server:
        if arguments.requests:
            print_requests(Path(folder), server)
            return 0
        finish(Path(folder, "undisturbed"), 0, [*BUILD])
        undisturbed = content(Path(folder, "undisturbed"))
        rows, left, number = [], arguments.kills, 0
        while left > 0:
            rng = random.Random(f"{arguments.seed}-{number}")
            place = Path(folder, str(number))
            rows.append({"build": number, **trial(place, server, rng, left, undisturbed)})
            left -= rows[-1]["kills"] + rows[-1]["zombies"]
            number += 1
            print_table(rows[-1:])
    print()
    print_table(rows)
    good = all(
        row["as undisturbed"] and not any(row[n] for n in ("lost", "doubled", "torn", "changed")) for row in rows
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
