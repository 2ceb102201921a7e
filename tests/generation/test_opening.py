"""When a shard is opened: not before something of it is wanted, for whoever has it open keeps others from it."""

import pytest

from builder.generation.batches import Work
from builder.plan.plan import Plan
from builder.raw.rows import Rules
from builder.raw.shard_writer import ShardWriter
from builder.spec import table
from tests.fixtures import builds

PLAN = Plan(table.load(), only=["hair/blond"], scale=0.1, shard_size=16)
SHARDS = PLAN.shards[:3]


@pytest.fixture
def opened(tmp_path):
    """The names of the shards that were opened, and the work that opens them."""
    names = []

    def open_shard(shard):
        names.append(shard.name)
        return ShardWriter(tmp_path / shard.name, Rules(PLAN.whole(shard), PLAN, "png", builds.made_by(tmp_path)))

    with Work(SHARDS, PLAN, open_shard, lambda opened: None) as work:
        yield names, work


def test_a_shard_is_opened_when_those_before_cannot_fill_the_batch(opened):
    names, work = opened
    sizes = [len(PLAN.asked(shard)) for shard in SHARDS]
    work.next(sizes[0] - 1)
    assert names == [SHARDS[0].name]
    work.next(1)
    assert names == [SHARDS[0].name]  # the batch is full: the next one may be another process's
    work.next(1)
    assert names == [shard.name for shard in SHARDS[:2]]
    work.next(sizes[1] + 1)
    assert names == [shard.name for shard in SHARDS]
