"""Builds with twins: made beside what they are twins of, or added later, and the same however the work went."""

import json
import pickle
import shutil
from dataclasses import replace

import pytest

import agfd30k
from builder.common.errors import UserError
from builder.dataset.statistics import ChecksReport
from builder.generation.build_models import BuildModels
from builder.generation.config import GenerateConfig
from builder.generation.worker import Run
from builder.lint import main as lint
from builder.models.identity import Source
from builder.plan.plan import Plan
from builder.plan.sample import Result
from builder.raw.build import RawBuild
from builder.raw.receipts import Reopened
from builder.raw.rows import NO_TWIN, NOTHING_TO_TWIN
from builder.spec import table
from builder.verify import main as verify
from tests.experiments.kill import content, lines
from tests.fixtures import builds, inside, standin
from tests.fixtures.shared import shared

PART = ["--model", "preview", "--only", "occlusion", "--scale", "0.05", "--shard-size", "16", "--batch-size", "4"]
TWINS = [*PART, "--twins"]


class Picky(standin.StandIn):
    """Twins look like nothing else, and some of them are refused."""

    def make(self, attempt):
        result = super().make(attempt)
        if attempt.sample.twin_of is None:
            return result
        refused = attempt.seed % 7 == 5
        return Result(attempt, None, "refused") if refused else Result(attempt, builds.picture_of(attempt.seed + 1))


