"""The export to WebDataset: every row once, its picture byte for byte, its labels by name and number; whole or not."""

import doctest
import errno
import hashlib
import io
import json
import shutil
import signal
import subprocess
import sys
import tarfile

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset as reader
import yaml
from datasets import ClassLabel, Features, Image, Value

from builder import export
from builder.common.errors import UserError
from builder.dataset import folder, packing, webdataset
from builder.dataset.folder import Release
from builder.raw.build import RawBuild
from tests.fixtures.builds import picture_of, write_raw
from tests.fixtures.hub import until

OLD = {
    "age": Value("int32"),
    "attempt": Value("int32"),
    "checks": {"faces": Value("int32"), "passed": [Value("string")]},
}
NEW = {
    "age": Value("float32"),
    "attempt": ClassLabel(names=["0", "1"]),
    "faces": Value("float32"),
    "none": Value("string"),
}
OLD_LABELS = {"age": 30, "attempt": 1, "checks": {"faces": 1, "passed": ["face"]}}
NEW_LABELS = {"age": 30.0, "attempt": "1", "attempt_number": 1, "faces": 0.5, "none": None}
ODD = ["a.b", "a", "../../etc/passwd", "/root", "ünï codé", "a b", "x" * 150, ".", "%2E", "tar.gz"]
SLOW = """
import sys, time
from builder.dataset import webdataset
append = webdataset._append
def slow(*arguments):
    append(*arguments)
    time.sleep(60)
webdataset._append = slow
from builder import export
sys.exit(export.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A release as the builder makes it."""
    place = tmp_path_factory.mktemp("packed")
    write_raw(place / "raw", only=["occlusion", "base"], scale=0.03)
    packing.pack(RawBuild.open(place / "raw"), place / "agfd30k")
    return place / "agfd30k"


def encoded(seed, kind):
    """A picture's file."""
    file = io.BytesIO()
    picture_of(seed).save(file, kind)
    return file.getvalue()


