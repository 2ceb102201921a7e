"""Edited and hostile files: each is one fault that verify names, and that --repair sets aside, without a traceback;
the next run makes again what is missing, and the build is what it would have been undisturbed, to the byte.
"""

import io
import json
import os
import shutil
import struct
import zlib
from contextlib import suppress

import pytest
from PIL import Image

from builder import release, verify
from builder.common import documents
from builder.common.errors import UserError
from builder.common.files import sha256
from builder.generation import deduplication
from builder.plan.plan import Plan
from builder.raw.build import RawBuild
from builder.raw.lines import ShardLines
from builder.raw.receipts import Damaged, Reopened
from builder.spec import table
from tests.fixtures.builds import small_table, write_raw, write_shard

SCALE = 0.02
TOML = small_table().read_text().replace('"agfd30k-1"', '"hostile-30"')
"""Its seeds have tries refused once and twice in the first shard."""


def plan_of(build):
    return Plan(RawBuild.open(build).spec, only=["base"], scale=SCALE, shard_size=16)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Two finished shards; the first has rows that stand on one and on two rejected tries."""
    folder = tmp_path_factory.mktemp("sound") / "raw"
    (folder.parent / "table.toml").write_text(TOML)
    write_raw(folder, table.load(folder.parent / "table.toml"), TOML, only=["base"], scale=SCALE)
    assert max(row["attempt"] for row in lines(folder, "metadata.jsonl")) >= 1
    return folder


@pytest.fixture
def build(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "raw")


@pytest.fixture
def open_build(build):
    """The same, before the receipt of the first shard was written."""
    (shard_of(build) / "receipt.json").unlink()
    return build


def shard_of(build):
    return build / "shards/base-00000"


def lines(build, name):
    return [json.loads(line) for line in (shard_of(build) / name).read_bytes().splitlines()]


def again(line, **values):
    """A line that says something else, and whose digest says that it does."""
    row = {key: value for key, value in {**line, **values}.items() if key != "digest"}
    return json.dumps(documents.sealed(row)).encode() + b"\n"


def complete(build):
    """What the next run does."""
    raw, plan = RawBuild.open(build), plan_of(build)
    raw.note_asked(plan)
    for shard in plan.shards:
        if not raw.is_done(plan, shard):
            write_shard(build, plan, shard)
    raw.note_searched(raw.finished())


def content(build):
    """Every file that a build consists of."""
    skipped = ("faulty", ".lock", ".recipe.lock", ".release.lock")
    paths = [path for path in build.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(build)): path.read_bytes()
        for path in paths
        if not any(part.startswith(skipped) for part in path.relative_to(build).parts)
    }


def mended(build, sound, capsys, message, kept=None):
    """verify names the fault, --repair sets it aside, and the next run ends as if nothing had been; no picture of
    `kept` ids was touched meanwhile.
    """
    times = {path: path.stat().st_ino for path in build.glob("shards/*/images/*.png") if not path.is_symlink()}
    assert verify.main([str(build)]) == 1
    said = capsys.readouterr()
    assert message in said.out and "Traceback" not in said.err
    assert all(len(line) <= 300 for line in said.out.splitlines())
    assert verify.main([str(build), "--repair"]) == 0
    capsys.readouterr()
    complete(build)
    assert content(build) == content(sound)
    assert verify.main([str(build)]) == 0
    if kept is not None:
        left = {path.stem for path, inode in times.items() if path.exists() and path.stat().st_ino == inode}
        assert set(kept) <= left


def replace(build, name, number, line):
    path = shard_of(build) / name
    data = path.read_bytes().split(b"\n")
    data[number] = line.rstrip(b"\n")
    path.write_bytes(b"\n".join(data))


def edit(build, name, number, **values):
    replace(build, name, number, again(lines(build, name)[number], **values))


DEEP = b"[" * 50_000 + b"]" * 50_000
ROW_LINES = [
    (DEEP, "not JSON: recursion limit"),
    (b'{"id": "\\ud800"}', "not JSON: "),
    (b'{"id": NaN}', "not JSON: "),
    (b'{"id": 1e999}', "not JSON: "),
    (b'{"id": 1, "id": 2}', "a key stands twice"),
    (b"9" * 6000, "not JSON: "),
    (b"null", "input should be an object"),
    (b"\xff\xfe", "not JSON: "),
    (b"", "not JSON: "),
    (b"x" * 100_000, "not JSON: "),
]


@pytest.mark.parametrize("name", ["metadata.jsonl", "rejected.jsonl"])
@pytest.mark.parametrize(("line", "message"), ROW_LINES)
def test_a_line_that_is_no_row(build, sound, capsys, name, line, message):
    replace(build, name, 1, line)
    mended(build, sound, capsys, message)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"attempt": True}, "`attempt`: "),
        ({"attempt": 10**30}, "`attempt`: "),
        ({"attempt": 9}, "`seed` is"),
        ({"attempt": 10}, "`attempt` is 10, and 10 tries are the most"),
        ({"age": "30"}, "`age`: "),
        ({"verified": 1}, "`verified`: "),
        ({"sha256": None}, "`sha256`: "),
        ({"sha256": "x" * 64}, "`sha256`: "),
        ({"prompt": "x" * 100_000}, "`prompt` is"),
        ({"file_name": "images/" + "x" * 5000}, "`file_name` is"),
        ({"file_name": "receipt.json"}, "`file_name` is"),
        ({"checks": None}, "`checks`: "),
        ({"checks": {}}, "`checks."),
        ({"checks": DEEP.decode()}, "`checks`: "),
    ],
)
def test_a_row_of_wrong_values(build, sound, capsys, values, message):
    others = [row["id"] for row in lines(build, "metadata.jsonl")]
    others.pop(2)
    edit(build, "metadata.jsonl", 2, **values)
    mended(build, sound, capsys, message, kept=others)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("hash", value) for value in (5, "", "xyz", "0" * 15, "G" * 16, "0" * 17, ["0" * 16])],
        *[("attribute_score", value) for value in (7, -1, "0.5", 10**400, [])],
        *[("faces", value) for value in (-1, 0.5, 2**40, True)],
        *[("face_box", value) for value in ([1, 2], [1, 2, 3, "4"], 5, [1e300] * 4)],
        *[("passed", value) for value in (None, "face", [1])],
        *[("sharpness", value) for value in (1e300, {})],
    ],
)
@pytest.mark.parametrize("name", ["metadata.jsonl", "rejected.jsonl"])
def test_impossible_measurements(build, sound, capsys, name, key, value):
    """In a row and in a rejected try, whose digest says that they are right."""
    edit(build, name, 1, checks={**lines(build, "metadata.jsonl")[0]["checks"], key: value})
    mended(build, sound, capsys, f"`checks.{key}")


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("metadata.jsonl", b'"verified": null', b'"verified": true'),
        ("metadata.jsonl", b'"noise": null', b'"noise": 0.25'),
        ("rejected.jsonl", b'"reason": "refused"', b'"reason": "accused"'),
        ("rejected.jsonl", b'"detail": ""', b'"detail": "x"'),
    ],
)
def test_an_edit_that_could_be_true_is_found(build, sound, capsys, opened, name, old, new):
    """By the line's own digest, also in a shard that is not finished."""
    if opened:
        (shard_of(build) / "receipt.json").unlink()
    path = shard_of(build) / name
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    mended(build, sound, capsys, "was edited")