def run(folder, *arguments):
    folder.mkdir(exist_ok=True)
    inside.build(folder, *standin.small(arguments), load=Picky, checks=standin.checks)


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """A build with twins, in one go."""
    return shared(tmp_path_factory, "twins", lambda folder: run(folder, *TWINS))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The same without twins."""
    return shared(tmp_path_factory, "no twins", lambda folder: run(folder, *PART))


def rows(folder):
    return {row["id"]: row for row in lines(folder, "metadata.jsonl")}


def own(folder):
    """What a build holds but for its notes and its twins."""
    parts = content(folder).items()
    return {name: data for name, data in parts if "/shards/" in name and "/twins-" not in name}


def test_what_twins_are_of_is_as_without_them(build, plain):
    assert own(build) == own(plain) and own(build)


def test_a_twin_has_the_seed_of_its_picture_or_of_the_next_try_that_passed(build):
    """Pictures that were duplicates were made again, and their twins after them."""
    made, rejected = rows(build), lines(build, "rejected.jsonl")
    gone = {(row["id"], row["attempt"]) for row in rejected}
    twins = [row for row in made.values() if row["twin_of"]]
    assert len(twins) == 180 == len(made) / 2 and {row["twin_of"] for row in twins} == made.keys() - {
        row["id"] for row in twins
    }
    for row in twins:
        first = made[row["twin_of"]]["attempt"]
        assert row["attempt"] >= first
        assert all((row["id"], attempt) in gone for attempt in range(first, row["attempt"]))
    same = sum(row["seed"] == made[row["twin_of"]]["seed"] for row in twins)
    assert 0.8 * len(twins) < same < len(twins)
    assert any(row["reason"] == NO_TWIN for row in rejected)


def test_twins_are_added_to_a_build_and_stay_in_it(build, plain, tmp_path):
    """Added later they are the very same, and a run without them leaves everything there."""
    folder = shutil.copytree(plain, tmp_path / "build")
    run(folder, *TWINS)
    assert rows(folder) == rows(build) and own(folder) == own(plain)
    release = {name: data for name, data in content(folder).items() if name.startswith("agfd30k/")}
    run(folder, *PART)
    assert {name: data for name, data in content(folder).items() if name.startswith("agfd30k/")} == release
    assert verify([str(folder / "agfd30k-raw")]) == 0


def test_a_search_without_twins_is_none_with_them(build, tmp_path):
    """A run without twins may have made a picture again, so the next one with twins looks at them anew."""
    raw = RawBuild.open(shutil.copytree(build / "agfd30k-raw", tmp_path / "raw"))
    finished = raw.finished()
    assert raw.is_searched(finished, twins=True) and raw.is_searched(finished)
    raw.note_searched(finished, twins=False)
    assert raw.is_searched(finished) and not raw.is_searched(finished, twins=True)
    with pytest.raises(UserError, match="duplicates have not been looked for"):
        raw.require_complete()


def test_twins_wait_for_a_shard_that_is_open(build, tmp_path):
    """Nothing is said of what its pictures' tries were while another process adds to them; and the error travels. To
    take a twin back nobody asks for them: the picture may have gone just before.
    """
    raw = RawBuild.open(shutil.copytree(build / "agfd30k-raw", tmp_path / "raw"))
    shard = next(shard for shard in raw.plan.shards if raw.shard_folder(shard) in raw.finished())
    assert raw.first_tries(shard)
    (raw.shard_folder(shard) / "receipt.json").unlink()
    with pytest.raises(Reopened) as caught:
        raw.first_tries(shard)
    with pytest.raises(Reopened):
        raw.writer(raw.plan, shard.twins, anew=False)
    with raw.writer(raw.plan, shard.twins) as writer:
        assert writer.rows
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is Reopened and str(again) == str(caught.value)


def test_the_release_has_them_as_a_config_that_lint_accepts(build, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(build)
    assert lint(["agfd30k", "--allow-preview", "--allow-incomplete"]) == 0
    twins = agfd30k.load_dataset("twins", data_dir="agfd30k", cache_dir=tmp_path)
    everything = agfd30k.load_dataset("all", data_dir="agfd30k", cache_dir=tmp_path)
    for split, some in twins.items():
        ids = dict(zip(everything[split]["id"], everything[split]["twin_of"]))
        assert set(some["twin_of"]) <= ids.keys() and all(ids[id] == of for id, of in zip(some["id"], some["twin_of"]))
        assert {some.features[name].int2str(code) for name in ("feature",) for code in some[name]} == {"twin"}
    raw = agfd30k.load_dataset("twins", data_dir="agfd30k-raw", cache_dir=tmp_path)
    assert raw["test"]["id"] == twins["test"]["id"] and raw["test"].features == twins["test"].features
    counts = {row.feature: row for row in ChecksReport.read(build / "agfd30k").features}
    assert counts["twin"].made == 180 == counts["twin"].asked
    card = (build / "agfd30k" / "README.md").read_text()
    made = rows(build)
    pairs = [row for row in made.values() if (row["twin_of"] or "").startswith("occlusion-only_mask-")]
    same = sum(row["seed"] == made[row["twin_of"]]["seed"] for row in pairs)
    assert f"| only_mask | {len(pairs)} | {len(pairs)} | {same} |" in card


def test_a_release_without_twins_says_nothing_of_them(plain):
    assert "twin" not in (plain / "agfd30k" / "README.md").read_text()
    assert "twin_of" not in agfd30k.load_dataset("metadata", data_dir=plain / "agfd30k", split="test").features


def test_what_was_given_up_has_no_twin(tmp_path):
    """With one try for a picture a fifth is given up, and twins of these are not tried."""
    path = tmp_path / "few.toml"
    path.write_text(builds.small_table().read_text().replace("max_attempts = 10", "max_attempts = 1"))
    folder = tmp_path / "build"
    run(folder, *TWINS, "--spec", str(path))
    made, rejected = rows(folder), lines(folder, "rejected.jsonl")
    lost = {row["id"] for row in rejected if not row["id"].startswith("twins-")}
    twins = {"-".join(["twins", *id.split("-")[1:]]) for id in lost}
    untried = {row["id"] for row in rejected if row["reason"] == NOTHING_TO_TWIN}
    assert lost and untried < twins and not twins & made.keys()
    assert any(row["reason"] == NO_TWIN and row["id"] in twins for row in rejected)
    receipts = [json.loads(path.read_text()) for path in folder.glob("agfd30k-raw/shards/twins-*/receipt.json")]
    assert twins <= {id for facts in receipts for id in facts["unfilled"]}
    assert verify([str(folder / "agfd30k-raw")]) == 0


def test_a_finished_build_of_an_older_version_needs_no_model(tmp_path, monkeypatch):
    """Its recipe says no template, which changes none of its pictures; twins it has none, and they can be added."""
    toml = builds.small_table()
    spec = table.load(toml)
    plan = Plan(spec, only=["hair"], limit=8, shard_size=16)
    source = Source("hub", spec.recipe.model, spec.recipe.model, "c0ffee")
    raw = RawBuild.begin(tmp_path, builds.recipe_of(spec.changed(template=None), source, toml.read_text()))
    for shard in plan.shards:
        builds.write_shard(tmp_path, plan, shard, recipe=raw.recipe)
    config = GenerateConfig(raw=tmp_path, table=toml, only=("hair",), limit=8, shard_size=16)
    monkeypatch.setattr(BuildModels, "of", lambda *_: pytest.fail("a model was looked for"))
    assert Run(config).is_finished and Run(config).raw.fingerprint == raw.fingerprint
    with pytest.raises(pytest.fail.Exception, match="a model was looked for"):
        Run(replace(config, twins=True))
