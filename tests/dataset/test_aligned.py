"""`release --aligned`: faces upright and of one size as a config of its own, and what the face check saw as another."""

import hashlib
import io
import os
import subprocess
from pathlib import Path

import datasets
import mlcroissant
import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from PIL import Image

import agfd30k
from agfd30k import POINTS, WHOLE_FACE
from builder import __main__ as commands
from builder.common.errors import UserError
from builder.common.files import sha256
from builder.dataset import packing
from builder.dataset.folder import Release
from builder.dataset.parquet import DETECTED
from builder.linting import lint
from builder.raw import provenance
from builder.raw.build import RawBuild
from tests.fixtures.faces import YUNET, centres, checks_of, write_raw

ROOT = Path(__file__).parents[2]
OLD_DATASETS = ROOT / ".venv-datasets3" / "bin" / "python"
SIDE = 48


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A raw build and its release with aligned faces, of more rows than a page has."""
    folder = tmp_path_factory.mktemp("aligned")
    write_raw(folder / "raw", scale=0.02)
    packing.pack(RawBuild.open(folder / "raw"), folder / "faces", aligned=SIDE)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def faults(folder):
    return [str(fault) for fault in lint.check(Release(folder), allow_preview=True, allow_incomplete=True)]


def raw_rows(built):
    return {row["id"]: row for shard in agfd30k.shards(built / "raw") for row in agfd30k.read_rows(shard)}


def test_every_face_is_upright_and_has_its_picture_s_labels(built):
    """Rows without points are left out; all others follow in the order of the labels."""
    raw = raw_rows(built)
    labels, faces = (load_dataset(str(built / "faces"), name) for name in ("metadata", "aligned"))
    for split in agfd30k.SPLITS:
        expected = [row for row in labels[split] if raw[row["id"]]["checks"]["points"]]
        assert 0 < len(expected) < len(labels[split])
        assert [row["id"] for row in expected] == faces[split]["id"]
        for row, label in zip(faces[split], expected):
            assert row["image"].size == (SIDE, SIDE)
            assert np.abs(centres(row["image"]) - WHOLE_FACE * SIDE).max() < 1
            assert row["source_sha256"] == label["sha256"] != row["sha256"]
            assert {k: v for k, v in row.items() if k in label and k != "sha256"} == {
                k: v for k, v in label.items() if k != "sha256"
            }
    assert faces["train"].features == agfd30k.features(config="aligned")


def test_no_other_config_has_more_rows_by_it(built):
    """Neither by its own globs nor by the plainest one."""
    raw = raw_rows(built)
    ids = [id.as_py() for path in built.glob("faces/data/*/*.parquet") for id in pq.read_table(path)["id"]]
    assert sorted(ids) == sorted(raw)
    loaded = load_dataset(str(built / "faces"), "all")
    assert sorted(id for rows in loaded.values() for id in rows["id"]) == sorted(raw)
    assert Release(built / "faces").default_config == "all" and faults(built / "faces") == []


def test_files_are_many_enough_for_workers_and_marked_as_machine_made(built):
    paths = sorted(built.glob("faces/aligned/train-*.parquet"))
    assert len(paths) == 8 and paths[0].name == "train-00000-of-00008.parquet"
    for row in pq.read_table(paths[3]).to_pylist():
        assert row["image"]["path"] == f"{row['id']}.png"
        assert hashlib.sha256(row["image"]["bytes"]).hexdigest() == row["sha256"]
        with Image.open(io.BytesIO(row["image"]["bytes"])) as image:
            assert provenance.marked_model(image) == f"{row['model']} {row['model_revision']}"


@pytest.mark.parametrize("ending", ["webp", "jpg"])
def test_faces_are_files_of_the_build_s_own_kind_and_the_same_ones_each_time(tmp_path, ending):
    raw = write_raw(tmp_path / "raw", ending=ending, limit=40)
    for name in ("one", "two"):
        packing.pack(raw, tmp_path / name, aligned=SIDE)
    names = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").glob("aligned/*")]
    assert names and all(sha256(tmp_path / "one" / name) == sha256(tmp_path / "two" / name) for name in names)
    row = pq.read_table(tmp_path / "one" / names[0]).to_pylist()[0]
    assert row["image"]["path"].endswith(f".{ending}") and faults(tmp_path / "one") == []


def test_what_the_face_check_saw_is_a_config_without_pictures(built):
    """Every picture has a row, by id and digest, null where nothing was found."""
    raw = raw_rows(built)
    labels, seen = (load_dataset(str(built / "faces"), name) for name in ("metadata", "annotations"))
    for split, rows in seen.items():
        assert rows.column_names == ["id", *DETECTED, "sha256", "model", "model_digest"]
        assert list(zip(rows["id"], rows["sha256"])) == list(zip(labels[split]["id"], labels[split]["sha256"]))
        for row in rows:
            checks = checks_of(raw[row["id"]]["seed"], 64)
            box = dict(zip(agfd30k.FACE_BOX, checks.get("face_box") or [None] * 4))
            points = dict(zip(POINTS, checks["points"] or [None] * 10))
            told = {**box, "face_score": checks.get("face_score"), **points}
            found = {name: value for name, value in told.items() if value is not None}
            assert {name for name in told if row[name] is not None} == found.keys()
            assert {name: row[name] for name in found} == pytest.approx(found, rel=1e-5)
            assert (row["model"], row["model_digest"]) == (YUNET.name, YUNET.sha256)
    card = (built / "faces/README.md").read_text()
    found = sum(row["checks"]["points"] is not None for row in raw.values())
    assert f"| `annotations` | `{YUNET.name}` | `{YUNET.sha256}` | {found:,} of {len(raw):,} |" in card


def test_a_release_of_one_attribute_has_them_too(tmp_path):
    raw = write_raw(tmp_path / "raw", only=("hair",), limit=40)
    packing.pack(raw, tmp_path / "faces", aligned=SIDE)
    assert [*Release(tmp_path / "faces").configs()] == ["hair", "metadata", "annotations", "aligned"]
    assert faults(tmp_path / "faces") == []


def test_rows_of_older_builds_give_neither(tmp_path):
    """They have noted no points: a release without is as ever, and one with is refused, and nothing is left of it."""
    raw = write_raw(tmp_path / "raw", limit=40, has_points=False)
    packing.pack(raw, tmp_path / "faces")
    assert not {"annotations", "aligned"} & {*Release(tmp_path / "faces").configs()}
    with pytest.raises(UserError, match="--aligned: no row of this build has a face's five points"):
        packing.pack(raw, tmp_path / "other", aligned=SIDE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces", "raw"]


def test_the_command_counts_what_is_left_out(tmp_path, capsys):
    raw = write_raw(tmp_path / "raw", limit=40)
    assert commands.main(["release", "--raw", str(raw.folder), "--out", str(tmp_path / "f"), "--aligned", "32"]) == 0
    rows = [row for shard in agfd30k.shards(raw.folder) for row in agfd30k.read_rows(shard)]
    left = sum(row["checks"]["points"] is None for row in rows)
    says = f"aligned: {len(rows) - left} of {len(rows)} faces; {left} without five points are left out"
    assert says in capsys.readouterr().out
    assert commands.main(["release", "--raw", str(raw.folder), "--out", str(tmp_path / "f"), "--aligned", "8"]) == 2
    assert "--aligned: must be a whole number from 32 to 1,024" in capsys.readouterr().err
    assert commands.main(["release", "--raw", str(raw.folder), "--out", str(tmp_path / "f")]) == 0
    assert "aligned" not in Release(tmp_path / "f").configs()


def test_the_loader_gives_the_same_and_says_what_a_raw_build_lacks(built):
    for name in ("aligned", "annotations"):
        plain, ours = load_dataset(str(built / "faces"), name), agfd30k.load_dataset(name, data_dir=built / "faces")
        assert ours["test"].features == plain["test"].features
        assert ours["test"]["id"] == plain["test"]["id"]
    with pytest.raises(ValueError, match="a raw build has no config 'aligned'"):
        agfd30k.load_dataset("aligned", data_dir=built / "raw")


@pytest.mark.process
@pytest.mark.skipif(not OLD_DATASETS.exists(), reason="make test builds the environment")
def test_an_older_datasets_reads_them(built, tmp_path):
    code = f"""