def stands_on_tries(build):
    """A row that was made at its second try or later, and its number."""
    rows = list(enumerate(lines(build, "metadata.jsonl")))
    return next((number, row) for number, row in rows if row["attempt"] >= 1)


def rejected_of(build, id):
    return [number for number, row in enumerate(lines(build, "rejected.jsonl")) if row["id"] == id]


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": 7}, "`seed` is 7, the plan says"),
        ({"seed": 10**30}, "`seed` is"),
        ({"seed": "7"}, "`seed`: "),
        ({"attempt": 50}, "10 tries are the most"),
        ({"attempt": 2**31}, "`attempt`: "),
        ({"reason": ""}, "`reason`: "),
        ({"reason": None}, "`reason`: "),
        ({"id": "base-base-male-99999"}, "does not belong to this shard"),
        ({"extra": 1}, "`extra`: "),
    ],
)
def test_a_rejected_try_of_wrong_values(build, sound, capsys, opened, values, message):
    """What stands on it is made again with it."""
    if opened:
        (shard_of(build) / "receipt.json").unlink()
    _, row = stands_on_tries(build)
    others = [each["id"] for each in lines(build, "metadata.jsonl") if each["id"] != row["id"]]
    edit(build, "rejected.jsonl", rejected_of(build, row["id"])[0], **values)
    mended(build, sound, capsys, message, kept=others)


