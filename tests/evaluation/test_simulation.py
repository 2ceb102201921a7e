"""The simulation of what a report promises: it runs, and tells an interval that is too narrow and a test too eager."""

import sys

import numpy as np
import pytest

from builder.evaluation import statistics
from tests.experiments import evaluation


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["evaluation.py", "--runs", "100", *arguments])
    return evaluation.main(), capsys.readouterr().out


QUICK = ("detect", "attribute")
LONG = ("landmark", "fake", "recognise", "rest", "compare", "twins")


@pytest.mark.process
@pytest.mark.parametrize("tasks", [QUICK, pytest.param(LONG, marks=pytest.mark.slow)])
def test_a_report_holds_what_it_promises(monkeypatch, capsys, tasks):
    """Of every task; the sizes are those of the real release, but for recognition's."""
    status, out = run(monkeypatch, capsys, "--pairs", "0.1", "--seed", "3", "--tasks", *tasks)
    assert status == 0 and out.endswith("all as promised\n"), out
    for task in {*tasks} & {"detect", "attribute", "landmark", "fake", "recognise"}:
        assert (
            f"{task}: rate" in out and f"{task}: difference to base" in out and f"{task}: worst three found in" in out
        )
    if "rest" in tasks:
        assert "recognise without base: difference to the rest" in out and "rest: worst three found in" in out


def test_an_interval_that_is_too_narrow_is_told(monkeypatch, capsys):
    exact = statistics.exact

    def narrow(failures, trials):
        low, high = exact(failures, trials)
        middle = (low + high) / 2
        return statistics.Interval(middle + (low - middle) * 0.8, middle + (high - middle) * 0.8)

    monkeypatch.setattr(statistics, "exact", narrow)
    assert run(monkeypatch, capsys, "--tasks", "attribute")[0] == 1


def test_a_test_that_is_too_eager_is_told(monkeypatch, capsys):
    fisher = statistics.fisher
    monkeypatch.setattr(statistics, "fisher", lambda *counts: fisher(*counts) / 8)
    assert run(monkeypatch, capsys, "--tasks", "attribute")[0] == 1


def test_models_that_are_compared_are_told_too(monkeypatch, capsys):
    monkeypatch.setattr(statistics, "phi", lambda both, *rest: np.full(both.shape, 0.9))
    assert run(monkeypatch, capsys, "--tasks", "compare")[0] == 1


@pytest.mark.parametrize("share", [1.0, 0.1])
def test_the_cells_are_the_shipped_tables(share):
    release = evaluation.Release.of(share)
    assert len(release.names) == 64 and release.sizes.sum() == 30_000 * share
    assert {release.names[place] for place in release.base} == {("base", "male"), ("base", "female")}
