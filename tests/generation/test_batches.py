"""Batches are full over the borders of shards, nothing is tried twice at a time, and every shard is finished once."""

import pytest

from builder.generation.batches import Work
from builder.plan.plan import Plan
from builder.raw.build import RawBuild
from builder.raw.rows import Rules, rejection
from builder.raw.shard_writer import ShardWriter
from builder.spec import table
from tests.fixtures import builds

PLAN = Plan(table.load(), only=["hair/blond"], scale=0.1, shard_size=16)
SHARDS = PLAN.shards[:4]


@pytest.fixture
def work(tmp_path):
    """Work on four shards; `work.finished` names those that were finished."""

    def open_shard(shard):
        return ShardWriter(tmp_path / shard.name, Rules(PLAN.whole(shard), PLAN, "png", builds.made_by(tmp_path)))

    finished = []
    with Work(SHARDS, PLAN, open_shard, lambda opened: finished.append(opened.shard.name)) as made:
        made.finished = finished
        yield made


def settle(work, tries, failing=()):
    """Commit tries, those of `failing` as rejected."""
    for opened in {id(each.opened): each.opened for each in tries}.values():
        own = [each.attempt for each in tries if each.opened is opened]
        rows = [builds.write(opened.writer, attempt) for attempt in own if attempt.sample.id not in failing]
        opened.writer.commit(rows, [rejection(a, "refused") for a in own if a.sample.id in failing])
    work.settled(tries)


def test_batches_go_over_borders_and_only_the_last_is_smaller(work):
    asked = [sample.id for shard in SHARDS for sample in PLAN.asked(shard)]
    sizes, made = [], []
    while tries := work.next(5):
        sizes.append(len(tries))
        made += [each.attempt.sample.id for each in tries]
        settle(work, tries)
    assert made == asked
    assert sizes == [5] * (len(asked) // 5) + [len(asked) % 5] * (len(asked) % 5 > 0)
    assert work.finished == [shard.name for shard in SHARDS] and work.open == []


def test_what_is_being_settled_is_not_chosen_again(work):
    """Two batches are under way at a time: the next one is made of others, and a rejected try comes back after."""
    first, second = work.next(4), work.next(4)
    ids = [each.attempt.sample.id for each in (*first, *second)]
    assert len(set(ids)) == 8
    settle(work, first, failing={ids[0]})
    third = work.next(4)
    again = third[0].attempt
    assert (again.sample.id, again.number) == (ids[0], 1)
    assert not {each.attempt.sample.id for each in third} & set(ids[1:])


def test_a_shard_is_not_finished_while_one_of_its_tries_is_out(work):
    size = len(PLAN.asked(SHARDS[0]))
    tries = work.next(size)
    settle(work, tries[:-1])
    work.next(1)
    assert work.finished == []
    settle(work, tries[-1:])
    work.next(1)
    assert work.finished == [SHARDS[0].name]


def test_a_shard_that_lacks_nothing_but_its_receipt_is_finished(work, tmp_path):
    """A process may have died between the last row and the receipt."""
    for shard in SHARDS:
        with ShardWriter(
            tmp_path / shard.name, Rules(PLAN.whole(shard), PLAN, "png", builds.made_by(tmp_path))
        ) as writer:
            writer.commit([builds.write(writer, attempt) for attempt in writer.pending(PLAN.asked(shard))], [])
    assert work.next(5) == []
    assert work.finished == [shard.name for shard in SHARDS] and work.open == []


def test_a_shard_that_another_process_has_is_left_out_and_named(work, tmp_path):
    shard = SHARDS[1]
    with ShardWriter(tmp_path / shard.name, Rules(PLAN.whole(shard), PLAN, "png", builds.made_by(tmp_path))):
        tries = work.next(1000)
    assert {each.opened.shard for each in tries} == {*SHARDS} - {shard}


def test_locks_are_let_go_at_the_end(work, tmp_path):
    work.next(1000)
    work.__exit__()
    for shard in SHARDS:
        with ShardWriter(tmp_path / shard.name, Rules(PLAN.whole(shard), PLAN, "png", builds.made_by(tmp_path))):
            pass


def test_what_is_settled_while_the_next_batch_is_chosen_is_not_chosen_again(work, monkeypatch):
    """A batch is committed by another thread, just when the rows have been read that lack it."""
    first = work.next(4)
    read = ShardWriter.pending

    def pending(writer, asked):
        found = read(writer, asked)
        if first[0].attempt.sample.id in work.busy:
            settle(work, first)
        return found

    monkeypatch.setattr(ShardWriter, "pending", pending)
    second = work.next(4)
    assert not {each.attempt.sample.id for each in second} & {each.attempt.sample.id for each in first}


def test_a_shard_that_another_has_just_finished_keeps_its_receipt(tmp_path):
    """It was not done when this process looked, and is done when the lock is there."""
    shard = SHARDS[0]
    raw = RawBuild.begin(tmp_path, builds.recipe_of(PLAN.spec))
    late = raw.writer(PLAN, shard, anew=False)
    builds.write_shard(tmp_path, PLAN, shard)
    with Work([shard], PLAN, lambda shard: late, lambda opened: pytest.fail("it was opened")) as work:
        assert work.next(1) == []
    assert raw.is_done(PLAN, shard)
