"""SIGKILL at random instants, for real; `python tests/experiments/kill.py` does it more often and prints a table."""

import random

import pytest

from tests.experiments.kill import BUILD, SMALL, content, run_here, startup, trial
from tests.fixtures.shared import shared

pytestmark = pytest.mark.process


def launch(folder, ranks):
    """The next run, in this process: what is killed before it is started by the launcher."""
    return run_here(folder, *SMALL).returncode


def finish(folder, ranks=0):
    assert run_here(folder, *BUILD).returncode == 0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return content(shared(tmp_path_factory, "undisturbed", finish))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    def make(folder):
        assert launch(folder, 0) == 0

    return content(shared(tmp_path_factory, "small", make))


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_nothing_committed_is_lost_doubled_or_torn(tmp_path, undisturbed, ranks):
    """Killed and started again, a build ends as if nothing had happened, having redone at most a batch a rank."""
    found = trial(tmp_path / "build", ranks, 3, random.Random(ranks), undisturbed, finish)
    assert found["kills"] == 3 and found["refilling"] >= 1 and found["as undisturbed"] and found["taken back"] > 20
    assert found["lost"] == found["doubled"] == found["torn"] == 0
    assert found["most redone"] <= found["allowed"]


@pytest.mark.parametrize(("ranks", "whole"), [(1, False), pytest.param(2, False, marks=pytest.mark.slow), (2, True)])
def test_no_worker_goes_on_alone_when_it_is_killed_while_it_starts(tmp_path, small, ranks, whole):
    """Killed in its first seconds, a launch leaves no process that holds a lock, and the next one makes all."""
    found = startup(tmp_path, ranks, whole, 2, random.Random(ranks), small, 8, launch)
    assert found["left after 10 s"] == 0 and found["next ends with 0"] == found["as undisturbed"] == 2
