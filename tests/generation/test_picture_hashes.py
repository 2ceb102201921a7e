"""What is decided from a few bytes a picture is what was decided from all that is known of each."""

import json
import random
import shutil
from dataclasses import replace

import numpy as np
import pytest

from builder.checks import near_pairs
from builder.checks.duplicates import HashCheck, copies
from builder.checks.suite import Outcome
from builder.checks.verdict import Verdict
from builder.engine.here import Here
from builder.generation import deduplication, picture_hashes
from builder.plan.plan import Plan
from builder.raw.build import RawBuild
from builder.raw.receipts import Damaged, Reopened
from builder.raw.rows import DUPLICATE, NO_TWIN, rejection
from builder.spec import table
from builder.spec.criteria import Duplicates
from tests.fixtures import duplicates_with_objects as objects
from tests.fixtures.builds import fingerprint_of, picture_of, recipe_of

SIDE, SIZE = 16, 8
TABLE = table.load()
SPEC = TABLE.changed(recipe=TABLE.recipe.changed(width=SIDE, height=SIDE))
WHOLE = {"only": ["occlusion", "pose"], "limit": 72, "shard_size": SIZE, "twins": True}
CHOICES = {
    "all": {},
    "a part: what is there beyond it is settled": {"limit": 40},
    "without twins: those that are there are settled": {"twins": False},
    "one attribute: the other's shards are strangers": {"only": ["occlusion"], "limit": 36},
}
CRITERIA = [Duplicates(radius=2, radius_in_cell=2), Duplicates(radius=1, radius_in_cell=6)]