def test_a_rejected_try_that_is_gone(build, sound, capsys):
    """A row whose tries have a hole is made again from there: its number is what it would have been."""
    _, row = stands_on_tries(build)
    path = shard_of(build) / "rejected.jsonl"
    data = path.read_bytes().splitlines(keepends=True)
    del data[rejected_of(build, row["id"])[0]]
    path.write_bytes(b"".join(data))
    mended(build, sound, capsys, f"{row['id']}: its rejected try 0 is missing")


def test_a_rejected_try_that_stands_twice(build, sound, capsys):
    """The first one counts; no picture is touched."""
    path = shard_of(build) / "rejected.jsonl"
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[0])
    ids = [row["id"] for row in lines(build, "metadata.jsonl")]
    mended(build, sound, capsys, "try 0 stands twice", kept=ids)


def test_a_row_that_stands_twice(build, sound, capsys):
    path = shard_of(build) / "metadata.jsonl"
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[0])
    ids = [row["id"] for row in lines(build, "metadata.jsonl")]
    mended(build, sound, capsys, "stands twice", kept=ids)


@pytest.mark.parametrize("reason", ["refused", "duplicate", "near duplicate"])
def test_a_committed_try_that_stands_among_the_rejected_ones(build, sound, capsys, reason):
    """In a finished shard nothing is being taken back: the picture stays, whatever the line says."""
    row = lines(build, "metadata.jsonl")[0]
    path = shard_of(build) / "rejected.jsonl"
    line = {**lines(build, "rejected.jsonl")[0], **{key: row[key] for key in ("id", "attempt", "seed")}}
    path.write_bytes(path.read_bytes() + again(line, reason=reason))
    ids = [row["id"] for row in lines(build, "metadata.jsonl")]
    mended(build, sound, capsys, f"the picture of try {row['attempt']} is committed", kept=ids)


def test_a_rejected_try_after_the_committed_one(open_build, sound, capsys):
    """Nobody tries again what is there."""
    row = lines(open_build, "metadata.jsonl")[0]
    line = {**lines(open_build, "rejected.jsonl")[0], "id": row["id"], "attempt": row["attempt"] + 1}
    line["seed"] = (
        RawBuild.open(open_build)
        .plan.attempt(plan_of(open_build).whole(plan_of(open_build).shards[0])[row["id"]], line["attempt"])
        .seed
    )
    path = shard_of(open_build) / "rejected.jsonl"
    path.write_bytes(path.read_bytes() + again(line))
    ids = [row["id"] for row in lines(open_build, "metadata.jsonl")]
    mended(open_build, sound, capsys, f"try {row['attempt']} before it is missing", kept=ids)


# Line ends.


