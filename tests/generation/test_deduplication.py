"""Duplicates go back and are made again: which ones depends on nothing but the plan, and no crash leaves half a job."""

import json
import os
import shutil
import threading
from types import SimpleNamespace

import pytest
from filelock import FileLock

from builder import release, verify
from builder.checks.duplicates import HashCheck
from builder.checks.suite import Outcome
from builder.common.errors import UserError
from builder.dataset import folder as dataset_folder
from builder.generation import deduplication
from builder.linting import lint
from builder.plan.plan import Plan
from builder.raw import layout
from builder.raw.build import RawBuild
from builder.raw.receipts import Damaged, is_done, receipt
from builder.raw.rows import Rules
from builder.raw.shard_writer import LOCK, Locked, ShardWriter
from builder.spec import table
from tests.fixtures.builds import fingerprint_of, made_by, picture_of, recipe_of

SIDE = 48
TABLE = table.load()
SPEC = TABLE.changed(recipe=TABLE.recipe.changed(width=SIDE, height=SIDE))
PLAN = Plan(SPEC, only=["occlusion"], limit=24, shard_size=8)
IDS = [id for shard in PLAN.shards for id in PLAN.ids(shard)]
FIRST, KEEPER, EARLY, LATE = IDS[0], IDS[12], IDS[3], IDS[20]
COPIES = {
    (EARLY, 0): FIRST,
    (IDS[10], 0): FIRST,
    (IDS[11], 0): FIRST,
    (EARLY, 1): KEEPER,  # the second try makes a duplicate of a picture that had made one itself:
    (LATE, 0): KEEPER,  # whoever looked again in between would keep this one
    (IDS[22], 0): IDS[2],
}
"""Which try shows the first picture of which other sample."""


def picture(plan, attempt, copies=COPIES):
    source = copies.get((attempt.sample.id, attempt.number))
    seed = attempt.seed if source is None else plan.attempt(SimpleNamespace(id=source), 0).seed
    return picture_of(seed, SIDE)


def make(folder, plan, copies=COPIES):
    """Make whatever is missing, as a run does."""
    for shard in plan.shards:
        path = folder / "shards" / shard.name
        if not is_done(path, plan.ids(shard)):
            with ShardWriter(path, Rules(plan.whole(shard), plan, "png", made_by(path))) as writer:
                while pending := writer.pending(plan.asked(shard))[:4]:
                    writer.commit([row(writer, attempt, picture(plan, attempt, copies)) for attempt in pending], [])
                writer.finish(fingerprint=fingerprint_of(folder), versions={}, finished="")


def row(writer, attempt, image):
    outcome = Outcome()
    outcome.add(HashCheck(), HashCheck().judge([attempt.sample], [image])[0])
    return writer.write_picture(attempt, image, outcome.verified, outcome.checks)


def begin(folder, plan, copies=COPIES):
    """A build in which everything was made once, and no duplicate looked for."""
    RawBuild.begin(folder, recipe_of(plan.spec, shard_size=plan.shard_size))
    make(folder, plan, copies)
    return folder


def end(folder, plan, copies=COPIES):
    """Go on until nothing is a duplicate; returns how many were taken back in each round."""
    deduplication.resume(RawBuild.open(folder), plan)
    make(folder, plan, copies)
    rounds = []
    while found := deduplication.take_back(RawBuild.open(folder), plan):
        rounds.append(found)
        make(folder, plan, copies)
    assert found == 0
    return rounds


def lines(folder, name):
    return [json.loads(line) for path in sorted(folder.glob(f"shards/*/{name}")) for line in open(path)]


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith("lock")
    }


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    return begin(tmp_path_factory.mktemp("begun"), PLAN)


@pytest.fixture(scope="module")
def undisturbed(begun, tmp_path_factory):
    folder = shutil.copytree(begun, tmp_path_factory.mktemp("undisturbed") / "raw")
    assert end(folder, PLAN) == [5, 1]
    return folder


def test_duplicates_are_made_again_and_all_that_was_asked_for_is_there(undisturbed, capsys):
    """Every picture of a copy is another one now, every quota is full, and the build is sound."""
    rows = {row["id"]: row for row in lines(undisturbed, "metadata.jsonl")}
    assert sorted(rows) == sorted(IDS) and len({row["checks"]["hash"] for row in rows.values()}) == len(IDS)
    changed = {id: row["attempt"] for id, row in rows.items() if row["attempt"]}
    assert changed == {EARLY: 1, IDS[10]: 1, IDS[11]: 1, LATE: 1, IDS[22]: 1, KEEPER: 1}
    assert verify.main([str(undisturbed)]) == 0 and "24 rows, 0 faults" in capsys.readouterr().out


