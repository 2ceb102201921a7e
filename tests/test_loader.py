"""The loader: the same pictures and labels from a release, from a raw build and through a script, on every datasets."""

import doctest
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st

import agfd30k
from builder.dataset import packing
from builder.plan.plan import Plan
from builder.raw.build import RawBuild
from builder.spec import table
from tests.fixtures.builds import own_table, write_raw, write_shard

SCRIPTS_RUN = int(datasets.__version__.split(".")[0]) < 4
LOADER = Path(agfd30k.__file__).resolve()
OLD_DATASETS = LOADER.parent / ".venv-datasets3" / "bin" / "python"
BY_THE_OLD = """
import sys
import agfd30k, datasets
loader, config, folder = sys.argv[1:]
for streaming in (False, True):
    options = {"data_dir": folder, "streaming": streaming}
    script = datasets.load_dataset(loader, config, trust_remote_code=True, **options)
    for loaded in (script, agfd30k.load_dataset(config, **options)):
        assert loaded["train"].features == agfd30k.features(config=config)
        print(*sorted(row["id"] for rows in loaded.values() for row in rows))
"""
CONFIGS = ["age", "emotion", "occlusion", "illumination", "pose", "hair", "others", "base", "all", "metadata"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with a raw build and its release, as the user has it."""
    folder = tmp_path_factory.mktemp("built")
    write_raw(folder / "agfd30k-raw", scale=0.01)
    packing.pack(RawBuild.open(folder / "agfd30k-raw"), folder / "agfd30k")
    return folder


@pytest.fixture(autouse=True)
def here(built, tmp_path, monkeypatch):
    """Work in that folder, with a cache of one's own."""
    monkeypatch.chdir(built)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_MODULES_CACHE", str(tmp_path / "modules"))


def ids(loaded):
    return {split: sorted(rows["id"]) for split, rows in loaded.items()}


def expected(config):
    rows = [row for shard in agfd30k.shards(Path("agfd30k-raw")) for row in agfd30k.read_rows(shard)]
    return {
        split: sorted(r["id"] for r in rows if r["split"] == split and config in (r["attribute"], "all", "metadata"))
        for split in agfd30k.SPLITS
    } | {}


@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_loads_the_same_from_release_raw_and_without_a_script(config):
    wanted = {split: found for split, found in expected(config if config != "metadata" else "all").items() if found}
    loaded = datasets.load_dataset("agfd30k", config)
    assert ids(loaded) == wanted
    for folder in ("agfd30k", "agfd30k-raw"):
        same = agfd30k.load_dataset(config, data_dir=folder)
        assert ids(same) == wanted
        assert same["train"].features == loaded["train"].features == agfd30k.features(config=config)
    if config != "metadata":
        assert loaded["train"][0]["image"].size == (16, 16)


@pytest.mark.skipif(not SCRIPTS_RUN, reason="datasets 4 and newer run no loading scripts")
@pytest.mark.parametrize("folder", ["agfd30k", "agfd30k-raw"])
def test_as_a_loading_script(folder):
    for config in CONFIGS:
        wanted = agfd30k.load_dataset(config, data_dir=folder)
        for streaming in (False, True):
            loaded = datasets.load_dataset(
                str(LOADER), config, data_dir=folder, trust_remote_code=True, streaming=streaming
            )
            found = {split: sorted(row["id"] for row in rows) for split, rows in loaded.items()}
            assert found == ids(wanted)


@pytest.mark.skipif(not OLD_DATASETS.exists(), reason="make test builds the environment")
@pytest.mark.parametrize("folder", ["agfd30k", "agfd30k-raw"])
@pytest.mark.parametrize("config", ["occlusion", "metadata"])
def test_an_older_datasets_loads_what_a_newer_one_wrote(tmp_path, folder, config):
    """As a loading script and through the module, streamed and not."""
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_DATASETS_OFFLINE": "1", "PYTHONPATH": str(LOADER.parent)}
    command = [OLD_DATASETS, "-c", BY_THE_OLD, LOADER, config, folder]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wanted = sorted(id for found in ids(agfd30k.load_dataset(config, data_dir=folder)).values() for id in found)
    assert [line.split() for line in done.stdout.splitlines()] == [wanted] * 4


@pytest.mark.parametrize("folder", ["agfd30k", "agfd30k-raw"])
def test_streaming_gives_the_same_rows_and_pictures(folder):
    loaded = agfd30k.load_dataset("occlusion", data_dir=folder, split="train")
    streamed = list(agfd30k.load_dataset("occlusion", data_dir=folder, split="train", streaming=True))
    assert [row["id"] for row in streamed] == loaded["id"]
    assert streamed[0]["image"].tobytes() == loaded[0]["image"].tobytes()


@pytest.mark.parametrize("folder", ["agfd30k", "agfd30k-raw"])
def test_several_processes_load_the_same_rows(folder):
    one = agfd30k.load_dataset("all", data_dir=folder, split="train")
    two = agfd30k.load_dataset("all", data_dir=folder, split="train", num_proc=2, cache_dir="cache2")
    assert sorted(one["id"]) == sorted(two["id"])


def test_the_release_is_preferred_to_the_raw_build(built):
    assert agfd30k.AGFD30K("age").folder == (built / "agfd30k").resolve()


def test_an_unknown_config_lists_the_good_ones():
    with pytest.raises(ValueError, match=r"no config 'hats' in .*: choose one of age, emotion, .*, all, metadata"):
        agfd30k.load_dataset("hats")


def test_a_folder_that_is_not_there_says_how_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"accelerate launch builder/generate.py"):
        agfd30k.load_dataset("age", data_dir=str(tmp_path))


