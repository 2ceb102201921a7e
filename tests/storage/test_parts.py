"""A shard as one Parquet file, and back, byte for byte."""

import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builder.common.documents import Malformed
from builder.raw.build import RawBuild
from builder.raw.receipts import Damaged, receipt
from builder.storage import parts
from tests.fixtures.builds import write_raw


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts") / "raw"
    write_raw(folder, only=["occlusion"], scale=0.01)
    return next(path for path in sorted((folder / "shards").iterdir()))


def files(shard):
    return {
        str(path.relative_to(shard)): path.read_bytes()
        for path in shard.rglob("*")
        if path.is_file() and not path.name.startswith(".") and path.name != "receipt.json"
    }


@pytest.mark.parametrize("group", [1, 500, 64 << 20])
def test_a_shard_comes_back_byte_for_byte_however_it_is_cut(shard, tmp_path, monkeypatch, group):
    monkeypatch.setattr(parts, "GROUP", group)
    parts.write(shard, tmp_path / "part")
    (tmp_path / "again" / "images").mkdir(parents=True)
    parts.restore(tmp_path / "part", tmp_path / "again")
    assert files(tmp_path / "again") == files(shard) and len(files(shard)) > 3
    assert parts.read_lines(tmp_path / "part").fits(receipt(shard))


def test_the_same_shard_gives_the_same_part(shard, tmp_path):
    for name in ("one", "two"):
        parts.write(shard, tmp_path / name)
    one, two = (hashlib.sha256((tmp_path / name).read_bytes()).digest() for name in ("one", "two"))
    assert one == two


def test_lines_are_read_without_the_pictures(shard, tmp_path):
    class Counted:
        """A file that counts what is read."""

        def __init__(self, path):
            self.file, self.bytes = open(path, "rb"), 0
            self.closed = False

        def read(self, size=-1):
            data = self.file.read(size)
            self.bytes += len(data)
            return data

        def __getattr__(self, name):
            return getattr(self.file, name)

    large = tmp_path / "large"
    table = pa.table({"kind": [0], "line": [b"{}\n"], "picture": [b"x" * 10_000_000]}, parts.SCHEMA)
    pq.write_table(table, large, use_dictionary=False, compression="none", write_statistics=False)
    file = Counted(large)
    assert parts.read_lines(pa.PythonFile(file, "r")).rows == b"{}\n" and file.bytes < 100_000


def test_a_picture_that_is_not_the_committed_one_is_not_sent(tmp_path):
    write_raw(tmp_path / "raw", only=["occlusion"], limit=8)
    raw = RawBuild.open(tmp_path / "raw")
    shard = next(iter(raw.finished()))
    next((shard / "images").iterdir()).write_bytes(b"torn")
    with pytest.raises(Damaged, match="not the picture that was committed"):
        parts.write(shard, tmp_path / "part")


@pytest.mark.parametrize(
    "name", ["../../evil.png", "images/../x.png", "/etc/passwd", "images/.lock", "images/a/b", None]
)
def test_a_hostile_part_writes_nothing_elsewhere(tmp_path, name):
    line = json.dumps({"file_name": name}).encode() + b"\n"
    pq.write_table(pa.table({"kind": [0], "line": [line], "picture": [b"x"]}, parts.SCHEMA), tmp_path / "part")
    (tmp_path / "a" / "b" / "images").mkdir(parents=True)
    with pytest.raises(Malformed):
        parts.restore(tmp_path / "part", tmp_path / "a" / "b")
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"part", "metadata.jsonl", "rejected.jsonl"}


def test_what_is_no_part_is_malformed(tmp_path):
    (tmp_path / "part").write_bytes(b"PAR1 nothing at all PAR1")
    with pytest.raises(Malformed):
        parts.read_lines(tmp_path / "part")
    with pytest.raises(Malformed):
        parts.restore(tmp_path / "part", tmp_path)