@pytest.mark.parametrize("name", ["metadata.jsonl", "rejected.jsonl"])
def test_a_line_ends_with_a_line_feed_alone(build, sound, capsys, name):
    """What an editor makes of line ends is read, or is one fault by the same number for verify and for --repair."""
    path = shard_of(build) / name
    one, other, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(one.replace(b", ", b",\r", 1) + other + b"".join(rest))
    mended(build, sound, capsys, "not what the receipt was written for", kept=[])


@pytest.mark.parametrize("name", ["metadata.jsonl", "rejected.jsonl"])
def test_two_rows_in_one_line(build, sound, capsys, name):
    """A lone CR between them: both are made again, and the rows after them are not touched."""
    path = shard_of(build) / name
    one, other, *rest = path.read_bytes().splitlines(keepends=True)
    later = [json.loads(line)["id"] for line in rest]
    path.write_bytes(one.replace(b"\n", b"\r") + other + b"".join(rest))
    mended(
        build,
        sound,
        capsys,
        f"{name}, line 1: not a re" if name[0] == "r" else f"{name}, line 1: not a row",
        kept=later if name == "metadata.jsonl" else None,
    )


@pytest.mark.parametrize("name", ["metadata.jsonl", "rejected.jsonl"])
def test_windows_line_ends(build, sound, capsys, name):
    """Every row is what it was: nothing is made again."""
    path = shard_of(build) / name
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    ids = [row["id"] for row in lines(build, "metadata.jsonl")]
    mended(build, sound, capsys, "not what the receipt was written for", kept=ids)


@pytest.mark.parametrize("name", ["metadata.jsonl", "rejected.jsonl"])
@pytest.mark.parametrize("opened", [False, True])
def test_a_last_line_without_its_line_feed_is_kept(build, sound, name, opened):
    """An editor took it away; the row is whole, and its picture stays. The next run ends the line."""
    if opened:
        (shard_of(build) / "receipt.json").unlink()
    path = shard_of(build) / name
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    pictures = {picture: picture.stat().st_ino for picture in (shard_of(build) / "images").iterdir()}
    assert verify.main([str(build), "--repair"]) == 0
    complete(build)
    assert content(build) == content(sound)
    assert {picture: picture.stat().st_ino for picture in pictures} == pictures


def test_a_whole_last_line_that_does_not_fit_is_a_fault_and_not_cut(open_build, sound, capsys):
    """Only what a crash can leave, half a line, is cut without a word."""
    edit(open_build, "metadata.jsonl", len(lines(open_build, "metadata.jsonl")) - 1, seed=7)
    path = shard_of(open_build) / "metadata.jsonl"
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    mended(open_build, sound, capsys, "`seed` is 7")


@pytest.mark.parametrize("name", ["metadata.jsonl", "rejected.jsonl", "images"])
def test_nothing_of_a_finished_shard_is_removed_because_something_is_missing(build, sound, capsys, name):
    """A run that would make it again says so first; --repair keeps the pictures."""
    path = shard_of(build) / name
    shutil.rmtree(path) if name == "images" else path.write_bytes(path.read_bytes()[:-100])
    before = {picture: picture.read_bytes() for picture in (shard_of(build)).rglob("*.png")}
    for _ in range(2):
        with pytest.raises(Damaged, match="agfd30k verify"):
            write_shard(build, plan_of(build), plan_of(build).shards[0])
    assert {picture: picture.read_bytes() for picture in before} == before
    assert name != "images" or not RawBuild.open(build).is_done(plan_of(build), plan_of(build).shards[0])
    mended(build, sound, capsys, "base-00000")


# Receipts.


RIGHT_KEYS = {
    "rows": ["x", -1, None, 10**30, True],
    "rejected": [[], 1.5],
    "unfilled": [None, "x", [5], ["x"], {"a": 1}],
    "asked": [5, None, [[]], [], ["x"], "base"],
    "bytes": ["1", 5],
    "sha256": [None, "x", 5, "0" * 64],
    "rejections": [[], "0" * 64],
    "fingerprint": [5, "x"],
    "versions": [None, [], {"python": 3}],
    "finished": [5],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in RIGHT_KEYS.items() for value in values])
