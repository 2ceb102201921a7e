"""A build and a release on media that are read-only, and what a kill or a full disk leaves of a release."""

import errno
import shutil
import subprocess
import sys

import pytest

from builder import release, report
from builder.dataset import folder, packing
from builder.lint import main as lint
from builder.raw.build import RawBuild
from builder.raw.receipts import Reopened
from tests.fixtures.builds import write_raw

COMMANDS = """
set -e
mount --bind {media} {media}
mount -o remount,ro,bind {media}
! touch {media}/raw/x 2>/dev/null
{python} -m builder.verify {media}/raw
{python} -m builder.release --raw {media}/raw --out {work}/out
{python} -m builder.report {media}/release --out {work}/page.html
{python} -m builder.lint {media}/release --allow-preview --allow-incomplete
{python} -c "{judged}"
"""
JUDGED = """
from pathlib import Path
from builder.judging import pictures
print(len(list(pictures.load(Path('{}')).entries())))
"""


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """A raw build and its release."""
    place = tmp_path_factory.mktemp("media")
    write_raw(place / "raw", only=["base"], scale=0.02)
    packing.pack(RawBuild.open(place / "raw"), place / "release")
    return place


@pytest.fixture
def raw(media, tmp_path):
    return RawBuild.open(shutil.copytree(media / "raw", tmp_path / "raw"))


@pytest.mark.process
def test_a_build_on_read_only_media_is_read_by_every_command(media, tmp_path):
    """Really mounted read-only: verify, release, report, lint and judge write nothing into it."""
    copy = shutil.copytree(media, tmp_path / "media")
    for path in copy.rglob("*.lock"):
        path.unlink()
    script = COMMANDS.format(media=copy, work=tmp_path, python=sys.executable, judged=JUDGED.format(copy / "raw"))
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out/README.md").exists() and (tmp_path / "page.html").exists()
    assert done.stdout.splitlines()[-1] == "32"
    assert not list(copy.rglob("*.lock"))


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_lock_that_cannot_be_made_is_no_reason_to_fail(raw, tmp_path, monkeypatch, number):
    """Who may not write there changes nothing there; any other error is one."""

    def refuse(*_, **__):
        raise OSError(number, "no", str(raw.folder))

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with raw.reading():
        pass
    number = errno.EIO
    with pytest.raises(OSError, match="no"), raw.reading():
        pass


def test_an_error_leaves_nothing_of_a_release(raw, tmp_path, monkeypatch):
    """As on a disk that is full: what was written goes at once."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(packing.card, "render", full)
    with pytest.raises(OSError, match="No space"):
        packing.pack(raw, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"raw"}


def leave(out, *names):
    """What a kill leaves beside a release."""
    for name in names:
        (out.parent / f".{out.name}.{name}" / "data").mkdir(parents=True)
        (out.parent / f".{out.name}.{name}" / "README.md").write_text(name)


@pytest.mark.parametrize(
    "command",
    [
        lambda raw, out: release.main(["--raw", str(raw), "--out", str(out)]),
        lambda raw, out: lint([str(out)]),
        lambda raw, out: report.main([str(out)]),
    ],
)
def test_what_a_kill_left_goes_with_the_next_command(raw, media, tmp_path, command):
    """Whichever that is, and whether or not it makes a release."""
    out = shutil.copytree(media / "release", tmp_path / "out")
    leave(out, "tmp", "old")
    command(raw.folder, out)
    assert not list(tmp_path.glob(".out*")) and (out / "data").exists()


def test_a_kill_between_two_renames_gives_the_old_release_back(tmp_path):
    leave(tmp_path / "out", "tmp", "old")
    folder.sweep(tmp_path / "out")
    assert (tmp_path / "out/README.md").read_text() == "old" and not list(tmp_path.glob(".out*"))


def test_what_a_living_process_is_writing_stays(tmp_path):
    leave(tmp_path / "out", "tmp")
    with folder.lock(tmp_path / "out"):
        folder.sweep(tmp_path / "out")
        assert (tmp_path / ".out.tmp").exists()
    folder.sweep(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_release_lacks_nothing_that_was_asked_for(raw, tmp_path):
    """Another process may open again what was finished: nothing is released then, and a current one does not pass."""
    plan = raw.asked
    assert packing.pack(raw, tmp_path / "out", plan=plan)[1]
    receipt = raw.shard_folder(plan.shards[0]) / "receipt.json"
    data = receipt.read_bytes()
    receipt.unlink()
    for pack in (packing.pack, packing.pack_stale):
        with pytest.raises(Reopened, match="another process is writing here"):
            pack(raw, tmp_path / "out", plan=plan)
    receipt.write_bytes(data)
    assert packing.pack_stale(raw, tmp_path / "out", plan=plan) is None