def test_what_was_taken_back_is_written_down_as_rejected(undisturbed):
    """With the reason, the picture it is a copy of, and what was measured."""
    found = {(row["id"], row["attempt"]): row for row in lines(undisturbed, "rejected.jsonl")}
    assert {key: row["detail"] for key, row in found.items()} == {
        (EARLY, 0): f"of {FIRST}, 0 bits of 64",
        (IDS[10], 0): f"of {FIRST}, 0 bits of 64",
        (IDS[11], 0): f"of {FIRST}, 0 bits of 64",
        (KEEPER, 0): f"of {EARLY}, 0 bits of 64",
        (LATE, 0): f"of {KEEPER}, 0 bits of 64",
        (IDS[22], 0): f"of {IDS[2]}, 0 bits of 64",
    }
    assert {row["reason"] for row in found.values()} == {"duplicate"}
    assert all(len(row["checks"]["hash"]) == 16 for row in found.values())


def test_pictures_of_what_was_taken_back_are_gone(begun, tmp_path):
    folder = shutil.copytree(begun, tmp_path / "raw")
    assert deduplication.take_back(RawBuild.open(folder), PLAN) == 5
    kept = {row["file_name"] for row in lines(folder, "metadata.jsonl")}
    assert {f"images/{path.name}" for path in folder.glob("shards/*/images/*")} == kept and len(kept) == 19
    assert not (folder / deduplication.DECIDED).exists()


def test_a_near_duplicate_is_told_from_an_exact_one(tmp_path):
    """The same picture in another file, here with one pixel changed."""
    folder = begin(tmp_path, PLAN, {})
    shard = PLAN.shards[1]
    image = picture(PLAN, PLAN.attempt(SimpleNamespace(id=FIRST), 0), {})
    image.putpixel((0, 0), (0, 0, 0))
    path = folder / "shards" / shard.name
    with ShardWriter(path, Rules(PLAN.whole(shard), PLAN, "png", made_by(path))) as writer:
        attempt = PLAN.attempt(writer.rules.whole[PLAN.ids(shard)[0]], 0)
        writer.rows = [row(writer, attempt, image), *writer.rows[1:]]
        writer.finish(fingerprint=fingerprint_of(folder), versions={}, finished="")
    assert deduplication.take_back(RawBuild.open(folder), PLAN) == 1
    assert [row["reason"] for row in lines(folder, "rejected.jsonl")] == ["near duplicate"]


def test_what_is_always_a_duplicate_is_given_up(tmp_path):
    """After the recipe's attempts a sample is unfilled, and the run ends."""
    spec = SPEC.changed(recipe=SPEC.recipe.changed(max_attempts=3))
    plan = Plan(spec, only=["occlusion"], limit=24, shard_size=8)
    copies = {(LATE, number): FIRST for number in range(10)}
    folder = begin(tmp_path, plan, copies)
    assert end(folder, plan, copies) == [1, 1, 1]
    assert [row["attempt"] for row in lines(folder, "rejected.jsonl")] == [0, 1, 2]
    found = receipt(folder / "shards" / plan.shards[2].name)
    assert found.unfilled == (LATE,) and found.rows == 7 and verify.main([str(folder)]) == 0


def test_a_shard_of_nothing_but_duplicates_is_made_again(tmp_path):
    copies = {(id, 0): FIRST for id in PLAN.ids(PLAN.shards[1])}
    folder = begin(tmp_path, PLAN, copies)
    assert end(folder, PLAN, copies) == [8] and len(lines(folder, "metadata.jsonl")) == 24


def test_what_another_run_made_beyond_the_plan_stays_and_is_compared_with(tmp_path):
    """A narrower run makes its own pictures again where they are the wider one's, which it could not make."""
    folder, narrow = begin(tmp_path, PLAN), Plan(SPEC, only=["occlusion"], limit=8, shard_size=8)
    assert deduplication.take_back(RawBuild.open(folder), narrow) == 3
    found = {row["id"]: row["detail"] for row in lines(folder, "rejected.jsonl")}
    assert found == {
        FIRST: f"of {IDS[10]}, 0 bits of 64",
        IDS[2]: f"of {IDS[22]}, 0 bits of 64",
        EARLY: f"of {IDS[10]}, 0 bits of 64",
    }