def by_hand(place, ids, columns=NEW, labels=NEW_LABELS, kind="png", **changes):
    """A release with columns of one's own and a row for every id, in two files and a glob for each."""
    features = Features(
        {"image": Image(), "id": Value("string"), "feature": ClassLabel(names=["x", "hat", "mask"]), **columns}
    )
    values = {name: labels.get(f"{name}_number", labels[name]) for name in columns}
    pictures = [encoded(seed, kind) for seed, _ in enumerate(ids)]
    rows = [
        {"image": {"bytes": data, "path": None}, "id": id, "feature": 2 if seed % 2 else 1, **values, **changes}
        for seed, (id, data) in enumerate(zip(ids, pictures))
    ]
    (place / "data").mkdir(parents=True)
    for name, part in (("first", rows[:1]), ("rest", rows[1:])):
        table = pa.Table.from_pylist(part, schema=features.arrow_schema)
        pq.write_table(table, place / f"data/{name}.parquet", row_group_size=3)
    paths = ["data/first.parquet", "data/r*.parquet"]
    configs = [{"config_name": "hats", "data_files": [{"split": "train", "path": paths}]}]
    (place / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': configs})}---\n# Hats\n")
    return pictures


def write(place, config, out, **options):
    return webdataset.export(Release(place), config, out, **options)


def samples(out, pattern):
    """The samples that the webdataset package reads, undecoded."""
    paths = sorted(map(str, out.glob(pattern)))
    return list(reader.WebDataset(paths, shardshuffle=False))


def content(place):
    return {path.name: path.read_bytes() for path in place.iterdir()}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.parametrize("config", ["occlusion", "all"])
def test_every_row_is_there_once_byte_for_byte_with_its_labels(packed, tmp_path, config):
    """Class labels by name, as `datasets` tells it, and by number; the digest is that of the release's row."""
    write(packed, config, tmp_path / "out")
    found = {sample["__key__"]: sample for sample in samples(tmp_path / "out", "*.tar")}
    loaded = datasets.load_dataset(str(packed), config)
    rows = [row for split in loaded.values() for row in split.cast_column("image", Image(decode=False))]
    assert sorted(found) == sorted(row["id"] for row in rows) and len(rows) > 50
    for row in rows:
        sample = found[row["id"]]
        assert sample["png"] == row["image"]["bytes"]
        assert hashlib.sha256(sample["png"]).hexdigest() == row["sha256"]
        labels = json.loads(sample["json"])
        for column, kind in loaded["train"].features.items():
            if isinstance(kind, ClassLabel):
                assert labels.pop(f"{column}_number") == row[column]
                assert labels.pop(column) == kind.int2str(row[column])
            elif column != "image":
                assert labels.pop(column) == row[column]
        assert labels == {}


def test_splits_have_files_of_their_own_for_eight_workers(packed, tmp_path):
    """Their sizes differ by one, and info.json says them."""
    write(packed, "all", tmp_path / "out", shard_rows=12)
    info = json.loads((tmp_path / "out/info.json").read_text())
    loaded = datasets.load_dataset(str(packed), "all")
    assert {split: told["num_samples"] for split, told in info["splits"].items()} == {
        split: len(rows) for split, rows in loaded.items()
    }
    assert sorted([*content(tmp_path / "out")]) == sorted(
        ["info.json", *(name for told in info["splits"].values() for name in told["filenames"])]
    )
    for split, told in info["splits"].items():
        lengths = [len(samples(tmp_path / "out", name)) for name in told["filenames"]]
        assert lengths == told["shard_lengths"] and max(lengths) <= 12 and max(lengths) - min(lengths) <= 1
        assert len(lengths) == max(-(-len(loaded[split]) // 12), 8)
        ids = {sample["__key__"] for sample in samples(tmp_path / "out", f"all-{split}-*.tar")}
        assert ids == set(loaded[split]["id"])


def test_every_file_is_a_fair_sample(packed, tmp_path):
    """Though the rows of a release are sorted by attribute."""
    write(packed, "all", tmp_path / "out")
    for path in (tmp_path / "out").glob("all-train-*.tar"):
        attributes = [json.loads(sample["json"])["attribute"] for sample in samples(path.parent, path.name)]
        assert {*attributes} == {"occlusion", "base"}


def test_features_are_numbered_within_the_config(packed, tmp_path):
    """What a classifier of this config needs, from 0; the names stand in info.json."""
    write(packed, "occlusion", tmp_path / "out")
    classes = json.loads((tmp_path / "out/info.json").read_text())["classes"]
    assert classes == ["only_glasses", "only_mask", "only_makeup", "only_hands", "complex"]
    for sample in samples(tmp_path / "out", "*.tar"):
        assert classes[int(sample["cls"])] == json.loads(sample["json"])["feature"]


def test_the_readers_own_decoding_and_datasets_read_it(packed, tmp_path):
    write(packed, "occlusion", tmp_path / "out")
    paths = sorted(map(str, (tmp_path / "out").glob("*-train-*.tar")))
    rows = datasets.load_dataset(str(packed), "occlusion", split="train")
    pixels = {row["id"]: np.asarray(row["image"]) for row in rows}
    decoded = reader.WebDataset(paths, shardshuffle=False).decode("pil").to_tuple("png", "json", "cls")
    ids = []
    for picture, labels, number in decoded:
        assert np.array_equal(np.asarray(picture), pixels[labels["id"]]) and number in range(5)
        ids.append(labels["id"])
    assert sorted(ids) == sorted(rows["id"])
    streamed = datasets.load_dataset("webdataset", data_files={"train": paths}, split="train", streaming=True)
    assert [row["__key__"] for row in streamed] == ids


@pytest.mark.parametrize(("columns", "labels"), [(OLD, OLD_LABELS), (NEW, NEW_LABELS)], ids=["struct", "flat"])
def test_columns_are_those_of_the_schema(tmp_path, columns, labels):
    """A struct of older releases, flat columns, class labels of any name: nothing is known beforehand."""
    pictures = by_hand(tmp_path / "release", ["one", "two"], columns, labels)
    write(tmp_path / "release", "hats", tmp_path / "out")
    for sample in samples(tmp_path / "out", "*.tar"):
        number = ["one", "two"].index(sample["__key__"])
        feature = {"id": sample["__key__"], "feature": ["hat", "mask"][number], "feature_number": 1 + number}
        assert json.loads(sample["json"]) == {**feature, **labels}
        assert (sample["png"], sample["cls"]) == (pictures[number], str(number).encode())


def test_ids_of_any_kind_are_samples_of_their_own_inside_the_folder(tmp_path):
    """Dots would cut a sample in two, slashes would lead out of the folder that a tar is unpacked in."""
    pictures = by_hand(tmp_path / "release", ODD)
    write(tmp_path / "release", "hats", tmp_path / "out", shard_rows=len(ODD))
    found = samples(tmp_path / "out", "*.tar")
    assert {json.loads(sample["json"])["id"]: sample["png"] for sample in found} == dict(zip(ODD, pictures))
    for path in (tmp_path / "out").glob("*.tar"):
        with tarfile.open(path) as tar:
            assert all(member.name.count(".") == 1 and "/" not in member.name for member in tar)


@pytest.mark.parametrize(("kind", "ending"), [("webp", "webp"), ("jpeg", "jpg")])
def test_a_picture_has_the_ending_of_its_format(tmp_path, kind, ending):
    pictures = by_hand(tmp_path / "release", ["one"], kind=kind)
    write(tmp_path / "release", "hats", tmp_path / "out")
    assert [sample[ending] for sample in samples(tmp_path / "out", "*.tar")] == pictures


def test_the_same_release_gives_the_same_bytes(packed, tmp_path):
    """And not those of another way to cut it."""
    for name in ("one", "two"):
        write(packed, "occlusion", tmp_path / name)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    with tarfile.open(tmp_path / "one/occlusion-train-000000.tar") as tar:
        assert {(member.mtime, member.uid, member.uname, member.mode) for member in tar} == {(0, 0, "", 0o644)}
    assert (tmp_path / "one/occlusion-train-000000.tar").stat().st_size % tarfile.RECORDSIZE == 0


# What is there already, and what is wrong.


def fails(capsys, *arguments):
    """The line that the command ends in."""
    assert export.main([*map(str, arguments)]) == 2
    written = capsys.readouterr()
    assert written.out == "" and written.err.count("\n") == 1
    return written.err.strip()


def test_the_command_says_what_it_wrote_and_how_to_read_it(packed, tmp_path, capsys):
    """By default all of it, beside the release."""
    place = shutil.copytree(packed, tmp_path / "agfd30k")
    assert export.main([str(place), "--webdataset"]) == 0
    out = tmp_path / "agfd30k-all-webdataset"
    said = capsys.readouterr().out.splitlines()
    train = json.loads((out / "info.json").read_text())["splits"]["train"]["num_samples"]
    assert said[0] == f"train: {train} pictures in 8 tar files"
    assert f'webdataset.WebDataset("{out}/all-train-{{000000..000007}}.tar")' in said[-1]
    url = said[-1].partition('WebDataset("')[2].partition('"')[0]
    assert sum(1 for _ in reader.WebDataset(url, shardshuffle=False)) == train
    assert not list(tmp_path.glob(".*"))


def test_nothing_is_replaced(packed, tmp_path, capsys):
    """Neither an export nor anything else; an empty folder is nothing."""
    (tmp_path / "empty").mkdir()
    write(packed, "base", tmp_path / "empty")
    before = content(tmp_path / "empty")
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "empty", tmp_path / "file"):
        says = fails(capsys, packed, "--webdataset", "--config", "occlusion", "--out", out)
        assert says == f"export: {out}: is there already, and is not replaced; move it away or use --out"
    assert content(tmp_path / "empty") == before and (tmp_path / "file").read_text() == "mine"
    says = fails(capsys, packed, "--webdataset", "--out", packed / "data/wds")
    assert "lies in the release" in says and not (packed / "data/wds").exists()


def test_what_cannot_be_exported_is_told_in_a_line(packed, tmp_path, capsys):
    says = fails(capsys, packed, "--webdataset", "--config", "metadata", "--out", tmp_path / "out")
    assert says.endswith("no pictures of that name in " + f"{packed}: it has occlusion, base, all")
    assert fails(capsys, packed) == "export: say in which format: --webdataset"
    assert fails(capsys, tmp_path, "--webdataset").startswith(f"export: {tmp_path}: no release; name its folder, or")
    assert not list(tmp_path.iterdir())


def test_damage_is_not_carried_on(packed, tmp_path):
    """A file that is cut, a picture that is another one, an id that is there twice: a line, and nothing is left."""
    cut = shutil.copytree(packed, tmp_path / "cut")
    path = next((cut / "data/base").glob("train-*.parquet"))
    path.write_bytes(path.read_bytes()[:-100])
    changed = shutil.copytree(packed, tmp_path / "changed")
    path = next((changed / "data/base").glob("train-*.parquet"))
    table = pq.read_table(path)
    wrong = pa.array(["0" * 64] * len(table))
    pq.write_table(table.set_column(table.schema.names.index("sha256"), "sha256", wrong), path)
    by_hand(tmp_path / "twice", ["a", "b", "a"])
    by_hand(tmp_path / "nameless", ["a", ""])
    by_hand(tmp_path / "label", ["a"], attempt=7)
    cases = [("cut", "base", "cannot be read"), ("changed", "base", "its picture is damaged")]
    cases += [(name, "hats", "an id is lacking or is there twice") for name in ("twice", "nameless")]
    cases += [("label", "hats", "cannot be read")]
    for name, config, says in cases:
        with pytest.raises(UserError, match=f"{says}.*`agfd30k lint` lists every fault"):
            write(tmp_path / name, config, tmp_path / "out")
        assert not list(tmp_path.glob("*out*"))


def test_a_full_disk_is_a_line_and_leaves_nothing(packed, tmp_path, monkeypatch, capsys):
    """Told before anything is written, or when it runs full meanwhile."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    arguments = (packed, "--webdataset", "--config", "base", "--out", tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(webdataset, "sync", full)
        says = fails(capsys, *arguments)
    assert says == f"export: {tmp_path}/.out.tmp: cannot be written: No space left on device; nothing of it is left"
    assert not list(tmp_path.iterdir())
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=1000))
    assert "GB are needed and 0.00 GB are free: make room" in fails(capsys, *arguments)
    assert not list(tmp_path.iterdir())


def begin(packed, out):
    """An export that stops for long after its first rows."""
    command = [sys.executable, "-c", SLOW, packed, "--webdataset", "--config", "occlusion", "--out", out]
    process = subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True)
    until(lambda: process.poll() is not None or any(folder.beside(out)[0].glob("*.tar")))
    return process


@pytest.mark.process
def test_a_killed_export_leaves_nothing_that_looks_done_and_the_next_one_is_whole(packed, tmp_path):
    write(packed, "occlusion", tmp_path / "undisturbed")
    process = begin(packed, tmp_path / "out")
    with pytest.raises(UserError, match="another process is writing it"):
        write(packed, "occlusion", tmp_path / "out")
    process.kill()
    assert process.wait() == -signal.SIGKILL and not (tmp_path / "out").exists()
    process.stderr.close()
    write(packed, "occlusion", tmp_path / "out")
    assert content(tmp_path / "out") == content(tmp_path / "undisturbed")
    assert {path.name for path in tmp_path.iterdir()} <= {"out", "undisturbed", "cache"}


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_export_leaves_nothing(packed, tmp_path, number):
    process = begin(packed, tmp_path / "out")
    process.send_signal(number)
    assert process.communicate()[1] == "export: stopped, nothing was written\n"
    assert process.returncode == 128 + number and not list(tmp_path.glob("*out*"))


def test_doctests():
    assert doctest.testmod(webdataset).failed == 0 < doctest.testmod(webdataset).attempted
