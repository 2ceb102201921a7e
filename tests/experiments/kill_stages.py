"""SIGKILL every stage of a build at random instants, whoever does its work, and count what is not as undisturbed.

    python tests/experiments/kill_stages.py --kills 100

prints a row for each stage, engine and victim: `driver` is the command itself, which is then started again; `worker`
one of its processes and `node` a machine of the cluster, after which the command must end well by itself. Kills are
shared out evenly; half of their moments are drawn from all the time that the stage takes undisturbed, and half from the
time since its first task began.

    lost       files, rows and pictures that an undisturbed run has and this one has not
    doubled    files that it has beside them
    torn       files with other bytes, and unfinished ones that nobody removed
    redone     most tasks, tries while pictures are made, that a kill had done again, and how many are allowed: those in
               flight; where a driver is killed, the whole stage but for generation begins anew
    orphans    processes of the stage that are there 10 s after its driver was killed

Processes that make pictures in one folder are killed by `kill.py`. Without the extra `ray` its rows are left out.
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
import uuid
from collections import Counter
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import psutil

from tests.experiments import kill
from tests.fixtures import builds, standin

ROOT = Path(__file__).parents[2]
WORKERS = 2
LEFT = 10.0
"""Seconds after which no process of a killed command may be left."""
PATIENCE = 240
"""Seconds within which a stage must end."""
TRIES = 100
"""Moments that are drawn until one falls into the life of a victim."""
GENERATE = [
    *["--model", "preview", "--only", "occlusion", "--scale", "0.05", "--shard-size", "16", "--batch-size", "4"],
    *["--cpu", "--engine", "ray"],
]


@dataclass(frozen=True)
class Noted:
    """A step that notes the name of every task that it begins, in a file."""

    step: object
    log: Path

    def __call__(self, task):
        with open(self.log, "a") as file:
            file.write(f"{task}\n")
        return self.step(task)


@dataclass(frozen=True)
class NotedEngine:
    """An engine whose tasks are noted."""

    engine: object
    log: Path

    def map(self, step, tasks):
        return self.engine.map(Noted(step, self.log), tasks)


def engine_of(name, folder):
    """The engine of a stage, whose tasks are noted in `folder`."""
    from builder.engine.here import Here
    from builder.engine.ray import Ray

    return NotedEngine(Here(WORKERS) if name == "here" else Ray(), folder / "tasks.log")


def generate(folder, engine):
    """Make the pictures of a small build, and its release."""
    return standin.main(standin.small(GENERATE), load=standin.StandIn, build_checks=standin.checks)


def duplicates(folder, engine):
    """Take back what is there twice in a finished build, without making it again."""
    from builder.generation import deduplication
    from builder.raw.build import RawBuild

    raw = RawBuild.open(folder / "agfd30k-raw")
    deduplication.resume(raw, raw.asked)
    taken = deduplication.take_back(raw, raw.asked, engine=engine)
    return 0 if taken is None or taken > 0 else 1


def release(folder, engine):
    """Make the release of a build."""
    from builder.dataset import packing
    from builder.dataset.folder import sweep
    from builder.raw.build import RawBuild

    sweep(folder / "agfd30k")
    packing.pack(RawBuild.open(folder / "agfd30k-raw"), folder / "agfd30k", anew=True, engine=engine)
    return 0


def verify(folder, engine):
    """Set aside what is faulty in a build; what is said goes into a file that is whole or not there."""
    from builder.raw import verification

    verification.verify(folder / "agfd30k-raw", True, lambda line: None, engine=engine)
    return 0


def lint(folder, engine):
    """Check a release with every picture of it; what is said goes into a file that is whole or not there."""
    from builder.common.files import atomic
    from builder.dataset.folder import Release
    from builder.linting.lint import check

    faults = check(Release(folder / "agfd30k"), thorough=True, engine=engine)
    lines = [str(fault) for fault in faults]
    with atomic(folder / "agfd30k-raw" / "faults.txt") as file:
        file.write("\n".join(lines).encode())
    return 0


STAGES = {stage.__name__: stage for stage in (generate, duplicates, release, verify, lint)}


def prepare(stage, folder):
    """What lies there before a stage."""
    folder.mkdir(parents=True)
    if stage == "duplicates":  # a build that nobody has looked through
        with mock.patch("builder.generation.deduplication.take_back", return_value=0):
            assert kill.run_here(folder, *kill.BUILD, "--engine", "here").returncode == 0
    elif stage != "generate":
        builds.write_raw(folder / "agfd30k-raw", only=["occlusion"], scale=0.2, shard_size=16)
    if stage == "release":  # over an older one, which must be there until the new one is whole
        shards = sorted((folder / "agfd30k-raw" / "shards").iterdir())
        shards[-1].rename(folder / "later")
        release(folder, None)
        (folder / "later").rename(shards[-1])
    if stage == "verify":
        for number, shard in enumerate(sorted((folder / "agfd30k-raw" / "shards").iterdir())[::3]):
            sorted((shard / "images").iterdir())[number % 4].write_bytes(b"torn")
    if stage == "lint":
        release(folder, None)


def start(stage, folder, engine, mark=""):
    """Start a stage's command in `folder`."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.experiments.kill_stages", "--stage", stage, "--engine", engine, str(folder)],
        cwd=ROOT,
        env={**os.environ, kill.MARK: mark, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=open(folder / "errors.log", "a"),
    )


