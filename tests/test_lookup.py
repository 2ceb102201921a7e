"""`agfd30k lookup`: a picture is found by its file, then by what it looks like, in releases of every version."""

import hashlib
import inspect
import json
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi

from builder import __main__ as agfd30k
from builder.common.errors import UserError
from builder.dataset.lookup import RADIUS, Picture, Rows
from builder.lookup import lookup
from builder.raw import provenance
from builder.raw.signatures import c2pa_library
from builder.raw.signing import Signer
from tests.experiments import provenance as experiment
from tests.fixtures import certificates
from tests.fixtures.drawn_release import write_release
from tests.fixtures.hub import Hub
from tests.fixtures.photos import portrait
from tests.fixtures.reuse import CHANGES

ROOT = Path(__file__).parent.parent
REPO = "user/faces"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return certificates.Files(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def made(tmp_path_factory, files):
    """A signed release, and the files of its pictures."""
    folder = tmp_path_factory.mktemp("made")
    return write_release(folder, 24, signer=Signer.of_files(files.chain, files.key))


@pytest.fixture
def one(made):
    """The id, the row and the file of a picture."""
    release, pictures = made
    id = sorted(pictures)[5]
    return id, next(row for row in rows_of(release) if row["id"] == id), pictures[id]


def rows_of(release):
    return [row for path in release.glob("metadata/*.parquet") for row in pq.read_table(path).to_pylist()]


def looked_up(capsys, *arguments):
    capsys.readouterr()
    status = agfd30k.main(["lookup", *map(str, arguments)])
    written = capsys.readouterr()
    return status, written.out.splitlines(), written.err


def saved(folder, data, name="picture"):
    path = folder / name
    path.write_bytes(data)
    return path


def test_the_very_file_is_found_with_all_that_made_it(made, one, files, tmp_path, capsys):
    id, row, data = one
    path = saved(tmp_path, data, "some.name")
    split = next(p.name.split("-")[0] for p in made[0].glob("metadata/*") if id in pq.read_table(p)["id"].to_pylist())
    status, lines, _ = looked_up(capsys, path, made[0], "--trust", files.anchors)
    assert (status, lines) == (
        0,
        [
            f"{path}: marked as made by stand-in built-in; it is signed by Signer, Tests: trusted",
            f"{id}: the very file",
            f"  in              {id.split('-')[0]}, {split}",
            f"  prompt          {row['prompt']}",
            f"  negative prompt {row['negative_prompt']}",
            f"  seed            {row['seed']}, attempt {int(row['attempt'])}",
            "  model           stand-in built-in",
        ],
    )


@pytest.mark.parametrize(
    ("change", "first", "last"),
    [
        ("copied", "marked as made by stand-in built-in; it is signed by Signer, Tests: not trusted", "the very file"),
        (
            "one pixel changed, the rest kept",
            "marked as made by stand-in built-in; it was changed after it was signed by Signer, Tests "
            "(assertion.dataHash.mismatch)",
            "0 of 64 bits differ",
        ),
        ("saved again as PNG, XMP kept", "marked as made by stand-in built-in; it is not signed", "0 of 64"),
        ("metadata stripped", "no mark; it is not signed", "0 of 64 bits differ"),
        ("JPEG, quality 75", "no mark; it is not signed", "of 64 bits differ"),
        ("WebP, quality 80", "no mark; it is not signed", "of 64 bits differ"),
        ("half the size", "no mark; it is not signed", "of 64 bits differ"),
        ("screenshot (resampled, JPEG 85)", "no mark; it is not signed", "of 64 bits differ"),
        ("cropped by 10%", "no mark; it is not signed", None),
    ],
)
def test_what_is_left_of_each_layer(made, one, change, first, last, tmp_path, capsys):
    """Of mark, signature, digest and hash; by how much each changes is docs/provenance.md's."""
    id, _, data = one
    path = saved(tmp_path, CHANGES[change](data))
    status, lines, _ = looked_up(capsys, path, made[0])
    assert lines[0] == f"{path}: {first}"
    if last:
        assert status == 0 and lines[1].startswith(f"{id}: ") and last in lines[1]
    else:
        assert status == 1 and lines[1].startswith(f"not ours: none of the 24 pictures of {made[0]} is this file, or")


def test_a_strangers_picture_is_not_ours(made, tmp_path, capsys):
    portrait().save(path := tmp_path / "portrait.gif")
    status, lines, error = looked_up(capsys, path, made[0])
    assert (status, error) == (1, "") and lines == [
        f"{path}: no mark; signature not read, being neither PNG, WebP nor JPEG",
        f"not ours: none of the 24 pictures of {made[0]} is this file, or within 6 of 64 bits of it",
    ]


def test_several_candidates_come_nearest_first_and_only_within_the_radius(tmp_path, capsys):
    release = stand_in(tmp_path / "release", 50)
    path = saved_portrait(tmp_path)
    base = int(Picture(path).hash, 16)
    plant(release, {7: base ^ 0b111111, 11: base ^ 0b11, 23: base ^ 0xFF, 30: base ^ 0b1111})

    def names(lines):
        return [line for line in lines[1:-1] if not line.startswith(" ")]  # the last one tells of rows without a hash

    _, lines, _ = looked_up(capsys, path, release, "--radius", 6)
    expected = [f"base-base-male-{n:05d}: {bits} of 64 bits differ" for n, bits in ((11, 2), (30, 4), (7, 6))]
    assert names(lines) == expected
    assert names(looked_up(capsys, path, release, "--radius", 2)[1]) == expected[:1]
    assert len(names(looked_up(capsys, path, release, "--radius", 8)[1])) == 4
    assert looked_up(capsys, path, release, "--radius", 0)[0] == 1
    plant(release, dict.fromkeys(range(30), base))
    _, lines, _ = looked_up(capsys, path, release, "--radius", 2)
    assert len(names(lines)) == 21 and names(lines)[-1] == "and 10 more within 2 bits; a smaller --radius finds less"


def test_rows_without_a_hash_are_found_by_the_very_file_alone_and_it_says_so(tmp_path, capsys):
    release, pictures = write_release(tmp_path, 4, side=32, is_hashed=False)
    data = next(iter(pictures.values()))
    note = f"rows of {release} without a perceptual hash, found by the very file alone: 4"
    status, lines, _ = looked_up(capsys, saved(tmp_path, data), release)
    assert (status, lines[-1]) == (0, note) and "the very file" in lines[1]
    status, lines, _ = looked_up(capsys, saved(tmp_path, CHANGES["metadata stripped"](data)), release)
    assert (status, lines[-1]) == (1, note)


def test_the_radius_of_the_command_is_that_of_its_stage():
    assert inspect.signature(lookup).parameters["radius"].default == RADIUS


# Releases of every version.

ATTRIBUTES = ["age", "base"]


def stand_in(folder, count, kind="new"):
    """A release's metadata as other versions wrote it: `new` flat, `old` with a struct, `none` without hashes."""
    rng = random.Random(0)
    (folder / "metadata").mkdir(parents=True)
    hashes = [f"{rng.getrandbits(64):016x}" for _ in range(count)]
    columns = {
        "id": [f"base-base-male-{n:05d}" for n in range(count)],
        "attribute": pa.array([1] * count, pa.int64()),
        "prompt": ["photo of a man"] * count,
        "negative_prompt": ["drawing"] * count,
        "seed": pa.array(range(count), pa.int64()),
        "attempt": pa.array([n % 3 for n in range(count)], pa.int32() if kind == "old" else pa.int64()),
        "model": ["someone/model"] * count,
        "model_revision": ["c0ffee"] * count,
        "sha256": [f"{n:064x}" for n in range(count)],
    }
    if kind == "new":
        columns["perceptual_hash"] = [None if n % 10 == 9 else text for n, text in enumerate(hashes)]
    if kind == "old":
        columns["checks"] = [{"faces": 1, "hash": None if n % 10 == 9 else text} for n, text in enumerate(hashes)]
    info = {"info": {"features": {"attribute": {"names": ATTRIBUTES, "_type": "ClassLabel"}}}}
    table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps(info)})
    for n, split in enumerate(("train", "validation", "test")):
        start, stop = (0, count * 8 // 10, count * 9 // 10, count)[n : n + 2]
        path = folder / f"metadata/{split}-00000-of-00001.parquet"
        pq.write_table(table.slice(start, stop - start), path, row_group_size=1000)
    return folder


def plant(release, hashes):
    """Let rows of the first file have these hashes, by number."""
    path = release / "metadata/train-00000-of-00001.parquet"
    table = pq.read_table(path)
    values = table["perceptual_hash"].to_pylist()
    for n, value in hashes.items():
        values[n] = f"{value:016x}"
    place = table.column_names.index("perceptual_hash")
    pq.write_table(table.set_column(place, "perceptual_hash", pa.array(values, pa.string())), path)


def saved_portrait(folder):
    portrait().save(path := folder / "portrait.png")
    return path


@pytest.mark.parametrize(("kind", "without_hash"), [("new", 10), ("old", 10), ("none", 100)])
def test_releases_of_every_version_are_read(tmp_path, kind, without_hash):
    rows = Rows(sorted(stand_in(tmp_path / "release", 100, kind).glob("metadata/*.parquet")))
    assert (len(rows), rows.without_hash) == (100, without_hash)

    class Known:
        sha256, hash = f"{85:064x}", "0" * 16

    (place,) = rows.places(Known, 6)
    match = rows.match(place)
    assert (match.id, match.config, match.split) == ("base-base-male-00085", "base", "validation")
    assert (match.seed, match.attempt, match.distance) == (85, 1, None)


def test_of_thirty_thousand_rows_only_digests_and_hashes_are_read(tmp_path, monkeypatch):
    """Prompts are the most of what there is, and are read of a row that is shown alone."""
    files = sorted(stand_in(tmp_path / "release", 30_000).glob("metadata/*.parquet"))
    columns = []
    read = pq.ParquetFile.read
    monkeypatch.setattr(pq.ParquetFile, "read", lambda file, columns: seen(columns) or read(file, columns=columns))

    def seen(some):
        columns.extend(some)

    class Stranger:
        sha256, hash = "f" * 64, "0123456789abcdef"

    assert Rows(files).places(Stranger, 6) == [] and set(columns) == {"sha256", "perceptual_hash"}


# What can be wrong.


@pytest.mark.parametrize("hash", ["no hash", "-1", "1" * 17, ""])
def test_a_hash_that_is_none_is_told(tmp_path, hash):
    release = stand_in(tmp_path / "release", 20)
    path = release / "metadata/train-00000-of-00001.parquet"
    table = pq.read_table(path)
    hashes = pa.array([hash] * len(table))
    pq.write_table(table.set_column(table.column_names.index("perceptual_hash"), "perceptual_hash", hashes), path)
    with pytest.raises(UserError, match=r"train-00000-of-00001\.parquet: is not the metadata of a release"):
        Rows([path])


def test_what_a_strangers_file_says_steers_no_terminal(made, tmp_path, capsys):
    packet = provenance.xmp("model \x1b[2J\a").decode().replace("&#27;", "\x1b")
    portrait().save(path := tmp_path / "portrait.jpg", xmp=packet.encode())
    _, lines, _ = looked_up(capsys, path, made[0])
    assert lines[0] == f"{path}: marked as made by model ?[2J?; it is not signed"


def broken(folder, picture, notes=None, attribute=1):
    """A release that has this very picture, and something wrong that is read when its row is shown."""
    path = stand_in(folder, 20) / "metadata/train-00000-of-00001.parquet"
    table = pq.read_table(path)
    columns = {"sha256": pa.array([hashlib.sha256(picture.read_bytes()).hexdigest()] * len(table))}
    columns["attribute"] = pa.array([attribute] * len(table), pa.int64())
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, values)
    pq.write_table(table.replace_schema_metadata(notes) if notes else table, path)
    return folder


