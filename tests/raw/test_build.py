"""A raw folder, opened: what of a plan must be there before it is released."""

import shutil

import pytest

from builder.raw.build import RawBuild
from builder.raw.receipts import Reopened
from tests.fixtures.builds import write_raw


def test_a_shard_of_which_nothing_was_asked_need_not_be_there(tmp_path):
    """--limit leaves shards without a picture, which no run ever makes."""
    plan = write_raw(tmp_path / "raw", limit=24, shard_size=8)
    raw = RawBuild.open(tmp_path / "raw")
    empty = [shard for shard in plan.shards if not plan.ids(shard)]
    assert empty
    for shard in empty:
        shutil.rmtree(raw.shard_folder(shard))
    raw.require_done(raw.finished(), plan)
    (raw.shard_folder(plan.shards[0]) / "receipt.json").unlink()
    with pytest.raises(Reopened):
        raw.require_done(raw.finished(), plan)