def test_a_half_built_raw_folder_loads_what_is_committed(tmp_path):
    """Rows count, receipts do not; half a row at the end is not a row."""
    plan = Plan(table.load(), only=["occlusion"], scale=0.05, shard_size=16)
    write_raw(tmp_path / "raw", only=["occlusion"], limit=1)
    write_shard(tmp_path / "raw", plan, plan.shards[0], batches=2, finish=False)
    rows = tmp_path / "raw/shards" / plan.shards[0].name / "metadata.jsonl"
    committed = [json.loads(line)["id"] for line in rows.read_text().splitlines()]
    rows.write_text(rows.read_text() + '{"file_name": "images/x.png", "id": "occl')
    loaded = agfd30k.load_dataset("occlusion", data_dir=str(tmp_path / "raw"))
    assert sorted(id for split in ids(loaded).values() for id in split) == sorted(committed)


def test_a_build_without_a_picture_says_so(tmp_path):
    write_raw(tmp_path / "raw", only=["base"], limit=1)
    shutil.rmtree(tmp_path / "raw/shards")
    with pytest.raises(ValueError, match="no picture is committed"):
        agfd30k.load_dataset("base", data_dir=str(tmp_path / "raw"))


@pytest.mark.parametrize("name", ["../../secret.png", "/etc/passwd", "images/../../../x.png"])
def test_a_path_that_leaves_its_shard_is_refused(tmp_path, name):
    write_raw(tmp_path / "raw", only=["base"], limit=4)
    rows = next((tmp_path / "raw/shards").glob("*/metadata.jsonl"))
    row = json.loads(rows.read_text().splitlines()[0])
    rows.write_text(json.dumps({**row, "file_name": name}) + "\n")
    with pytest.raises(Exception, match=r"lies outside its shard|error occurred while generating") as error:
        agfd30k.load_dataset("base", data_dir=str(tmp_path / "raw"))
    assert "outside its shard" in str(error.value) + str(error.value.__cause__)


def test_a_link_that_leaves_its_shard_is_refused(tmp_path):
    write_raw(tmp_path / "raw", only=["base"], limit=4)
    picture = next((tmp_path / "raw/shards").glob("*/images/*.png"))
    picture.unlink()
    picture.symlink_to("/etc/hostname")
    row = {"id": picture.stem, "file_name": f"images/{picture.name}"}
    with pytest.raises(ValueError, match="lies outside its shard"):
        agfd30k.picture(picture.parent.parent, row)