def ended(process, folder):
    """Wait for a command; returns its exit status. Fails where it takes too long."""
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"no end in {PATIENCE} s: {(folder / 'errors.log').read_text()}") from None


def wait_for_task(process, folder):
    """Wait until a command has begun its first task, or has ended."""
    while not (folder / "tasks.log").exists() and process.poll() is None:
        time.sleep(0.005)


def tasks(folder):
    """How often each task was begun, by its name without the folder."""
    log = folder / "tasks.log"
    return Counter(log.read_text().replace(f"{folder}/", "").splitlines()) if log.exists() else Counter()


@dataclass
class Undisturbed:
    """A stage that nobody disturbs: what lies there before and after it, the seconds that it takes, and those since its
    first task began.
    """

    stage: str
    engine: str
    folder: Path
    seconds: float = 0.0
    working: float = 0.0
    content: dict = field(default_factory=dict)

    def __post_init__(self):
        self.before, after = self.folder / "before", self.folder / "after"
        prepare(self.stage, self.before)
        shutil.copytree(self.before, after)
        started = time.monotonic()
        process = start(self.stage, after, self.engine)
        wait_for_task(process, after)
        began = time.monotonic()
        assert ended(process, after) == 0, (after / "errors.log").read_text()
        self.seconds, self.working = time.monotonic() - started, time.monotonic() - began
        self.content, self.tasks = kill.content(after), tasks(after)


class Victims:
    """Who can be killed: of a command by itself or of a cluster."""

    def __init__(self, nodes=None):
        self.nodes = nodes

    def kill(self, victim, process):
        """Kill a victim with SIGKILL; returns whether there was one."""
        if process.poll() is not None:
            return False
        if victim == "node":
            self.nodes.kill()
            self.nodes.add()
            return True
        if victim == "driver":
            process.kill()
            return True
        if workers := self.workers(process):
            with contextlib.suppress(psutil.NoSuchProcess):
                workers[-1].kill()
                return True
        return False

    def workers(self, process):
        """The processes that run tasks: those that a fork server has started, or the cluster's that are busy."""
        if self.nodes:
            children = psutil.Process().children(recursive=True)
            return [child for child in children if _name(child).startswith("ray::_run")]
        with contextlib.suppress(psutil.NoSuchProcess):
            return [child for server in psutil.Process(process.pid).children() for child in server.children()]
        return []