def test_a_receipt_with_the_right_keys(build, sound, capsys, tmp_path, key, value):
    """Of wrong types, or of types that are right and values that are not."""
    path = shard_of(build) / "receipt.json"
    path.write_bytes(again(json.loads(path.read_bytes()), **{key: value}))
    ids = [row["id"] for row in lines(build, "metadata.jsonl")]
    with suppress(UserError):
        RawBuild.open(build).unfinished()
    assert release.main(["--raw", str(build), "--out", str(tmp_path / "out"), "--partial"]) in (0, 2)
    capsys.readouterr()
    mended(build, sound, capsys, "base-00000", kept=ids)


@pytest.mark.parametrize("data", [DEEP, b'{"rows": "\\ud800"}', b"5", b"", b"NaN", b"\xff"])
def test_a_receipt_that_is_none(build, sound, capsys, data):
    (shard_of(build) / "receipt.json").write_bytes(data)
    mended(build, sound, capsys, "receipt.json: not a receipt")


# Pictures.


def bomb(side):
    """A PNG of a few kilobytes that says that it has side × side pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def png(size):
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, "PNG")
    return buffer.getvalue()


TEXT_BOMB = bytes.fromhex("89504e470d0a1a0a") + b"".join(
    struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    for kind, data in [
        (b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0)),
        (b"zTXt", b"x\0\0" + zlib.compress(b"x" * 10_000_000)),
        (b"IDAT", zlib.compress(b"\0" * 784)),
        (b"IEND", b""),
    ]
)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bomb(60_000), "does not decode"),
        (bomb(11_000), "is 11000×11000, the recipe says 16×16"),
        (bomb(16)[:45], "does not decode"),
        (TEXT_BOMB, "does not decode"),
        (png((17, 16)), "is 17×16, the recipe says 16×16"),
        (b"", "does not decode"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_committed_picture_that_is_none(build, sound, capsys, tmp_path, data, message):
    """Its digest is that of its row, and the receipt is right: verify decodes none that is too large, nor does the
    release.
    """
    row = lines(build, "metadata.jsonl")[0]
    path = shard_of(build) / row["file_name"]
    path.write_bytes(data)
    edit(build, "metadata.jsonl", 0, sha256=sha256(path))
    receipt = shard_of(build) / "receipt.json"
    values = {
        "sha256": sha256(shard_of(build) / "metadata.jsonl"),
        "bytes": sum(picture.stat().st_size for picture in (shard_of(build) / "images").iterdir()),
    }
    receipt.write_bytes(again(json.loads(receipt.read_bytes()), **values))
    assert release.main(["--raw", str(build), "--out", str(tmp_path / "out")]) in (0, 2)
    assert "Traceback" not in capsys.readouterr().err
    ids = [row["id"] for row in lines(build, "metadata.jsonl")[1:]]
    mended(build, sound, capsys, message, kept=ids)


# Links and folders in the place of files.


def outside(build, name):
    """Something of the user's beside the build, which nobody may read, write to or remove."""
    place = build.parent / "outside" / name
    place.parent.mkdir()
    return place


def test_images_that_lead_out_of_the_shard(build, sound, capsys):
    place = outside(build, "images")
    (shard_of(build) / "images").rename(place)
    (place / ".x.tmp").write_bytes(b"mine")
    (place / "base-base-male-00000.jpg").write_bytes(b"mine")
    (shard_of(build) / "images").symlink_to(place)
    before = {path: path.read_bytes() for path in place.iterdir()}
    mended(build, sound, capsys, "images: is a link")
    assert {path: path.read_bytes() for path in place.iterdir()} == before


