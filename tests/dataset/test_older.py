"""What older code made goes on working: the raw build and the release in tests/fixtures/older.zip.

They are of 40 pictures, made when the checks were one column `checks`, and nothing was said of a first page.
"""

import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

import agfd30k
from builder.__main__ import main
from builder.dataset.build_info import FORMAT, BuildInfo
from builder.hub import readback
from builder.judging import pictures
from tests.experiments.upload_faults import REPO, TOKEN, files_of
from tests.fixtures.client import turn_to
from tests.fixtures.hub import Hub

ARCHIVE = Path(__file__).parents[1] / "fixtures" / "older.zip"
CONFIGS = ("fruit", "drink", "all", "metadata")


@pytest.fixture
def older(tmp_path):
    """A folder with both."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path)
    return tmp_path


def rows(loaded):
    """Every row by its id, and its picture as bytes of pixels."""
    found = {row["id"]: row for split in loaded.values() for row in split}
    return {id: {**row, "image": row["image"].tobytes()} if "image" in row else row for id, row in found.items()}


def test_it_is_what_it_says(older):
    assert "checks" in pq.read_schema(older / "fruit/data/fruit/train-00000-of-00001.parquet").names
    assert BuildInfo.read(older / "fruit").format == "1" != FORMAT


@pytest.mark.parametrize("config", CONFIGS)
def test_it_loads_with_todays_columns(older, config):
    """The same rows from raw build and release, whether prepared or streamed; and without the loader as it was."""
    labels = agfd30k._labels(older / "raw")
    options = {"cache_dir": older / "cache"}
    from_raw = agfd30k.load_dataset(config, older / "raw", **options)
    from_release = agfd30k.load_dataset(config, older / "fruit", **options)
    assert from_raw["train"].features == from_release["train"].features == agfd30k.features(labels, config)
    assert rows(from_raw) == rows(from_release)
    assert rows(agfd30k.load_dataset(config, older / "fruit", streaming=True)) == rows(from_raw)
    as_it_was = rows(load_dataset(str(older / "fruit"), config, cache_dir=str(older / "cache")))
    for id, row in rows(from_raw).items():
        old = as_it_was[id]
        assert {key: old[key] for key in old.keys() & row.keys() - {"phrase", "safety_checker"}} == {
            key: row[key] for key in old.keys() & row.keys() - {"phrase", "safety_checker"}
        }
        assert (row["phrase"] or "", row["safety_checker"] or "") == (old["phrase"], old["safety_checker"])
        checks = old["checks"]
        for key in agfd30k.MEASURES:
            assert row[key] == (None if checks.get(key) is None else pytest.approx(checks[key], abs=1e-5))
        assert row["perceptual_hash"] == checks["hash"]
        assert (row["checks_passed"] or "").split() == checks["passed"]
        assert (row["checks_failed"] or "").split() == checks["failed"]
        assert [row[name] for name in agfd30k.FACE_BOX] == (checks["face_box"] or [None] * 4)


def test_it_verifies_lints_reports_and_is_judged(older):
    assert main(["verify", str(older / "raw")]) == 0
    assert main(["lint", str(older / "fruit"), "--thorough"]) == 0
    assert main(["report", str(older / "fruit"), "--out", str(older / "page.html")]) == 0
    by_raw = {entry.id: (entry.score, entry.verified) for entry in pictures.load(older / "raw").entries()}
    by_release = {entry.id: entry for entry in pictures.load(older / "fruit").entries()}
    assert by_raw.keys() == by_release.keys() and any(score is not None for score, _ in by_raw.values())
    for id, (score, verified) in by_raw.items():
        assert by_release[id].verified == verified
        assert by_release[id].score == (score if score is None else pytest.approx(score, rel=1e-6))


def test_releasing_the_build_again_brings_the_release_up_to_date(older):
    """With no flag, although its rows are the same."""
    before = rows(agfd30k.load_dataset("all", older / "fruit", cache_dir=older / "cache"))
    assert main(["release", "--raw", str(older / "raw"), "--out", str(older / "fruit")]) == 0
    assert BuildInfo.read(older / "fruit").format == FORMAT
    assert "checks_passed" in pq.read_schema(next(older.glob("fruit/metadata/train-*.parquet"))).names
    assert main(["lint", str(older / "fruit"), "--thorough"]) == 0
    assert rows(agfd30k.load_dataset("all", older / "fruit", cache_dir=older / "new")) == before


def test_it_can_be_sent_and_the_new_one_after_it(older, monkeypatch):
    """As it is, and then today's release into the same repository: nothing of the old one stays."""
    monkeypatch.setattr(readback, "read_back", lambda *_: None)
    with Hub(older / "hub") as hub:
        turn_to(hub, older / "home", monkeypatch, TOKEN)
        for _ in range(2):
            assert main(["upload", str(older / "fruit"), "--repo-id", REPO]) == 0
            assert {**hub.files(REPO), ".gitattributes": None} == {**files_of(older / "fruit"), ".gitattributes": None}
            assert main(["release", "--raw", str(older / "raw"), "--out", str(older / "fruit")]) == 0