@pytest.mark.parametrize("kind", ["agfd30k", "agfd30k-raw"])
def test_changed_data_is_never_served_from_the_cache(tmp_path, monkeypatch, kind):
    """The same folder, rebuilt with other rows, loads the other rows: with and without the builder class."""
    monkeypatch.chdir(tmp_path)
    for scale in (0.01, 0.02):
        plan = write_raw(Path("agfd30k-raw"), only=["base"], scale=scale)
        packing.pack(RawBuild.open(Path("agfd30k-raw")), Path("agfd30k"))
        assert sum(len(rows) for rows in agfd30k.load_dataset("base", data_dir=kind).values()) == plan.chosen
        assert sum(len(rows) for rows in datasets.load_dataset("./agfd30k", "base").values()) == plan.chosen


def test_a_users_own_table_loads_with_its_own_configs_and_labels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, spec = own_table(tmp_path)
    write_raw(Path("raw"), spec, path.read_text())
    packing.pack(RawBuild.open(Path("raw")), Path("fruit"))
    for folder in ("raw", "fruit"):
        loaded = agfd30k.load_dataset("fruit", data_dir=folder, split="train")
        assert loaded.features["feature"].names == ["banana", "tea"]
        assert set(loaded["feature"]) == {0} and loaded.features["ethnicity"].names == ["maori", "inuit"]
    assert set(datasets.load_dataset("./fruit", "drink", split="test")["age"]) <= {30, 70}


def test_twins_are_a_config_and_a_column_of_all(tmp_path, monkeypatch):
    """From the release, the raw build and without a script: what each is the twin of lies in the same split."""
    monkeypatch.chdir(tmp_path)
    toml, spec = own_table(tmp_path)
    write_raw(Path("agfd30k-raw"), spec, toml.read_text(), twins=True)
    packing.pack(RawBuild.open(Path("agfd30k-raw")), tmp_path / "agfd30k")
    release, raw = (agfd30k.load_dataset("twins", data_dir=name) for name in ("agfd30k", "agfd30k-raw"))
    plain = datasets.load_dataset(str(tmp_path / "agfd30k"), "twins")
    assert ids(release) == ids(raw) == ids(plain) and release["train"].features == raw["train"].features
    assert release["train"].features["attribute"].names == ["fruit", "drink", "twins"]
    everything = agfd30k.load_dataset("all", data_dir="agfd30k")
    assert sum(map(len, everything.values())) == 2 * sum(map(len, release.values())) == 80
    for split, rows in release.items():
        others = dict(zip(everything[split]["id"], everything[split]["twin_of"]))
        assert all(others[id] == of and others[of] is None for id, of in zip(rows["id"], rows["twin_of"]))
    fruit = agfd30k.load_dataset("fruit", data_dir="agfd30k", split="train")
    assert not any(fruit["twin_of"]) and all(id.startswith("fruit-") for id in fruit["id"])


