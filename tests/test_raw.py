"""The raw folder: its recipe guards it, and rows are counted as they come."""

import dataclasses
import os

import pytest
from builds import SETTINGS, SOURCE, own_table, write_raw, write_shard

from builder import UserError, raw, release, table
from builder.models import Source
from builder.plan import Plan

SPEC = table.load()


def test_a_recipe_gives_back_its_table(tmp_path):
    """What recipe.json holds is the whole table: read back, it plans the same samples."""
    for spec in (SPEC, own_table(tmp_path)[1]):
        document = raw.document(spec, SOURCE, "", **SETTINGS)
        assert raw.spec_of(document) == spec
        assert raw.document(raw.spec_of(document), SOURCE, "", **SETTINGS)["fingerprint"] == document["fingerprint"]


def test_a_local_model_is_known_by_its_content_not_its_place():
    """The folder may move, and no path of this machine gets into the recipe."""
    documents = []
    for place in ("/one/model", "/two/model"):
        spec = dataclasses.replace(SPEC, recipe=dataclasses.replace(SPEC.recipe, model=place))
        documents.append(raw.document(spec, Source("folder", "model", place, "sha256:1"), "", **SETTINGS))
    assert documents[0] == documents[1] and "/one" not in str(documents[0])


def test_a_hub_model_keeps_the_commit_the_build_began_with(tmp_path):
    source = Source("hub", SPEC.recipe.model, SPEC.recipe.model, "c0ffee")
    raw.begin(tmp_path, raw.document(SPEC, source, "", **SETTINGS))
    assert raw.recorded_source(tmp_path, SPEC.recipe.model, "main") == source
    assert raw.recorded_source(tmp_path, SPEC.recipe.model, "v2") is None
    assert raw.recorded_source(tmp_path, "other/model", "main") is None


def test_another_commit_of_the_model_is_another_recipe(tmp_path):
    raw.begin(tmp_path, raw.document(SPEC, Source("hub", "a/b", "a/b", "1111"), "", **SETTINGS))
    with pytest.raises(UserError, match=r'model.revision: "1111" there, "2222" here'):
        raw.begin(tmp_path, raw.document(SPEC, Source("hub", "a/b", "a/b", "2222"), "", **SETTINGS))


def test_shards_without_a_recipe_are_not_adopted(tmp_path):
    (tmp_path / "shards").mkdir()
    with pytest.raises(UserError, match=r"has shards but no recipe.json"):
        raw.begin(tmp_path, raw.document(SPEC, SOURCE, "", **SETTINGS))


def test_unfinished_lists_what_the_latest_run_was_asked_for(tmp_path):
    plan = write_raw(tmp_path, only=["base"], scale=0.02)
    assert raw.unfinished(tmp_path) == []
    raw.note_asked(tmp_path, Plan(SPEC, only=["base"], scale=0.03, shard_size=16))
    assert raw.unfinished(tmp_path) == [shard.name for shard in Plan(SPEC, ["base"], 0.03, None, 16).shards][2:]
    assert plan.chosen == 32


def test_rows_are_counted_once_while_shards_grow_finish_and_tear(tmp_path):
    """Whole lines count, half a line does not, and a finished shard, whose rows were put into order, counts anew."""
    plan = Plan(SPEC, only=["base"], scale=0.02, shard_size=16)
    shard, count = plan.shards[0], raw.RowCount(tmp_path)
    path = tmp_path / "shards" / shard.name / "metadata.jsonl"
    assert count(plan.shards) == 0
    for _ in range(2):
        write_shard(tmp_path, plan, shard, batches=1, finish=False)
        assert count(plan.shards) == path.read_bytes().count(b"\n")
    with open(path, "ab") as file:
        file.write(b'{"half')
    assert count(plan.shards) == path.read_bytes().count(b"\n")
    write_shard(tmp_path, plan, shard)
    assert count(plan.shards) == 16
    os.utime(path)
    assert count(plan.shards) == 16


def test_what_changes_no_picture_is_taken_over(tmp_path):
    """A new licence, or a comment in the table, goes into the recipe and the next release; nothing is made again."""
    path, spec = own_table(tmp_path)
    write_raw(tmp_path / "raw", spec, path.read_text())
    release.make(tmp_path / "raw", tmp_path / "out")
    path.write_text('license = "cc0-1.0"\n' + path.read_text())
    raw.begin(tmp_path / "raw", raw.document(table.load(path), SOURCE, path.read_text(), **SETTINGS))
    assert release.make(tmp_path / "raw", tmp_path / "out")[1]
    assert "\nlicense: cc0-1.0\n" in (tmp_path / "out/README.md").read_text()
    assert table.load(tmp_path / "out/recipe.toml").license == "cc0-1.0"
    assert not release.make(tmp_path / "raw", tmp_path / "out")[1]
