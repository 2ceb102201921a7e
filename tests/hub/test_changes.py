"""What is told of an upload, and how its files are divided into commits."""

from types import SimpleNamespace

import pytest

from builder.hub import changes
from builder.hub.changes import UploadProgress, commit_batches


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until a test sets `now`."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(changes, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_an_upload_tells_what_was_sent_how_fast_and_what_is_left(clock, capsys):
    """The rate is that of the whole upload so far, the rest at that rate."""
    progress = UploadProgress(1_250_000_000)
    clock.now += 100
    progress.add(50_000_000)
    assert capsys.readouterr().err == "sent 50.0 of 1,250.0 MB, 0.5 MB/s, 40 min left\n"
    clock.now += 100
    progress.add(150_000_000)
    assert capsys.readouterr().err == "sent 200.0 of 1,250.0 MB, 1.0 MB/s, 18 min left\n"


def test_an_upload_is_told_of_every_two_seconds_and_at_its_end(clock, capsys):
    progress = UploadProgress(10_000_000)
    for _ in range(3):
        clock.now += 0.9
        progress.add(1_000_000)
    assert capsys.readouterr().err.count("sent ") == 1
    progress.add(1_000_000)
    assert capsys.readouterr().err == ""
    progress.add(6_000_000)
    assert capsys.readouterr().err.startswith("sent 10.0 of 10.0 MB, ")


def test_an_upload_of_no_time_at_all_has_a_rate(clock, capsys):
    UploadProgress(1).add(1)
    assert "0 min left" in capsys.readouterr().err


@pytest.mark.parametrize("first", [True, False])
def test_the_card_comes_last_and_the_first_upload_is_marked_first(monkeypatch, first):
    monkeypatch.setattr(changes, "FILES_A_COMMIT", 2)
    names = ["data/a", "data/b", "data/c", "recipe.toml", "README.md"]
    marked = [["recipe.toml", "data/a"], ["data/b", "data/c"], ["README.md"]]
    plain = [["data/a", "data/b"], ["data/c", "recipe.toml"], ["README.md"]]
    assert commit_batches(names, first) == (marked if first else plain)


def test_every_part_of_an_older_release_goes_with_it():
    """A first page that the new release has not would be loaded with its attribute."""
    gone = ["assets/all.webp", "data/hair/train-00000-of-00008.parquet", "data/hair/train-first.parquet"]
    gone += ["first_page/train.parquet", "metadata/train-00000-of-00001.parquet"]
    kept = ["README.md", "data/hair/notes.txt", "first_page/notes.txt", "mine/first_page/train.parquet"]
    local = SimpleNamespace(files={})
    assert changes.differences(local, dict.fromkeys([*kept, *gone])) == ([], gone)
