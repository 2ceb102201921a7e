"""The first real run, rehearsed: a few worlds of `python tests/experiments/first_run.py`, which has many more."""

from dataclasses import replace

import pytest

from tests.experiments.first_run import ROWS, Theatre

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def theatre(tmp_path_factory):
    return Theatre(tmp_path_factory.mktemp("first_run"))


def play(theatre, name):
    """Play a row without the launcher, which takes as long again."""
    (row,) = (row for row in ROWS if row.name == name)
    found = theatre.play(replace(row, ranks=0))
    assert found.wrong == [], found.output


def test_the_default_run_and_the_next_one_without_network(theatre):
    """The default model makes pictures at the first try, without a pickle; once downloaded it needs no network."""
    play(theatre, "default")
    play(theatre, "offline")


def test_what_cannot_be_had_is_one_line(theatre):
    """A model that cannot run is refused before a weight is downloaded or anything is recorded."""
    play(theatre, "SDXL")
