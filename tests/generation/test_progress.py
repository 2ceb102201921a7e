"""Progress says what was made, how fast, and how long the rest takes."""

import io
import sys
from types import SimpleNamespace

import pytest

from builder.generation import progress
from builder.generation.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until a test sets `now`."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
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
    assert line.endswith(", 2.00 pictures/s | 200/400 in all, 2.00 pictures/s, 0:01:40 left\n")
    clock.now += 150
    on_disk[0] = 400
    all_ranks.shard("hat-00002", 16, 0, 4.0)
    assert capsys.readouterr().err.endswith(", 4.00 pictures/s | 400/400 in all, 1.50 pictures/s\n")


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
    assert progress._duration(seconds) == text