def test_what_is_wrong_is_a_line(made, one, tmp_path, capsys):
    release, picture = made[0], saved(tmp_path, one[2])
    damaged, strange = tmp_path / "damaged/metadata", tmp_path / "strange/metadata"
    damaged.mkdir(parents=True), strange.mkdir(parents=True)
    (damaged / "train-00000-of-00001.parquet").write_bytes(b"PAR1 no more")
    pq.write_table(pa.table({"a": [1]}), strange / "train-00000-of-00001.parquet")
    text = saved(tmp_path, b"hello", "text.png")
    cases = [
        ((tmp_path / "none.png", release), f"{tmp_path / 'none.png'}: No such file or directory"),
        ((text, release), f"{text}: is no picture of a kind that is known"),
        ((picture, tmp_path), f"{tmp_path}: no release, for it has no metadata/*.parquet"),
        ((picture, tmp_path / "a/b/c"), f"{tmp_path / 'a/b/c'}: no release"),
        ((picture, release.with_name("raw")), f"{release.with_name('raw')}: a raw build, not a release; run"),
        ((picture, damaged.parent), f"{damaged}/train-00000-of-00001.parquet: is not the metadata of a release"),
        ((picture, strange.parent), f"{strange}/train-00000-of-00001.parquet: is not the metadata of a release"),
        (
            (picture, broken(tmp_path / "deep", picture, {"huggingface": "[" * 100_000})),
            f"{tmp_path / 'deep'}/metadata/",
        ),
        ((picture, broken(tmp_path / "before", picture, attribute=-1)), f"{tmp_path / 'before'}/metadata/"),
        ((picture, "./missing"), "./missing: no release"),
        ((picture, "a--b/c"), "a--b/c: no such folder, and no name of a dataset"),
        ((picture, release, "--trust", text), f"{text}: holds no certificates in PEM"),
        ((picture, release, "--radius", "21"), "--radius: must be a whole number from 0 to 20, got '21'"),
    ]
    for arguments, says in cases:
        status, _, error = looked_up(capsys, *arguments)
        assert status == 2 and error.startswith(f"lookup: {says}") and error.count("\n") == 1, error


