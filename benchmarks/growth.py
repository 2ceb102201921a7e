"""What grows with the number of pictures: time and memory of every command, at several sizes; and the slope.

    python benchmarks growth                 # 300 and 3,000 pictures
    python benchmarks growth --scale 33      # to 100,000

Pictures are tiny and come from a stand-in that skips diffusion; plan, shards, digests, release and lint are the real
ones. Time and memory are those of a whole process; what it takes to start is a row of its own.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from harness import ROOT, Process, Table, alternating, process

from builder.plan.plan import Plan
from builder.spec import table

SIZES = (300, 3_000)
PLANNED = (30_000, 1_000_000, 100_000_000)
STANDIN = str(ROOT / "tests" / "fixtures" / "standin.py")
LINT = """
import sys
from pathlib import Path
from builder.dataset.folder import Release
from builder.linting import lint
found = list(lint.check(Release(Path("agfd30k")), allow_preview=True))
sys.exit("\\n".join(map(str, found[:5])) or None)
"""


def run(scale: float = 1.0) -> Iterator[Table]:
    """Two tables: the plan at sizes that only a plan can have, and a row for every command and size."""
    yield _plans()
    sizes = [max(64 * number, int(size * scale)) for number, size in enumerate(SIZES, 1)]
    title = "Growth: whole processes" + (f", to {max(sizes):,} pictures" if scale > 1 else "")
    found = Table(title, ["command", "pictures", "s", "of computing", "peak MiB", "ms a further picture"])
    took: dict[str, list[Process]] = {}
    with tempfile.TemporaryDirectory() as name:
        for size in sizes:
            for what, spent in _commands(Path(name, str(size)), size):
                took.setdefault(what, []).append(spent)
    for what, spent in took.items():
        for number, (size, one) in enumerate(zip(sizes, spent)):
            slope = (one.computing - spent[number - 1].computing) / (size - sizes[number - 1]) if number else None
            found.add(what, size, one.seconds, one.computing, one.peak, slope and 1000 * slope)
    found.notes.append("ms a further picture: of computing, what each adds to the size before.")
    yield found


def _plans() -> Table:
    """A plan is computed, not stored: what it takes at a million and at a hundred million pictures."""
    found = Table("Growth: the plan", ["pictures", "shards", "plan s", "last sample ms", "a shard's samples ms"])
    with tempfile.TemporaryDirectory() as name:
        for size in PLANNED:
            path = Path(name, "table.toml")
            path.write_text(scaled(size / 30_000))
            started = time.perf_counter()
            plan = Plan(table.load(path))
            shards, took = plan.shards, time.perf_counter() - started
            work = {"last": partial(plan.sample, len(plan) - 1), "shard": partial(plan.asked, shards[len(shards) // 2])}
            spent = alternating(work, 1)
            found.add(len(plan), len(shards), took, 1000 * spent["last"], 1000 * spent["shard"])
    return found


def _commands(folder: Path, size: int) -> Iterator[tuple[str, Process]]:
    folder.mkdir()
    small = scaled(size / 30_000).replace("\nwidth = 512\nheight = 512\n", "\nwidth = 16\nheight = 16\n")
    (folder / "table.toml").write_text(small)
    build = [STANDIN, "--model", "preview", "--spec", "table.toml", "--batch-size", "64"]
    yield "make, commit and release", process(build, folder)
    yield "run again: nothing to do", process(build, folder)
    sorted(folder.glob("agfd30k-raw/shards/*/receipt.json"))[-1].unlink()
    yield "run again: the last receipt lost", process(build, folder)
    yield "release alone", process(["-m", "builder.release"], folder)
    yield "verify: every row, picture, digest", process(["-m", "builder.verify"], folder)
    yield "lint", process(["-c", LINT], folder)


def scaled(factor: float) -> str:
    """The default table with every quota multiplied."""
    lines = (ROOT / "builder" / "agfd30k.toml").read_text().splitlines()
    for number, line in enumerate(lines):
        key, _, quota = line.partition(" = ")
        if key in ("male", "female") and quota.isdigit():
            lines[number] = f"{key} = {max(1, round(int(quota) * factor))}"
    return "\n".join(lines)