class Hashes:
    """Hashes of tries, many of which are near one that was given before, or the very same."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.given = [0]

    def next(self):
        kind = self.random.random()
        value = self.random.getrandbits(64) if kind < 0.5 else self.random.choice(self.given)
        for _ in range(self.random.randrange(1, 7) if kind > 0.65 else 0):
            value ^= 1 << self.random.randrange(64)
        self.given.append(value)
        return f"{value:016x}"


def make(raw, plan, hashes):
    """Make what is missing of a plan."""
    for shard in plan.shards:
        if raw.is_done(plan, shard):
            continue
        with raw.writer(plan, shard) as writer:
            writer.commit([_row(writer, attempt, hashes) for attempt in writer.pending(plan.asked(shard))], [])
            writer.finish(fingerprint=fingerprint_of(raw.folder), versions={}, finished="")


def _row(writer, attempt, hashes):
    outcome = Outcome()
    outcome.add(HashCheck(), Verdict(None, {"hash": hashes.next()}))
    return writer.write_picture(
        attempt, picture_of(hashes.random.randrange(20), SIDE), outcome.verified, outcome.checks
    )


def take_back_some(raw, plan, chosen):
    """Let some pictures be made again, and a sample be given up: their twins are stale then."""
    for shard in plan.shards:
        if shard.of is None:
            with raw.writer(plan, shard) as writer:
                rows = [row for row in writer.rows if chosen.random() < 0.2]
                tries = [plan.attempt(writer.rules.whole[row["id"]], row["attempt"]) for row in rows]
                writer.take_back([rejection(attempt, DUPLICATE) for attempt in tries])
                writer.finish(fingerprint=fingerprint_of(raw.folder), versions={}, finished="")


@pytest.fixture(scope="module", params=range(3))
def build(request, tmp_path_factory):
    """A random build with clusters, twins and stale twins; some samples were given up."""
    folder = tmp_path_factory.mktemp("raw")
    plan, hashes = Plan(SPEC, **WHOLE), Hashes(request.param)
    raw = RawBuild.begin(folder, recipe_of(SPEC, shard_size=SIZE))
    make(raw, plan, hashes)
    take_back_some(raw, plan, hashes.random)
    make(raw, Plan(SPEC, **WHOLE | {"twins": False}), hashes)
    return raw


def both(raw, plan, criteria, engine=None):
    finished = raw.finished()
    found = deduplication.decide(raw, plan, finished, criteria, engine)
    expected = objects.decide(raw, plan, finished, criteria)
    return json.dumps(found), json.dumps(expected)


@pytest.mark.parametrize("criteria", CRITERIA, ids=["one radius", "two radii"])
@pytest.mark.parametrize("choice", CHOICES)
def test_the_same_pictures_go_back_for_the_same_reasons_in_the_same_order(build, choice, criteria):
    found, expected = both(build, Plan(SPEC, **WHOLE | CHOICES[choice]), criteria)
    assert found == expected and found.count('"attempt"') > 5
    assert (NO_TWIN in found) == ("twins" not in CHOICES[choice])


@pytest.mark.process
def test_several_processes_read_what_one_reads(build):
    found, expected = both(build, Plan(SPEC, **WHOLE | {"limit": 40}), CRITERIA[1], Here(2))
    assert found == expected


def test_shards_can_come_in_any_order(build):
    class Backwards:
        def map(self, step, tasks):
            return reversed([step(task) for task in tasks])

    for choice in CHOICES.values():
        found, expected = both(build, Plan(SPEC, **WHOLE | choice), CRITERIA[1], Backwards())
        assert found == expected


def test_a_shard_without_a_result_is_no_shard_of_copies(build):
    """What an engine loses must not look like pictures that are all the same."""

    class Forgetful:
        def map(self, step, tasks):
            yield from map(step, list(tasks)[1:])

    with pytest.raises(RuntimeError, match="the engine gave no result"):
        picture_hashes.PictureHashes.of(build, Plan(SPEC, **WHOLE), build.finished(), Forgetful())


@pytest.mark.parametrize("seed", range(6))
def test_crowds_cells_settled_pictures_and_twins_are_decided_on_as_before(seed, monkeypatch):
    """Thousands at once, of which many are alike, whatever parts they are searched in."""
    chance = np.random.default_rng(seed)
    count = 3_000
    hashes = chance.integers(0, 2**64, count, dtype=np.uint64)
    hashes[chance.random(count) < 0.3] = hashes[0]
    copied = np.flatnonzero(chance.random(count) < 0.4)
    hashes[copied] = hashes[chance.integers(0, count // 10, len(copied))]
    for _ in range(5):
        turned = np.flatnonzero(chance.random(count) < 0.3)
        hashes[turned] ^= np.uint64(1) << chance.integers(0, 40, len(turned)).astype(np.uint64)
    cells = chance.integers(0, 1 + seed, count)
    twin_of = np.where(chance.random(count) < 0.3, chance.integers(0, count, count), -1)
    settled = int(chance.integers(0, count)) if seed % 2 else 0
    twins = {place: of for place, of in enumerate(twin_of.tolist()) if of >= 0}
    for criteria in CRITERIA:
        expected = objects.copies(hashes, cells, criteria, settled, twins)
        assert copies(hashes, cells, criteria, settled, twin_of) == expected and len(expected) > 100
        with monkeypatch.context() as patch:
            patch.setattr(near_pairs, "PART", 500)
            patch.setattr(near_pairs, "CROWD", 20)
            patch.setattr("builder.checks.duplicates.MOST_PAIRS", 50_000)
            assert copies(hashes, cells, criteria, settled, twin_of) == expected


def test_a_shard_that_changes_meanwhile_is_not_mistaken(build, tmp_path, monkeypatch):
    """Its lines were read for a receipt that is another one when a few of them are read again."""
    folder = shutil.copytree(build.folder, tmp_path / "raw")
    raw, plan = RawBuild.open(folder), Plan(SPEC, **WHOLE)
    finished = raw.finished()
    pictures = picture_hashes.PictureHashes.of(raw, plan, finished)
    assert pictures.read([0])[0].id == next(iter(plan.ids(plan.shards[0])))
    with raw.writer(plan, plan.shards[0]) as writer:
        writer.take_back([rejection(plan.attempt(writer.rules.whole[writer.rows[0]["id"]], 0), DUPLICATE)])
        writer.finish(fingerprint=fingerprint_of(folder), versions={}, finished="")
    with pytest.raises(Reopened):
        pictures.read([0])
    with pytest.raises(Reopened):
        picture_hashes.PictureHashes.of(raw, plan, finished)
    wrong = replace(finished[pictures.folders[1]], rows=1)
    finished = raw.finished()
    finished[pictures.folders[1]] = wrong
    monkeypatch.setattr(picture_hashes, "receipt", lambda folder: finished[folder])
    with pytest.raises(Damaged, match="its receipt says 1 rows, there are"):
        picture_hashes.PictureHashes.of(raw, plan, finished)