def test_attributes_that_were_built_one_after_the_other_share_no_picture(tmp_path):
    """The second run looks at the first one's pictures too, which lie in other shards."""
    copies = {("pose-left_right-female-00000", 0): FIRST}
    pose = Plan(SPEC, only=["pose/left_right"], limit=8, shard_size=8)
    folder = begin(tmp_path, PLAN, {})
    assert end(folder, PLAN, {}) == []
    assert copies.keys() & {(id, 0) for shard in pose.shards for id in pose.ids(shard)}
    make(folder, pose, copies)
    assert end(folder, pose, copies) == [1]
    rows = lines(folder, "metadata.jsonl")
    assert len(rows) == 32 == len({row["sha256"] for row in rows})


def test_what_was_searched_is_searched_again_only_when_something_was_made(undisturbed, tmp_path, monkeypatch):
    folder = shutil.copytree(undisturbed, tmp_path / "raw")
    monkeypatch.setattr(deduplication, "decide", lambda *_: pytest.fail("looked again"))
    assert deduplication.take_back(RawBuild.open(folder), PLAN) == 0
    monkeypatch.undo()
    make(folder, Plan(SPEC, only=["base"], limit=2, shard_size=8), {})
    raw = RawBuild.open(folder)
    assert not raw.is_searched(raw.finished())


@pytest.mark.parametrize("when", ["never looked", "while they go back", "searched", "torn"])
def test_a_release_of_what_was_not_searched_wants_to_be_asked_for(begun, tmp_path, capsys, when):
    """After a kill every picture may be there, and duplicates too."""
    folder, out = shutil.copytree(begun, tmp_path / "raw"), tmp_path / "out"
    RawBuild.open(folder).note_asked(PLAN)
    arguments = ["--raw", str(folder), "--out", str(out)]
    if when == "while they go back":
        (folder / deduplication.DECIDED).write_text("[]")
    if when in ("searched", "torn"):
        assert end(folder, PLAN) == [5, 1]
    if when == "torn":
        (folder / layout.SEARCHED).write_text("{")
    assert release.main(arguments) == (0 if when == "searched" else 2)
    said = capsys.readouterr().err
    assert ("duplicates have not been looked for" in said) == (when != "searched") and said.count("\n") <= 1
    assert release.main([*arguments, "--partial"]) == 0
    assert dataset_folder.Release(out).searched == (when == "searched")
    unsearched = [str(fault) for fault in lint.check(dataset_folder.Release(out), allow_incomplete=False)]
    assert any("duplicates were not looked for" in fault for fault in unsearched) == (when != "searched")


def test_without_the_check_nothing_is_looked_for(begun):
    before = content(begun)
    spec = SPEC.changed(checks=SPEC.checks.without(["duplicates"]))
    assert deduplication.take_back(RawBuild.open(begun), Plan(spec, only=["occlusion"], limit=24, shard_size=8)) == 0
    assert content(begun) == before


def test_nothing_is_looked_for_while_something_is_missing(begun, tmp_path):
    """Another process is at it and will look by itself: what is there now is not what there will be."""
    folder = shutil.copytree(begun, tmp_path / "raw")
    (folder / "shards" / PLAN.shards[2].name / "receipt.json").unlink()
    before = content(folder)
    assert deduplication.take_back(RawBuild.open(folder), PLAN) is None and content(folder) == before


@pytest.mark.parametrize("name", ["metadata.jsonl", "rejected.jsonl"])
def test_a_damaged_shard_ends_in_one_line(begun, tmp_path, name):
    folder = shutil.copytree(begun, tmp_path / "raw")
    with open(folder / "shards" / PLAN.shards[0].name / name, "a") as file:
        file.write("nonsense\n")
    with pytest.raises(Damaged, match="not what the receipt was written for") as caught:
        deduplication.take_back(RawBuild.open(folder), PLAN)
    assert "\n" not in str(caught.value)


def test_a_damaged_decision_ends_in_one_line_that_says_what_to_do(begun, tmp_path):
    folder = shutil.copytree(begun, tmp_path / "raw")
    (folder / deduplication.DECIDED).write_text("[{")
    with pytest.raises(UserError, match=r"duplicates\.json: damaged \(.*\); remove it"):
        deduplication.resume(RawBuild.open(folder), PLAN)
    (folder / deduplication.DECIDED).unlink()
    assert end(folder, PLAN) == [5, 1]


# Crashes.


class Killed(BaseException):
    """The process is dead."""


