"""SIGKILL at random instants, for real; `python tests/experiments/kill.py` does it more often and prints a table."""

import random

import pytest

from tests.experiments.kill import content, finish, trial

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(folder, ranks=0)
    return content(folder)


@pytest.mark.parametrize("ranks", [1, 2])
def test_nothing_committed_is_lost_doubled_or_torn(tmp_path, undisturbed, ranks):
    """Killed and started again, a build ends as if nothing had happened, having redone at most a batch a rank."""
    found = trial(tmp_path / "build", ranks, 3, random.Random(ranks), undisturbed)
    assert found["kills"] == 3 and found["refilling"] >= 1 and found["as undisturbed"] and found["taken back"] > 20
    assert found["lost"] == found["doubled"] == found["torn"] == 0
    assert found["most redone"] <= found["allowed"]
