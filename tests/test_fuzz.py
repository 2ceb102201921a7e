"""Edited, torn and hostile files; `python tests/experiments/fuzz.py` tries more of them and prints a table."""

import pytest

from tests.experiments.fuzz import World


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [
        ("tables", range(40)),
        ("builds", range(40)),
        ("releases", range(40)),
        pytest.param("tables", range(40, 300), marks=pytest.mark.slow),
        pytest.param("builds", range(40, 300), marks=pytest.mark.slow),
        pytest.param("releases", range(40, 300), marks=pytest.mark.slow),
    ],
)
def test_nothing_is_believed_that_was_not_checked(world, kind, numbers):
    """No traceback, nothing sound lost, no status 0 with something missing, and a repaired build is as if new."""
    mutations = [world.mutate(kind, 0, number) for number in numbers]
    assert not [(number, each.name, each.faults) for number, each in zip(numbers, mutations) if each.faults]