@pytest.fixture
def kill(monkeypatch):
    """Kills the process before its n-th change on the disk: from there on every change fails. Returns the count."""
    own = {name: getattr(os, name) for name in ("fsync", "replace", "unlink")}
    state = SimpleNamespace(done=0, last=None)

    def guarded(name):
        def call(path, *arguments, **options):
            if not str(path).endswith(".lock"):
                if state.last is not None and state.done >= state.last:
                    raise Killed
                state.done += 1
            return own[name](path, *arguments, **options)

        return call

    def at(last):
        state.done, state.last = 0, last
        return state

    for name in own:
        monkeypatch.setattr(os, name, guarded(name))
    yield at
    state.last = None


def whole(folder, before):
    """Every picture is as it was, or its try stands among the rejected ones."""
    rows, gone = lines(folder, "metadata.jsonl"), {(r["id"], r["attempt"]) for r in lines(folder, "rejected.jsonl")}
    there = {row["id"]: row for row in rows}
    for id, row in before.items():
        if id in there:
            assert there[id] == row
            assert (id, row["attempt"]) in gone or list(folder.glob(f"shards/*/{row['file_name']}"))
        else:
            assert (id, row["attempt"]) in gone
    assert len(rows) == len(there)


def test_a_crash_at_any_step_loses_nothing_and_changes_nothing(begun, undisturbed, tmp_path, kill):
    """Killed at every single change on the disk while duplicates are taken back, the build ends as if undisturbed."""
    before = {row["id"]: row for row in lines(begun, "metadata.jsonl")}
    state = kill(None)
    deduplication.take_back(RawBuild.open(shutil.copytree(begun, tmp_path / "counted")), PLAN)
    steps, expected = state.done, content(undisturbed)
    assert steps > 20
    for step in range(steps):
        folder = shutil.copytree(begun, tmp_path / str(step))
        kill(step)
        with pytest.raises(Killed):
            deduplication.take_back(RawBuild.open(folder), PLAN)
        kill(None)
        whole(folder, before)
        end(folder, PLAN)
        assert content(folder) == expected, f"killed before step {step} of {steps}"
        shutil.rmtree(folder)


def test_a_torn_line_is_taken_back_again(begun, undisturbed, tmp_path, kill):
    """A crash can leave any part of the rejected tries: those that are whole are gone, the others go later."""
    kill(None)
    folder = shutil.copytree(begun, tmp_path / "raw")
    path = folder / "shards" / PLAN.shards[1].name / "rejected.jsonl"
    step = 0
    while not path.read_bytes():
        kill(None)
        shutil.rmtree(folder)
        shutil.copytree(begun, folder)
        step += 1
        kill(step)
        with pytest.raises(Killed):
            deduplication.take_back(RawBuild.open(folder), PLAN)
    kill(None)
    data = path.read_bytes()
    assert data.count(b"\n") == 2
    for cut in range(0, len(data), 97):
        torn = shutil.copytree(folder, tmp_path / str(cut))
        (torn / path.relative_to(folder)).write_bytes(data[: len(data) - cut])
        end(torn, PLAN)
        assert content(torn) == content(undisturbed)


def test_a_wrong_note_of_duplicates_is_named(begun, tmp_path):
    folder = shutil.copytree(begun, tmp_path / "raw")
    for text in ('[{"a": 1}]', '{"shard": 1}', '[{"shard": {"a": 1}, "losers": {}}]', "3"):
        (folder / deduplication.DECIDED).write_text(text)
        with pytest.raises(UserError, match=r"duplicates.json: damaged \(.*\); remove it"):
            deduplication.resume(RawBuild.open(folder), PLAN)


def test_who_has_just_finished_a_shard_is_waited_for(begun, tmp_path, monkeypatch):
    """Its receipt is there a moment before its lock is let go; a process that keeps the lock is not waited for long."""
    folder = shutil.copytree(begun, tmp_path / "raw")
    paths = [folder / "shards" / shard.name / LOCK for shard in PLAN.shards]
    held = [FileLock(path, thread_local=False) for path in paths]
    for each in held:
        each.acquire()
    monkeypatch.setattr(deduplication, "PATIENCE", 0)
    with pytest.raises(Locked, match="another process is writing here"):
        deduplication.take_back(RawBuild.open(folder), PLAN)
    monkeypatch.setattr(deduplication, "PATIENCE", 60)
    threading.Timer(0.5, lambda: [each.release() for each in held]).start()
    assert deduplication.take_back(RawBuild.open(folder), PLAN) == 5
