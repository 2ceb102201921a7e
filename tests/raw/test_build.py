"""A raw folder, opened: what of a plan must be there before it is released."""

import pickle
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


def test_no_ids_are_kept_of_finished_shards(tmp_path):
    """They would take more memory than all else that is known of a picture; those that were given up are few."""
    plan = write_raw(tmp_path / "raw", limit=24, shard_size=8)
    finished = RawBuild.open(tmp_path / "raw").finished()
    given_up = {id for facts in finished.values() for id in facts.unfilled}
    ids = {id for shard in plan.shards for id in plan.ids(shard)} - given_up
    kept = pickle.dumps(finished)
    assert len(ids) > 10 and not [id for id in ids if id.encode() in kept]