def test_without_the_extra_only_the_signature_is_not_read(made, one, files, tmp_path, capsys, monkeypatch):
    path = saved(tmp_path, one[2])
    c2pa_library.cache_clear()
    monkeypatch.setitem(sys.modules, "c2pa", None)
    status, lines, _ = looked_up(capsys, path, made[0])
    assert status == 0 and lines[0].endswith("; signature not read, which the extra `sign` does")
    status, _, error = looked_up(capsys, path, made[0], "--trust", files.anchors)
    assert status == 2 and error.startswith("lookup: signatures need the extra `sign`: pip install")
    c2pa_library.cache_clear()


# From the Hub.


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_of_a_dataset_on_the_hub_only_the_labels_are_downloaded_once(made, one, tmp_path):
    release, _ = made
    id, _, data = one
    path = saved(tmp_path, data)
    with Hub(tmp_path / "hub", lfs_threshold=1000) as hub:
        environment = {**hub.environment(tmp_path / "home"), "PYTHONPATH": str(ROOT)}

        def ask(repo, **more):
            command = [sys.executable, "-m", "builder", "lookup", str(path), repo]
            return subprocess.run(command, capture_output=True, text=True, env={**environment, **more}, cwd=tmp_path)

        api = HfApi(hub.endpoint, token="hf_write")
        api.create_repo(REPO, repo_type="dataset")
        hub.commit(REPO, {p.relative_to(release).as_posix(): p.read_bytes() for p in files_of(release)})
        hub.fault("GET /api/datasets", status=503, times=1)
        first = ask(REPO)
        assert first.returncode == 0 and f"{id}: the very file" in first.stdout, first.stderr
        got = [record["path"] for record in hub.asked("GET /resolve/")]
        assert got and all("/metadata/" in name for name in got)
        since = len(hub.requests)
        assert ask(REPO).stdout == first.stdout
        assert not [record for record in hub.asked("GET /resolve/", since) if record["method"] == "GET"]
        missing = ask("user/nothing")
        assert (missing.returncode, missing.stdout) == (2, "")
        says = "lookup: user/nothing: no such folder, and no such dataset on the Hub that your token may see\n"
        assert missing.stderr == says
        assert ask(f"{REPO}@main").stdout.splitlines()[1] == f"{id}: the very file"
    offline = ask(REPO, HF_HUB_OFFLINE="1")
    assert offline.stdout == first.stdout, offline.stderr
    unknown = ask("user/other", HF_HUB_OFFLINE="1")
    assert unknown.returncode == 2 and unknown.stderr.count("\n") == 1


def files_of(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


# What the page says was measured.


def cells(lines):
    """The cells of Markdown tables, row by row."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


@pytest.mark.process
def test_the_page_has_the_tables_that_the_experiment_prints(tmp_path):
    """Mark, signature and digest are kept or lost whatever the picture is; shares of bits are of more pictures."""
    part = (
        experiment.PAGE.read_text(encoding="utf-8").partition("<!-- measured -->\n")[2].partition("\n<!-- end -->")[0]
    )
    page, now = (cells(lines) for lines in (part.splitlines(), experiment.tables(tmp_path, 2, 20)))
    count = len(CHANGES) + 2
    assert [row[:4] for row in page[:count]] == [row[:4] for row in now[:count]]
    assert page[0] == now[0] and page[count] == now[count] and len(page) == len(now)
    assert f"`lookup` takes {RADIUS} bits" in part
