"""Everything around the model: what a picture costs the host, step by step, and how many pictures a core can take.

The steps run one after another in one thread, on photo-like pictures of 512×512 (faces are looked for in drawn ones of
all features). Then the rank loop itself runs, with a generator that has its pictures at once, so that nothing but the
host's work is left.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness import Table, alternating, process
from pictures import SHARD, SOURCE, shifted_photo

from builder.checks.duplicates import HashCheck
from builder.checks.face import FaceCheck
from builder.checks.integrity import IntegrityCheck
from builder.checks.suite import Outcome
from builder.common.files import atomic
from builder.models.face_detectors import YuNet
from builder.models.source import resolve_detector
from builder.plan.plan import Plan
from builder.raw.rows import Rules
from builder.raw.shard_writer import ShardWriter, encode
from builder.spec import table as spec_table
from builder.spec.criteria import YUNET
from drawn_faces.drawing.draw import draw, labels_of

PICTURES = 32
LOOP = 256
CORES = 16
NEEDED = 80
"""Pictures a second: eight GPUs with ten each."""
STANDIN = Path(__file__).with_name("standin.py")


def run(scale: float = 1.0) -> Iterator[Table]:
    """Two tables: the steps, and the loop."""
    with tempfile.TemporaryDirectory() as name:
        yield _steps(Path(name), max(8, int(PICTURES * scale)))
        yield _loop(Path(name), max(32, int(LOOP * scale)))


def _steps(folder: Path, count: int) -> Table:
    plan = Plan(spec_table.load(), shard_size=SHARD)
    shard = plan.shards[0]
    samples = plan.asked(shard)[: min(count, SHARD)]
    mixed = [plan.sample(number * len(plan) // len(samples)) for number in range(len(samples))]
    faces = [draw(labels_of(sample), number) for number, sample in enumerate(mixed)]
    attempts = [plan.attempt(sample, 0) for sample in samples]
    images = [shifted_photo(attempt.seed) for attempt in attempts]
    files = [encode(image, "png", "benchmark") for image in images]
    criteria = plan.spec.checks
    made_by = {"model": SOURCE.name, "model_revision": SOURCE.revision, "safety_checker": ""}
    with ShardWriter(folder / "shard", Rules(plan.whole(shard), plan, "png", made_by)) as writer:
        rows = [writer.write_picture(a, image, None, Outcome().checks) for a, image in zip(attempts, images)]
        work = {
            "plan: samples, prompts, seeds": lambda: [plan.attempt(s, 0) for s in plan.asked(shard)[: len(samples)]],
            "check: integrity": lambda: IntegrityCheck(criteria.integrity).judge(samples, images),
            "check: face (YuNet)": lambda: _yunet(criteria.face).judge(mixed, faces),
            "check: perceptual hash": lambda: HashCheck().judge(samples, images),
            "encode: PNG level 1": lambda: [encode(image, "png", "benchmark") for image in images],
            "digest: sha256": lambda: [hashlib.sha256(data).hexdigest() for data in files],
            "picture's file: write, fsync, rename": lambda: _write(folder, files),
            "commit: rows of 8, fsync": lambda: _commit(writer, rows),
        }
        return _table(alternating(work, 3), len(samples))


def _table(seconds: dict[str, float], count: int) -> Table:
    table = Table("Host: a picture's way, step by step, one thread", ["step", "ms a picture", "pictures/s a core"])
    for name, time in seconds.items():
        table.add(name, 1000 * time / count, count / time)
    total = sum(seconds.values())
    table.add("all steps", 1000 * total / count, count / total)
    return table


@functools.cache
def _yunet(criteria) -> FaceCheck:
    return FaceCheck(criteria, YuNet(Path(resolve_detector(YUNET, "main").location)))


def _write(folder: Path, files: list[bytes]) -> None:
    for number, data in enumerate(files):
        with atomic(folder / f"{number}.png") as file:
            file.write(data)


def _commit(writer: ShardWriter, rows: list[dict]) -> None:
    for start in range(0, len(rows), 8):
        writer.commit(rows[start : start + 8], [])


def _loop(folder: Path, count: int) -> Table:
    """The rank loop from end to end, and from its first picture to its last row."""
    build = [str(STANDIN), "--model", "preview", "--limit", str(count), "--batch-size", "16", "--shard-size", "64"]
    table = Table("Host: the rank loop with pictures at once", ["what", "s", "pictures/s"])
    made = process(build, folder)
    ended = max(path.stat().st_mtime for path in folder.glob("agfd30k-raw/shards/*/metadata.jsonl"))
    inside = ended - (folder / "began").stat().st_mtime
    again = process(build, folder)
    table.add("start, make, release", made.seconds, count / made.seconds)
    table.add("start, nothing to do", again.seconds, None)
    cores = os.cpu_count() or 1
    table.add(f"the loop alone, {cores} cores", inside, count / inside)
    table.notes.append(
        f"One process on {cores} cores; {CORES // cores} of them on {CORES} such cores, one a GPU, would make "
        f"{CORES // cores * count / inside:,.0f} pictures/s. Eight GPUs need {NEEDED}."
    )
    return table
