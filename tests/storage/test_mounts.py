"""Buckets that are mounted as folders are told from disks."""

import pytest

from builder.common.errors import UserError
from builder.storage.mounts import require_unmounted
from tests.fixtures.inside import run

LINES = """22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
90 22 0:50 / {place}/bucket rw,nosuid shared:3 - {kind} faces rw,user_id=0
91 22 0:51 / {place}/disk\\040two rw shared:4 - xfs /dev/vdb rw
92 90 0:52 / {place}/bucket/disk rw shared:5 - ext4 /dev/vdc rw
"""


@pytest.fixture
def mounts(tmp_path):
    def write(kind):
        path = tmp_path / "mountinfo"
        path.write_text(LINES.format(place=tmp_path, kind=kind))
        return path

    return write


@pytest.mark.parametrize(
    ("kind", "scheme"),
    [
        *[("fuse.s3fs", "s3"), ("fuse.mount-s3", "s3"), ("fuse.goofys", "s3"), ("fuse.rclone", "s3")],
        *[("fuse.gcsfuse", "gs"), ("fuse.blobfuse2", "az"), ("fuse.hf-mount", "hf")],
    ],
)
def test_a_mounted_bucket_is_refused_in_a_line_that_says_what_to_give_instead(tmp_path, mounts, kind, scheme):
    with pytest.raises(UserError, match=rf"mounted bucket \({kind}\).*--raw {scheme}://"):
        require_unmounted(tmp_path / "bucket" / "not" / "there" / "yet", mounts(kind))


@pytest.mark.parametrize("place", ["disk two/raw", "bucket/disk/raw", "bucketful", "."])
def test_a_disk_is_none(tmp_path, mounts, place):
    require_unmounted(tmp_path / place, mounts("fuse.s3fs"))


@pytest.mark.parametrize("kind", ["fuse.sshfs", "nfs4", "ext4"])
def test_other_mounts_are_none(tmp_path, mounts, kind):
    require_unmounted(tmp_path / "bucket" / "raw", mounts(kind))


def test_a_system_that_does_not_tell_is_believed(tmp_path):
    require_unmounted(tmp_path, tmp_path / "nothing")


def test_a_link_into_a_mounted_bucket_is_one(tmp_path, mounts):
    (tmp_path / "bucket").mkdir()
    (tmp_path / "raw").symlink_to(tmp_path / "bucket")
    with pytest.raises(UserError, match="mounted bucket"):
        require_unmounted(tmp_path / "raw", mounts("fuse.gcsfuse"))


def test_generate_refuses_before_it_does_anything(tmp_path, mounts, monkeypatch):
    from builder.storage import mounts as module

    monkeypatch.setattr(module.require_unmounted, "__defaults__", (mounts("fuse.s3fs"),))
    done = run("--model", "preview", "--raw", str(tmp_path / "bucket" / "raw"), load=None, checks=None)
    assert done.returncode == 2 and "is a mounted bucket" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "bucket").exists()
