"""Progress says what was made, how fast, and how long the rest takes."""

import io
import os
import sys
import time
from types import SimpleNamespace

import pytest

from builder.common import progress as common_progress
from builder.generation import progress
from builder.generation.progress import Holdup, Progress
from builder.plan.plan import Shard


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until a test sets `now`."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now, time=time.time))
    return clock


def test_a_shard_is_told_with_its_own_rate(clock, capsys):
    Progress(100, lambda: (0, 0), main=False).shard("hat-00001", 16, 3, 8.0)
    assert capsys.readouterr().err == "hat-00001: 16 pictures, 3 rejected, 2.00 pictures/s\n"


def test_rank_0_tells_the_rate_of_all_and_the_time_that_is_left(clock, capsys):
    """What an earlier run made counts as done, but not for the rate."""
    on_disk = [100, 0]
    all_ranks = Progress(400, lambda: tuple(on_disk), main=True)
    clock.now += 50
    on_disk[0] = 200
    all_ranks.shard("hat-00001", 16, 3, 8.0)
    line = capsys.readouterr().err
    assert line.endswith(
        "2.00 pictures/s | 200/400 in all; in this run 100, 0 rejected, 2.00 pictures/s, 0:01:40 left\n"
    )
    clock.now += 150
    on_disk[0] = 400
    all_ranks.shard("hat-00002", 1, 0, 0.25)
    line = capsys.readouterr().err
    assert line == (
        "hat-00002: 1 picture, 0 rejected, 4.00 pictures/s | "
        "400/400 in all; in this run 300, 0 rejected, 1.50 pictures/s\n"
    )


def test_a_shard_without_time_has_no_rate(clock, capsys):
    Progress(16, lambda: (0, 0), main=False).shard("hat-00001", 16, 0, 0.0)
    assert "0.00 pictures/s" in capsys.readouterr().err


def test_slow_counting_does_not_slow_the_build_down(clock, capsys):
    """Where counting the files takes long, it is done for a hundredth of the time at most."""
    calls = []

    def count():
        calls.append(clock.now)
        clock.now += 2.0
        return len(calls), 0

    all_ranks = Progress(1000, count, main=True)
    for _ in range(100):
        clock.now += 10
        all_ranks.shard("hat-00001", 16, 0, 8.0)
    assert len(calls) <= 1 + 1 + (clock.now - 1000) / 200
    assert len(calls) >= 5


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_has_one_bar_that_begins_where_the_build_stands(clock, monkeypatch):
    """It ends at what is on the disk, whoever made it, and names no shard."""
    terminal, on_disk = Terminal(), [100, 5]
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = Progress(400, lambda: tuple(on_disk), main=True)
    assert (bar.bar.initial, bar.bar.n, bar.bar.total) == (100, 100, 400)
    on_disk[:] = [250, 7]
    clock.now += 1
    bar.batch()
    assert bar.bar.n == 250
    on_disk[:] = [400, 9]
    bar.shard("hat-00001", 16, 3, 8.0)
    bar.close()
    written = terminal.getvalue()
    assert bar.bar.n == 400 and "400/400" in written and "rejected=9" in written and "hat-00001" not in written


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (3599, "0:59:59"), (90_061, "25:01:01")]
)
def test_a_duration_is_hours_minutes_and_seconds(seconds, text):
    assert common_progress.duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "picture", "0 pictures"),
        (1, "picture", "1 picture"),
        (1200, "picture", "1,200 pictures"),
        (2, "try", "2 tries"),
    ],
)
def test_one_picture_is_no_pictures(number, noun, text):
    assert common_progress.counted(number, noun) == text


def test_a_log_gets_a_line_now_and_then(monkeypatch, capsys):
    """Also while nothing is made: then it says what is done instead, and for how long."""
    monkeypatch.setattr(common_progress, "BEAT", 0.01)
    build = Progress(100, lambda: (20, 3), main=True)
    with build.during("loading the model"):
        wait_for(capsys, "loading the model (0:00:00) | 20/100 in all\n")
    wait_for(capsys, "\n20/100 in all\n")
    build.close()
    capsys.readouterr()
    time.sleep(0.05)
    assert capsys.readouterr().err == ""


def wait_for(capsys, text):
    """Read what is printed until a text is there."""
    said, limit = "", time.monotonic() + 20
    while text not in said:
        assert time.monotonic() < limit, said
        said += capsys.readouterr().err
        time.sleep(0.01)


def test_a_terminal_has_no_heartbeat(monkeypatch):
    monkeypatch.setattr(common_progress, "BEAT", 0.01)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    build = Progress(100, lambda: (20, 3), main=True)
    with build.during("loading the model"):
        time.sleep(0.1)
    build.close()
    assert "loading the model: " in terminal.getvalue() and "in all" not in terminal.getvalue()


def test_the_rate_begins_with_the_first_batch(clock, capsys):
    """Neither what an earlier run made nor the time in which the model was loaded is in it."""
    on_disk = [100, 7]
    build = Progress(400, lambda: tuple(on_disk), main=True)
    clock.now += 500
    build.begin()
    clock.now += 50
    on_disk[:] = [200, 9]
    assert build.line() == "200/400 in all; in this run 100, 2 rejected, 2.00 pictures/s, 0:01:40 left"
    build.close()


def test_the_heartbeat_says_for_whom_a_process_waits(tmp_path):
    """Which shards, for how long, and whether anything comes."""
    shards = [Shard(f"hat-{n:05d}", "hat", 0, 1) for n in range(5)]
    raw = SimpleNamespace(shard_folder=lambda shard: tmp_path / shard.name)
    holdup = Holdup(shards, raw)
    holdup.started -= 75
    line = "waiting for other processes for 0:01:15: they write hat-00000, hat-00001, hat-00002 and 2 more"
    assert holdup() == line
    (tmp_path / "hat-00001").mkdir()
    rows = tmp_path / "hat-00001" / "metadata.jsonl"
    rows.write_text("")
    os.utime(rows, (time.time() - 20.2,) * 2)
    assert holdup() == f"{line}, last 0:00:20 ago"
    os.utime(rows, (time.time() - 700.2,) * 2)
    assert holdup() == f"{line}, last 0:11:40 ago; are they suspended? Ctrl-C ends the waiting"
    del shards[1:]
    assert "they write hat-00000" in holdup() and "more" not in holdup()
