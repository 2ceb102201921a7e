"""The first page of `all` is a fair sample, every config has every row once, and workers find files to share."""

import shutil
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from hypothesis import given
from hypothesis import strategies as st

import agfd30k
from builder.dataset import packing
from builder.dataset.first_page import PAGE, Candidates, shares
from builder.dataset.folder import Release
from builder.linting import lint
from builder.raw.build import RawBuild
from tests.fixtures.builds import SPEC, write_raw


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """A hundredth of the table, but for its name as on the Hub."""
    folder = tmp_path_factory.mktemp("first")
    write_raw(folder / "raw", scale=0.02)
    packing.pack(RawBuild.open(folder / "raw"), folder / "faces")
    return Release(folder / "faces")


def rows_of(release, config, split):
    """The rows of a config's split as its globs give them, in order, without pictures."""
    files = release.matching(release.configs()[config][split])
    return [row for path in files for row in pq.read_table(path, columns=["id", "attribute", "feature"]).to_pylist()]


def test_the_first_page_has_of_every_attribute_its_share(release):
    """Today's order would show one attribute alone; that of a plan's numbers one sex or age."""
    rows = rows_of(release, "all", "train")
    page, whole = Counter(r["attribute"] for r in rows[:PAGE]), Counter(r["attribute"] for r in rows)
    assert len(page) == len(SPEC.attributes)
    for attribute, count in whole.items():
        assert abs(page[attribute] - PAGE * count / len(rows)) <= len(SPEC.features) / 2
    assert len({row["feature"] for row in rows[:PAGE]}) == len(SPEC.features)
    assert len({row["attribute"] for row in rows[:10]}) > 3


def test_every_config_has_its_rows_once_and_all_has_them_all(release):
    """Also by the plainest glob, of whoever knows nothing of configs."""
    for split in ("train", "validation", "test"):
        plain = [pq.read_table(p, columns=["id"])["id"] for p in release.folder.glob(f"data/*/{split}-*.parquet")]
        by_glob = [id.as_py() for ids in plain for id in ids]
        of_all = [row["id"] for row in rows_of(release, "all", split)]
        by_attribute = [row["id"] for name in SPEC.attributes for row in rows_of(release, name, split)]
        labels = [row["id"] for row in rows_of(release, "metadata", split)]
        assert len(of_all) == len(set(of_all)) and labels == of_all
        assert sorted(of_all) == sorted(by_attribute) == sorted(by_glob)


def test_a_split_of_one_page_has_no_first_page_of_its_own(release):
    """Its rows are all on the one page."""
    sizes = {split: len(rows_of(release, "all", split)) for split in ("train", "validation", "test")}
    assert min(sizes.values()) <= PAGE < max(sizes.values())
    for split, size in sizes.items():
        assert (release.folder / f"first_page/{split}.parquet").exists() == (size > PAGE)


def test_rows_of_another_attribute_in_a_first_file_are_a_fault(release, tmp_path):
    """However the first page of all pictures holds the same rows as before."""
    shutil.copytree(release.folder, tmp_path / "faces")
    places = [tmp_path / f"faces/data/{name}/train-first.parquet" for name in ("hair", "pose")]
    hair, pose = (path.read_bytes() for path in places)
    places[0].write_bytes(pose), places[1].write_bytes(hair)
    found = [str(fault) for fault in lint.check(Release(tmp_path / "faces"), False, True, True)]
    for name in ("hair", "pose"):
        assert f"rows: data/{name}/train-first.parquet: holds rows of other attributes than {name}" in found


def test_one_attribute_has_no_all_beside_it(tmp_path):
    """And from 128 rows on eight workers find files to share."""
    write_raw(tmp_path / "raw", scale=0.1, only=["base"])
    packing.pack(RawBuild.open(tmp_path / "raw"), tmp_path / "faces")
    release = Release(tmp_path / "faces")
    assert [*release.configs()] == ["base", "metadata"] and not (release.folder / "first_page").exists()
    assert release.card[0]["configs"][0].get("default") is True
    loaded = load_dataset(str(release.folder), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 128, "validation": 16, "test": 16}
    assert load_dataset(str(release.folder), split="train", streaming=True).num_shards == 8
    ours = agfd30k.load_dataset("all", data_dir=release.folder, cache_dir=tmp_path / "cache")
    assert sorted(ours["train"]["id"]) == sorted(loaded["train"]["id"])


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 500), min_size=1), st.integers(0, 120))
def test_shares_are_as_near_as_whole_numbers_can_be(counts, total):
    counts = Counter(counts)
    total = min(total, counts.total())
    given_out = shares(counts, total)
    assert sum(given_out.values()) == total
    for key, count in counts.items():
        assert abs(given_out[key] - total * count / counts.total()) < 1 and given_out[key] <= count


def page_of(order):
    """The first page of three hundred rows, of two attributes, that come in this order."""
    candidates, made = Candidates(), Counter()
    for number in order:
        attribute, feature = ("hair", "red") if number % 3 else ("age", "old")
        row = {"split": "train", "feature": feature, "id": f"{attribute}-{feature}-male-{number:05d}"}
        candidates.add(Path("shard"), row)
        made[attribute, feature, "train"] += 1
    assert all(len(rows) < 2 * PAGE for rows in candidates.of.values())
    return [id for _, id in candidates.first_page(made).of["train"]]


@given(st.permutations(range(300)))
def test_the_order_in_which_rows_come_changes_nothing(order):
    """And no more rows are kept than may come to stand there."""
    page = page_of(order)
    assert page == page_of(range(300)) and Counter(id[:3] for id in page) == {"hai": 67, "age": 33}
    assert page != sorted(page)


def test_a_feature_without_a_row_in_a_split_takes_no_place():
    """One picture of a feature beside three hundred of another: validation and test have none of it."""
    candidates, made = Candidates(), Counter()
    for number in range(300):
        split = "train" if number % 2 else "validation"
        candidates.add(Path("shard"), {"split": split, "feature": "hat", "id": f"others-hat-male-{number:05d}"})
        made["others", "hat", split] += 1
    made["lone", "alone", "test"] += 1
    candidates.add(Path("shard"), {"split": "test", "feature": "alone", "id": "lone-alone-male-00000"})
    page = candidates.first_page(made).of
    assert {split: len(rows) for split, rows in page.items()} == {"train": PAGE, "validation": PAGE}