import datasets, agfd30k
for name in ("aligned", "annotations"):
    ours = agfd30k.load_dataset(name, data_dir={str(built / "faces")!r})
    plain = datasets.load_dataset({str(built / "faces")!r}, name)
    script = datasets.load_dataset({str(ROOT / "agfd30k.py")!r}, name, data_dir={str(built / "faces")!r},
                                   trust_remote_code=True)
    for loaded in (ours, plain, script):
        print(name, *loaded["test"]["id"])
"""
    environment = {**os.environ, "HF_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([OLD_DATASETS, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wanted = []
    for name in ("aligned", "annotations"):
        wanted += [" ".join([name, *load_dataset(str(built / "faces"), name)["test"]["id"]])] * 3
    assert done.stdout.splitlines() == wanted


def test_lint_sees_a_face_of_another_picture(built, tmp_path):
    import shutil

    folder = Path(shutil.copytree(built / "faces", tmp_path / "faces"))
    path = sorted(folder.glob("aligned/test-*.parquet"))[0]
    table = pq.read_table(path)
    pq.write_table(table.take([1, 0, *range(2, len(table))]), path, write_page_index=True)
    assert any(fault.startswith("aligned: aligned/test: ") for fault in faults(folder))


def test_the_viewer_s_rules_hold(built):
    """Statistics, pages and first rows of the two configs, as of all others."""
    notes = [str(note) for note in lint.notes(Release(built / "faces"))]
    assert not [note for note in notes if "annotations" in note or "aligned" in note]


def test_croissant_reads_both(built):
    dataset = mlcroissant.Dataset(str(built / "faces/croissant.json"))
    for name in ("annotations", "aligned"):
        rows = list(dataset.records(name, filters={f"{name}/split": "test"}))
        ids = load_dataset(str(built / "faces"), name)["test"]["id"]
        assert [row[f"{name}/id"].decode() for row in rows] == ids


def test_export_makes_tar_files_of_the_faces_and_none_of_annotations(built, tmp_path, capsys):
    tars = tmp_path / "tars"
    flags = ["export", str(built / "faces"), "--webdataset", "--out", str(tars), "--config"]
    assert commands.main([*flags, "aligned"]) == 0 and len([*tars.glob("aligned-train-*.tar")]) == 8
    assert commands.main([*flags, "annotations"]) == 2
    assert "no pictures of that name" in capsys.readouterr().err