@pytest.mark.parametrize("name", ["metadata.jsonl", "rejected.jsonl", "receipt.json"])
@pytest.mark.parametrize("kind", ["link", "loop", "folder", "pipe"])
def test_a_file_in_whose_place_is_something_else(build, sound, capsys, tmp_path, name, kind):
    path = shard_of(build) / name
    data = path.read_bytes()
    path.unlink()
    if kind == "link":
        place = outside(build, "file")
        place.write_bytes(data)
        path.symlink_to(place)
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    assert release.main(["--raw", str(build), "--out", str(tmp_path / "out")]) == 2
    with pytest.raises(UserError):
        write_shard(build, plan_of(build), plan_of(build).shards[0])
    capsys.readouterr()
    mended(build, sound, capsys, f"{name}: ")
    if kind == "link":
        assert place.read_bytes() == data


@pytest.mark.parametrize("kind", ["link", "loop", "folder"])
def test_a_picture_in_whose_place_is_something_else(build, sound, capsys, tmp_path, kind):
    row = lines(build, "metadata.jsonl")[0]
    path = shard_of(build) / row["file_name"]
    if kind == "link":
        place = outside(build, "picture.png")
        path.rename(place)
        path.symlink_to(place)
    else:
        path.unlink()
        path.symlink_to(path.name) if kind == "loop" else path.mkdir()
    assert release.main(["--raw", str(build), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "agfd30k verify" in said
    mended(build, sound, capsys, f"its picture {row['file_name']} is not there")
    if kind == "link":
        assert place.exists()


def test_what_is_set_aside_stays_in_the_build(build, sound, capsys):
    """Also where faulty/ is a link."""
    place = outside(build, "faulty")
    place.mkdir()
    (shard_of(build) / "faulty").symlink_to(place)
    edit(build, "metadata.jsonl", 0, seed=7)
    mended(build, sound, capsys, "`seed` is 7")
    assert not list(place.iterdir())


@pytest.mark.parametrize("target", ["base-00001", "base-00000", "/etc"])
def test_a_shard_that_is_a_link_is_left_to_the_user(build, capsys, tmp_path, target):
    """It is neither read nor repaired, and nothing is released or made while it lies there."""
    (shard_of(build)).rename(tmp_path / "elsewhere")
    shard_of(build).symlink_to(target)
    for options in ([], ["--repair"]):
        assert verify.main([str(build), *options]) == 1
        assert "base-00000: not a shard of this plan, or a link" in capsys.readouterr().out
    assert release.main(["--raw", str(build), "--out", str(tmp_path / "out")]) == 2
    with pytest.raises(UserError):
        RawBuild.open(build).require_no_strangers()


# Notes.


NOTES = {
    "asked.json": [{"only": ["nonsense"]}, {"scale": -1.0}, {"scale": 1e300}, {"limit": 0}, {"limit": 10**30}],
    "searched.json": [{"rows": 5}, {"rows": None}],
    "duplicates.json": [
        {"losers": []},
        {"losers": {"../../etc": {}}},
        {"losers": {"base-99999": {}}},
        {"losers": {"base-00000": {"x": {"attempt": 0, "reason": "duplicate", "detail": ""}}}},
        {"losers": {"base-00000": {"base-base-male-00000": {"attempt": "0", "reason": "duplicate", "detail": ""}}}},
        {"losers": {"base-00000": {"base-base-male-00000": [0, "duplicate", ""]}}},
    ],
}
GARBAGE = [DEEP, b"", b"[]", b"NaN", b'{"rows": "\\ud800"}', b"\xff", "folder", "link"]


@pytest.mark.parametrize(
    ("name", "spoilt"), [(name, values) for name, all in NOTES.items() for values in [*all, *GARBAGE]]
)
def test_a_damaged_note_is_set_aside(build, sound, capsys, tmp_path, name, spoilt):
    """And a run, or a release, that would follow it ends in one line."""
    path = build / name
    note = json.loads(path.read_bytes()) if path.exists() else {}
    path.unlink(missing_ok=True)
    if isinstance(spoilt, dict):
        path.write_bytes(again(note, **spoilt))
    elif spoilt == "folder":
        path.mkdir()
    elif spoilt == "link":
        path.symlink_to(path.name)
    else:
        path.write_bytes(spoilt)
    raw = RawBuild.open(build)
    if name == "duplicates.json":
        with pytest.raises(UserError, match=r"duplicates.json: damaged \(.*\); remove it"):
            deduplication.resume(raw, plan_of(build))
    assert release.main(["--raw", str(build), "--out", str(tmp_path / "out")]) in (0, 2)
    assert capsys.readouterr().err.count("\n") <= 1
    mended(build, sound, capsys, f"{name}: damaged")
    assert (build / "faulty" / name).is_symlink() or (build / "faulty" / name).exists()


def everywhere(value):
    """Every place in a document, as a function that puts something else there."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield lambda new, key=key: value.__setitem__(key, new)
            yield from everywhere(value[key])


ANYTHING = [None, 5, "x", [], {}, -1.5, True, "\ud800", [[]], {"a": []}, 10**50, float("nan")]


@pytest.mark.parametrize("turn", range(len(ANYTHING)))
def test_a_recipe_with_anything_anywhere_is_one_line(build, turn):
    """Whatever a hand or a bit has made of recipe.json; nothing can be read without it. Every value has places of its
    own, so that all of them together are many.
    """
    text = (build / "recipe.json").read_text()
    count = sum(1 for _ in everywhere(json.loads(text)))
    for number in range(2 * turn, count, 29):
        document = json.loads(text)
        list(everywhere(document))[number](ANYTHING[turn])
        (build / "recipe.json").write_text(json.dumps(document))
        with suppress(UserError):
            RawBuild.open(build).unfinished()


@pytest.mark.parametrize("kind", ["loop", "file"])
def test_what_is_no_folder_of_shards_is_told(build, capsys, kind):
    """And does not count as a build without a fault."""
    shutil.rmtree(build / "shards")
    (build / "shards").symlink_to("shards") if kind == "loop" else (build / "shards").write_text("")
    assert verify.main([str(build)]) == 2
    assert "shards: is no folder; move it away" in capsys.readouterr().err


def test_a_pipe_is_no_recipe(build, capsys):
    """Nobody waits for what is never written."""
    (build / "recipe.json").unlink()
    os.mkfifo(build / "recipe.json")
    assert verify.main([str(build)]) == 2
    assert "recipe.json: damaged" in capsys.readouterr().err


def test_a_pipe_is_no_picture(build, tmp_path, capsys):
    """Nor does a release wait for one."""
    place = next((build / "shards/base-00000/images").iterdir())
    place.unlink()
    os.mkfifo(place)
    assert release.main(["--raw", str(build), "--out", str(tmp_path / "out")]) == 2
    assert f"its picture images/{place.name} is not there" in capsys.readouterr().err


def test_a_copied_picture_in_an_unfinished_shard_is_told(open_build, sound, capsys):
    """It would lie there for ever: no sample has it."""
    place = min((open_build / "shards").glob("*/images/*.png"))
    shutil.copy(place, place.with_name(f"{place.stem} (copy).png"))
    mended(open_build, sound, capsys, "(copy).png: a picture of no sample")


def test_a_shard_that_is_opened_again_while_it_is_read_is_not_damaged(build, monkeypatch):
    """Another process has taken its receipt back to add to it: whoever reads waits and reads again."""
    raw, read = RawBuild.open(build), ShardLines.of

    def lines(folder, rules):
        (folder / "receipt.json").unlink()
        (folder / "metadata.jsonl").write_bytes(b"")
        return read(folder, rules)

    monkeypatch.setattr(ShardLines, "of", lines)
    with pytest.raises(Reopened):
        raw.sound_lines(shard_of(build))
