"""A copy of a shard is nothing that was made: it is refused, and the originals stay as they are."""

import shutil

import pytest

from builder.common.errors import UserError
from builder.dataset import packing
from builder.generation import deduplication
from builder.raw.build import RawBuild
from tests.experiments.kill import content
from tests.fixtures import standin
from tests.fixtures.inside import build

FEW = ["--model", "preview", "--only", "base", "--limit", "32", "--shard-size", "16"]


@pytest.fixture
def raw(tmp_path):
    """A finished build of two shards."""
    build(tmp_path, *FEW, load=standin.StandIn, checks=standin.checks)
    return tmp_path / "agfd30k-raw"


def copy(raw, name):
    return shutil.copytree(raw / "shards" / "base-00000", raw / "shards" / name)


def test_a_folder_that_is_no_shard_of_the_plan_is_refused(raw, tmp_path):
    """By a run, by the search for duplicates, and by the release."""
    before, place = content(tmp_path), copy(raw, "base-99999")
    with pytest.raises(RuntimeError, match=r"base-99999: is no shard of this build's plan"):
        build(tmp_path, *FEW, "--limit", "48", load=standin.StandIn, checks=standin.checks)
    opened = RawBuild.open(raw)
    (raw / "searched.json").unlink()
    for call in (lambda: deduplication.take_back(opened, opened.asked), lambda: packing.pack(opened, tmp_path / "new")):
        with pytest.raises(UserError, match=r"base-99999: is no shard of this build's plan, perhaps a copy"):
            call()
    shutil.rmtree(place)
    build(tmp_path, *FEW, load=standin.StandIn, checks=standin.checks)
    assert content(tmp_path) == before


def test_a_copy_under_the_name_of_a_shard_takes_nothing_back(raw, tmp_path):
    """Its rows are not this shard's: no picture is a duplicate of itself, and no release has an id twice."""
    copy(raw, "base-00002")
    before = content(tmp_path)
    opened = RawBuild.open(raw)
    (raw / "searched.json").unlink()
    with pytest.raises(UserError, match="does not belong to this shard"):
        deduplication.take_back(opened, opened.asked)
    with pytest.raises(UserError, match="does not belong to this shard"):
        packing.pack(opened, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    kept = {name: data for name, data in content(tmp_path).items() if not name.endswith("searched.json")}
    assert kept == {name: data for name, data in before.items() if not name.endswith("searched.json")}
