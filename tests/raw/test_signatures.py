"""`verify --signatures`: how many pictures are signed by whom, and which were changed; raw builds and releases."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builder import verify
from builder.common import documents
from builder.common.files import sha256
from builder.dataset import packing
from builder.plan.plan import Plan
from builder.raw.build import RawBuild
from builder.raw.signing import Signer
from tests.fixtures import certificates
from tests.fixtures.builds import SPEC, write_raw, write_shard

SHARD = "shards/base-00000"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return certificates.Files(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def sound(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound") / "raw"
    write_raw(folder, only=["base"], scale=0.01, signer=Signer.of_files(files.chain, files.key))
    packing.pack(RawBuild.open(folder), folder.with_name("out"))
    return folder


@pytest.fixture
def build(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "raw")


def verified(capsys, *arguments):
    status = verify.main([str(argument) for argument in arguments])
    written = capsys.readouterr()
    return status, written.out.splitlines(), written.err


def counts(trusted=0, untrusted=0, tampered=0, unsigned=0):
    valid = f"{trusted + untrusted} valid ({trusted} trusted, {untrusted} not)"
    return f"signatures: {valid}, 0 expired, {tampered} tampered, {unsigned} unsigned"


def change(path):
    """Flip a bit in the middle of a picture's data: it still decodes, or does not, as chance will have it."""
    data = bytearray(path.read_bytes())
    data[data.rindex(b"IDAT") + 40] ^= 1
    path.write_bytes(data)


def seal(build, name):
    """Make rows and receipts fit a changed picture, as somebody who hides the change would."""
    path = build / SHARD / "metadata.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        if row["file_name"].endswith(name):
            row["sha256"] = sha256(build / SHARD / row["file_name"])
            row["digest"] = documents.digest({key: value for key, value in row.items() if key != "digest"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_signatures_are_counted_and_trusted_by_the_users_list(build, files, capsys, tmp_path):
    other = tmp_path / "other.pem"
    other.write_bytes(certificates.Authority("Other").pem)
    count, sound_line = 16, ["16 rows, 0 faults"]
    trusting = ["--signatures", "--trust", files.anchors]
    assert verified(capsys, build) == (0, sound_line, "")
    assert verified(capsys, build, *trusting) == (0, [*sound_line, counts(trusted=count)], "")
    distrusting = ["--signatures", "--trust", other]
    assert verified(capsys, build, *distrusting) == (0, [*sound_line, counts(untrusted=count)], "")
    says = "signatures: 16 valid (whom to trust, --trust says), 0 expired, 0 tampered, 0 unsigned"
    assert verified(capsys, build, "--signatures") == (0, [*sound_line, says], "")


def test_a_changed_picture_is_named_even_where_all_digests_fit(build, files, capsys):
    picture = min((build / SHARD / "images").iterdir())
    change(picture)
    seal(build, picture.name)
    status, lines, _ = verified(capsys, build, "--signatures", "--trust", files.anchors)
    fault = f"{picture.stem}: images/{picture.name} was changed after it was signed by Signer, Tests "
    assert status == 1 and counts(trusted=15, tampered=1) in lines
    assert f"{fault}(assertion.dataHash.mismatch)" in "\n".join(lines)


def test_repair_sets_a_changed_picture_aside(build, capsys):
    picture = min((build / SHARD / "images").iterdir())
    change(picture)
    assert verified(capsys, build, "--signatures", "--repair")[0] == 0
    assert not picture.exists() and (build / SHARD / "faulty" / picture.name).is_file()


def test_a_build_goes_on_signed_or_not_and_verify_tells_how_many_are(files, tmp_path, capsys):
    """Who signs is no part of the recipe: the same shard, begun unsigned, is finished by a signer."""
    write_raw(tmp_path / "raw", only=["base"], scale=0.01, limit=4)
    plan = Plan(SPEC, ["base"], 0.01, None, 16)
    shutil.rmtree(tmp_path / "raw/shards")
    write_shard(tmp_path / "raw", plan, plan.shards[0], batches=1, finish=False)
    write_shard(tmp_path / "raw", plan, plan.shards[0], signer=Signer.of_files(files.chain, files.key))
    RawBuild.open(tmp_path / "raw").note_asked(plan)
    status, lines, _ = verified(capsys, tmp_path / "raw", "--signatures", "--trust", files.anchors)
    unsigned = int(lines[-1].split()[-2])
    assert status == 0 and 0 < unsigned <= 4 and lines == ["16 rows, 0 faults", counts(16 - unsigned, 0, 0, unsigned)]


def test_the_signatures_of_a_release_are_those_of_the_raw_build(sound, files, capsys):
    release = sound.with_name("out")
    expected = (0, [counts(trusted=16)], "")
    assert verified(capsys, release, "--signatures", "--trust", files.anchors) == expected


def test_a_changed_picture_of_a_release_is_named(sound, tmp_path, capsys):
    release = shutil.copytree(sound.with_name("out"), tmp_path / "out")
    path = min(release.glob("data/*/train*.parquet"))
    table = pq.read_table(path)
    rows = table.to_pylist()
    for place, data in ((0, bytearray(rows[0]["image"]["bytes"])), (1, bytearray(b"no picture"))):
        if place == 0:
            data[data.rindex(b"IDAT") + 40] ^= 1
        rows[place]["image"]["bytes"] = bytes(data)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    status, lines, _ = verified(capsys, release, "--signatures")
    assert status == 1 and lines[:2] == [
        f"{rows[0]['id']}: its picture was changed after it was signed by Signer, Tests (assertion.dataHash.mismatch)",
        f"{rows[1]['id']}: its picture is neither PNG, WebP nor JPEG",
    ]
    assert "2 tampered, 0 unsigned" in lines[2]


def test_what_is_wrong_with_the_flags_is_a_line(sound, files, tmp_path, capsys):
    missing = tmp_path / "none.pem"
    expected = (2, [], f"verify: {missing}: No such file or directory\n")
    assert verified(capsys, sound, "--signatures", "--trust", missing) == expected
    assert verified(capsys, sound, "--trust", files.anchors) == (2, [], "verify: --trust: belongs to --signatures\n")
    status, lines, error = verified(capsys, sound.with_name("out"))  # a release has no rows to check
    assert status == 2 and lines == [] and error.count("\n") == 1