def _name(process):
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def disturbed(folder, undisturbed, victims, victim, rng):
    """Run a stage and kill a victim at a random moment; returns the exit status of the command and its
    processes that are left LEFT seconds after its end. Tries again where nobody
    was there to kill.
    """
    for _ in range(TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(undisturbed.before, folder)
        mark = uuid.uuid4().hex
        process = start(undisturbed.stage, folder, undisturbed.engine, mark)
        seconds = undisturbed.seconds
        if rng.random() < 0.5:
            wait_for_task(process, folder)
            seconds = undisturbed.working
        moment = time.monotonic() + rng.uniform(0, seconds)
        while time.monotonic() < moment and process.poll() is None:
            time.sleep(0.005)
        if victims.kill(victim, process):
            status, limit = ended(process, folder), time.monotonic() + LEFT
            while (left := kill.processes(mark)) and time.monotonic() < limit:
                time.sleep(0.1)
            return status, left
        ended(process, folder)
    raise AssertionError(f"{undisturbed.stage}: no {victim} to kill in {TRIES} runs")


def trial(folder, undisturbed, victims, victim, kills, rng):
    """A stage that is disturbed so often, each time from its beginning: what was not as undisturbed in the end."""
    lost = doubled = torn = redone = orphans = failed = 0
    for number in range(kills):
        place = folder / f"{victim}-{number}"
        status, left = disturbed(place, undisturbed, victims, victim, rng)
        orphans += len(left)
        if victim == "driver":
            failed += status != -signal.SIGKILL
            status = ended(start(undisturbed.stage, place, undisturbed.engine), place)
        failed += status != 0
        now, expected = kill.content(place), undisturbed.content
        lost += len(expected.keys() - now.keys())
        doubled += len(now.keys() - expected.keys())
        torn += sum(now[name] != expected[name] for name in now.keys() & expected.keys())
        torn += len(list(place.rglob("*.tmp")))
        again = sum((tasks(place) - undisturbed.tasks).values())
        redone = max(redone, again)
        if failed or now != expected:
            print((place / "errors.log").read_text()[-2000:], file=sys.stderr)
        shutil.rmtree(place)
    return {
        "stage": undisturbed.stage,
        "engine": undisturbed.engine,
        "victim": victim,
        "kills": kills,
        "lost": lost,
        "doubled": doubled,
        "torn": torn,
        "failed": failed,
        "orphans": orphans,
        "redone": redone,
        "allowed": allowed(undisturbed, victim),
    }


def allowed(undisturbed, victim):
    """How many tasks a kill may have done again."""
    if undisturbed.stage == "generate":
        return 2 * kill.BATCH * (1 if victim in ("worker", "node") else WORKERS)
    return sum(undisturbed.tasks.values()) if victim == "driver" else WORKERS


def cases(engines):
    """(stage, engine, victim) of every row."""
    for stage in STAGES:
        for engine in engines:
            if stage == "generate" and engine == "here":
                continue  # processes on one folder: kill.py
            for victim in ("driver", "worker") + (("node",) if engine == "ray" else ()):
                yield stage, engine, victim


def rows_of(folder, rows, kills, rng, nodes):
    """Yield a row for each case; kills are shared out evenly."""
    known = {}
    for number, (stage, engine, victim) in enumerate(rows):
        if (stage, engine) not in known:
            known[stage, engine] = Undisturbed(stage, engine, folder / f"{stage}-{engine}")
        share = len(range(number, kills, len(rows)))
        victims = Victims(nodes if engine == "ray" else None)
        yield trial(folder / f"{stage}-{engine}", known[stage, engine], victims, victim, share, rng)


@contextlib.contextmanager
def cluster(engines):
    """The cluster that is needed, or None."""
    if "ray" not in engines:
        yield None
        return
    from tests.fixtures.clusters import two_nodes

    with two_nodes() as nodes:
        yield nodes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="SIGKILLs in all (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), help="only these")
    parser.add_argument("--stage", choices=list(STAGES), help=argparse.SUPPRESS)
    parser.add_argument("--engine", choices=["here", "ray"], help="only this; ray is left out where it is missing")
    parser.add_argument("folder", nargs="?", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        os.chdir(arguments.folder)
        return STAGES[arguments.stage](arguments.folder, engine_of(arguments.engine, arguments.folder))
    engines = [arguments.engine] if arguments.engine else ["here", "ray"] if find_spec("ray") else ["here"]
    chosen = [case for case in cases(engines) if not arguments.stages or case[0] in arguments.stages]
    rng, rows = random.Random(arguments.seed), []
    os.environ |= {"STANDIN_LOG": "tasks.log", "STANDIN_DELAY": "0.02"}  # where a task works, on whichever node
    with tempfile.TemporaryDirectory() as folder, cluster(engines) as nodes:
        for row in rows_of(Path(folder), chosen, arguments.kills, rng, nodes):
            if not rows:
                print("  ".join(row))
            print("  ".join(f"{value!s:>{len(name)}}" for name, value in row.items()), flush=True)
            rows.append(row)
    faults = ("lost", "doubled", "torn", "failed", "orphans")
    good = all(row["redone"] <= row["allowed"] and not any(row[fault] for fault in faults) for row in rows)
    return 0 if good else 1


if __name__ == "__main__":
    from tests.experiments import kill_stages  # under this name workers find what they are sent

    sys.exit(kill_stages.main())
