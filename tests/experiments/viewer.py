"""What the Hub's dataset viewer makes of a release of full size, at some rates of rejected tries.

    python tests/experiments/viewer.py                   # 30,000 rows at 1%, 3% and 10%, some minutes
    python tests/experiments/viewer.py --scale 0.05      # a first look

makes raw builds of small pictures with the values that real checks give, releases them, and prints which splits keep
their statistics by the viewer's arithmetic, what stands on the first page, and how long lint takes in how much memory.
Exit status 1 where a split loses its statistics or lint finds a fault.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from builder.checks.suite import Outcome
from builder.checks.verdict import Verdict
from builder.dataset import packing
from builder.dataset.folder import Release
from builder.models.identity import CheckVersion
from builder.plan.plan import Plan
from builder.raw.build import RawBuild
from builder.raw.rows import Rules, rejection
from builder.raw.shard_writer import ShardWriter
from builder.spec.spec import ADULT
from tests.fixtures import builds, reports, viewer

SHARD = 500
NAMES = ("integrity", "face", "attribute", "duplicates")
LINT = """
import resource, sys
from builder.lint import main
status = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
sys.exit(status)
"""


class Named:
    """A check by its name alone."""

    rejects = False

    def __init__(self, name):
        self.name = name


def quarters(dice, low, high):
    """A place or an angle as the face check notes it."""
    return round(4 * dice.uniform(low, high)) / 4


def seen(attempt):
    """What checks say of a try: faces that are sometimes none, scores that are sometimes missing."""
    dice = random.Random(attempt.seed)
    outcome, face = Outcome(), dice.random() < 0.97
    measured = {"luminance": dice.random(), "highlights": dice.random() / 9, "sharpness": 90 * dice.random()}
    outcome.add(Named("integrity"), Verdict(True, {**measured, "noise": dice.random() / 9}))
    box = {}
    if face:
        box = {"face_score": dice.uniform(0.8, 1), "roll": quarters(dice, -20, 20), "yaw": quarters(dice, -45, 45)}
        box |= {"face_box": [quarters(dice, 90, 400) for _ in range(4)]}
        box |= {"points": [quarters(dice, 90, 400) for _ in range(10)]}
    outcome.add(Named("face"), Verdict(True if face else None, {"faces": int(face), **box}))
    scores = {f"{name}_score": dice.random() for name in ("attribute", "sex", "age")}
    scores["minor_score"] = dice.random() / 2 if dice.random() < 0.9 else None
    outcome.add(Named("attribute"), Verdict(dice.choice([True, True, True, False, None]), scores))
    outcome.add(Named("duplicates"), Verdict(None, {"hash": f"{dice.getrandbits(64):016x}"}))
    return outcome


def build(folder, scale, rate):
    """A raw build of the default table, of which every try is rejected with this probability; and its release."""
    toml = builds.small_table().read_text(encoding="utf-8")
    versions = [CheckVersion(name, 1) for name in NAMES]
    recipe = builds.recipe_of(builds.SPEC, reports.HUB, toml, versions, **{**builds.SETTINGS, "shard_size": SHARD})
    plan = Plan(builds.SPEC, (), scale, None, SHARD)
    raw = RawBuild.begin(folder / "raw", recipe)
    raw.note_asked(plan)
    for shard in plan.shards:
        write_shard(folder / "raw", plan, shard, recipe, rate)
    raw.note_searched(raw.finished())
    packing.pack(raw, folder / "agfd30k")
    return Release(folder / "agfd30k", "AGFD-30K")


def write_shard(folder, plan, shard, recipe, rate):
    """Make a shard, a quarter of it at a time."""
    rules = Rules(plan.whole(shard), plan, "png", recipe.made_by, True)
    with ShardWriter(folder / "shards" / shard.name, rules) as writer:
        while pending := writer.pending(plan.asked(shard))[:128]:
            gone = [attempt for attempt in pending if random.Random(-attempt.seed).random() < rate]
            kept = [attempt for attempt in pending if attempt not in gone]
            picture = builds.picture_of(1)
            outcomes = [(attempt, seen(attempt)) for attempt in kept]
            rows = [writer.write_picture(attempt, picture, one.verified, one.checks) for attempt, one in outcomes]
            writer.commit(rows, [rejection(attempt, "refused") for attempt in gone])
        writer.finish(fingerprint=recipe.fingerprint, versions={}, finished="")


def first_page(release):
    """What stands on the first page of `all`, train: rows by attribute, and how many are minors."""
    rows = []
    for path in release.matching(release.configs()["all"]["train"]):
        rows += pq.read_table(path, columns=["attribute", "age"]).to_pylist()
        if len(rows) >= 100:
            break
    names = builds.SPEC.labels["attribute"]
    counts = Counter(names[row["attribute"]] for row in rows[:100])
    return {name: counts[name] for name in names}, sum(row["age"] < ADULT for row in rows[:100])


def report(scale, rate, folder):
    """Print what one release is; returns whether it is as it should be."""
    release = build(folder, scale, rate)
    lost = viewer.lost(release)
    splits = {f"{name}/{split}": globs for name, some in release.configs().items() for split, globs in some.items()}
    pictures = {name: len(release.matching(globs)) for name, globs in splits.items() if "metadata" not in name}
    fewest = min(pictures, key=pictures.get)
    by_attribute, minors = first_page(release)
    started = time.monotonic()
    command = [sys.executable, "-c", LINT, str(release.folder), *(["--allow-incomplete"] if scale < 1 else [])]
    lint = subprocess.run(command, capture_output=True, text=True)
    seconds, lines = time.monotonic() - started, lint.stdout.splitlines()
    rows = sum(pq.read_metadata(release.folder / name).num_rows for name in release.parquet if name[:4] == "meta")
    print(f"\n{rows:,} rows, {rate:.0%} of all tries rejected")
    print(f"  statistics: {len(splits) - len(lost)} of {len(splits)} splits keep theirs")
    for name, why in lost.items():
        print(f"    {name}: {why}")
    print(
        f"  first page of all: {', '.join(f'{n} {name}' for name, n in by_attribute.items())}; {minors} under {ADULT}"
    )
    print(f"  files a split: at least {pictures[fewest]} ({fewest})")
    print(f"  card: {len((release.folder / 'README.md').read_text()):,} characters")
    print(f"  lint: {seconds:.1f} s, {lines[-1] if lines else '?'} MB at most; status {lint.returncode}", flush=True)
    print("\n".join(f"    {line}" for line in [*lines[:-1], *lint.stderr.splitlines()[-3:]]))
    return not lost and lint.returncode == 0


def main():
    """Print all of it; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the table's 30,000 pictures")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.01, 0.03, 0.1], help="of rejected tries")
    parser.add_argument("--folder", type=Path, help="where the builds lie for the time being; temporary by default")
    flags = parser.parse_args()
    sound = []
    for rate in flags.rates:
        with tempfile.TemporaryDirectory(dir=flags.folder) as folder:
            sound.append(report(flags.scale, rate, Path(folder)))
    return 0 if all(sound) else 1


if __name__ == "__main__":
    sys.exit(main())