def test_a_folder_named_agfd30k_does_not_hide_the_module(built):
    """In the folder where `load_dataset("agfd30k", ...)` works, `import agfd30k` finds the module."""
    code = "import agfd30k; print(len(agfd30k.load_dataset('base', split='train')))"
    environment = {**os.environ, "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=built, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) == len(agfd30k.load_dataset("base", split="train"))


def test_a_copy_of_a_shard_is_not_loaded(tmp_path):
    """A backup beside the shards of a raw build is no part of it."""
    plan = write_raw(tmp_path / "raw", only=["base"], limit=2)
    first = tmp_path / "raw/shards" / plan.shards[0].name
    shutil.copytree(first, first.with_name(f"{first.name} (copy)"))
    for config in ("base", "all"):
        found = agfd30k.load_dataset(config, data_dir=tmp_path / "raw", cache_dir=tmp_path / "cache")
        assert sum(map(len, found.values())) == 2


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("data_dir", ["agfd30k", "agfd30k-raw"])
def test_a_part_is_the_same_rows_wherever_they_come_from(data_dir, streaming):
    """Of every split, of one split, from disk or streamed, with pictures or without, in the order of the rows."""
    whole = agfd30k.load_dataset("all", data_dir)
    wanted = {s: [id for id in rows["id"] if agfd30k.is_chosen(id, 0.3, seed=2)] for s, rows in whole.items()}
    faces = agfd30k.load_dataset("all", data_dir, streaming=streaming)
    part = agfd30k.subsample(faces, 0.3, seed=2)
    assert type(part) is type(faces) and part["train"].features == faces["train"].features
    assert {split: [row["id"] for row in rows] for split, rows in part.items()} == wanted
    assert 0 < len(wanted["train"]) < len(whole["train"]) / 2
    train = agfd30k.subsample(faces["train"].with_format("torch" if "torch" in sys.modules else None), 0.3, seed=2)
    assert type(train) is type(faces["train"]) and [row["id"] for row in train] == wanted["train"]
    config = whole["train"].features["attribute"].names[2]
    one = agfd30k.subsample(agfd30k.load_dataset(config, data_dir, split="train", streaming=streaming), 0.3, seed=2)
    assert sorted(row["id"] for row in one) == sorted(id for id in wanted["train"] if id.startswith(config))


def test_a_part_of_shuffled_rows_has_their_order():
    """And chosen again it stays what it is."""
    faces = agfd30k.load_dataset("metadata", split="train").shuffle(seed=1)
    part = agfd30k.subsample(faces, 0.5)
    assert list(part["id"]) == [id for id in faces["id"] if agfd30k.is_chosen(id, 0.5)]
    assert list(agfd30k.subsample(part, 0.5)["id"]) == list(part["id"])
    assert len(agfd30k.subsample(faces, 1)) == len(faces) and len(agfd30k.subsample(faces, 0)) == 0


@pytest.mark.parametrize("share", [-0.1, 1.5, 10, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="a share goes from 0 to 1"):
        agfd30k.subsample(agfd30k.load_dataset("metadata"), share)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_part_needs_the_ids(streaming):
    faces = agfd30k.load_dataset("metadata", streaming=streaming).select_columns(["feature"])
    with pytest.raises(ValueError, match="chosen by their `id`"):
        agfd30k.subsample(faces, 0.5)


@given(st.text(), st.floats(0, 1), st.floats(0, 1), st.integers())
def test_a_smaller_part_lies_within_a_larger_one(id, one, other, seed):
    assert agfd30k.is_chosen(id, min(one, other), seed) <= agfd30k.is_chosen(id, max(one, other), seed)
    assert agfd30k.is_chosen(id, 1, seed) and not agfd30k.is_chosen(id, 0, seed)


def test_a_part_of_the_whole_table_is_as_balanced_as_chance():
    """No label has a share that five standard deviations of a fair draw would not explain, which ids by number fail."""
    plan = Plan(table.load())
    labels = ("feature", "sex", "ethnicity", "age", "phrase", "split")
    labelled = []
    for sample in (plan.sample(number) for number in range(len(plan))):
        own = [(label, getattr(sample, label)) for label in labels]
        own += [(sample.feature, sample.sex, sample.ethnicity), (sample.feature, sample.age), ("all",)]
        labelled.append((sample, own))
    whole = Counter(label for _, own in labelled for label in own)

    def unfair(share, is_chosen, *options):
        part = Counter(label for sample, own in labelled if is_chosen(sample, *options) for label in own)
        likely = {key: (n * share, 5 * (n * share * (1 - share)) ** 0.5 + 1) for key, n in whole.items()}
        return [key for key, (mean, most) in likely.items() if abs(part[key] - mean) > most]

    def by_id(sample, share, seed):
        return agfd30k.is_chosen(sample.id, share, seed)

    def by_number(sample, every):
        return sample.index % every == 0

    for share in (0.01, 0.1, 0.5):
        for seed in (0, 1):
            assert unfair(share, by_id, share, seed) == [], (share, seed)
        assert unfair(share, by_number, round(1 / share)), share


def test_the_example_of_a_part_is_true():
    assert doctest.testmod(agfd30k).failed == 0 < doctest.testmod(agfd30k).attempted
