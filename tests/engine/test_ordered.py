"""Results in the order of their tasks, whatever the engine does."""

import os

import pytest

from builder.common.errors import UserError
from builder.engine.here import Here
from builder.engine.ordered import ordered


class Backwards:
    """The worst order: the last task first."""

    def map(self, step, tasks):
        yield from map(step, reversed([*tasks]))


def letters(word):
    """As many results as there are letters, and an error at an x."""
    for letter in word:
        if letter == "x":
            raise UserError(f"{word} has an x")
        yield letter


ENGINES = [Here(1), Backwards(), pytest.param(Here(2), marks=pytest.mark.process)]


@pytest.mark.parametrize("engine", ENGINES)
def test_results_come_in_the_order_of_the_tasks(engine):
    assert "".join(ordered(engine, letters, ["abc", "", "d", "ef"])) == "abcdef"


@pytest.mark.parametrize("engine", ENGINES)
def test_an_error_comes_in_its_turn(engine):
    """After all results before it, those of its own task too, and before those of later tasks."""
    results = ordered(engine, letters, ["ab", "cxd", "e", "fx"])
    assert [next(results) for _ in range(3)] == ["a", "b", "c"]
    with pytest.raises(UserError, match="cxd has an x"):
        next(results)


def test_a_task_is_done_when_it_is_done_and_not_in_its_turn():
    done = []
    results = ordered(Backwards(), letters, ["a", "b", "c"], lambda: done.append(None))
    assert next(results) == "a" and len(done) == 3


def killed(name):
    os.kill(os.getpid(), 9)


@pytest.mark.process
def test_a_lost_task_is_called_what_it_is_called():
    with pytest.raises(UserError, match=r"\A(one|two): 3 processes died of it"):
        list(ordered(Here(2), killed, ["one", "two"]))


def test_a_task_without_a_result_is_no_silence():
    class Forgetful:
        def map(self, step, tasks):
            yield from map(step, [*tasks][:-1])

    with pytest.raises(RuntimeError, match="d: the engine gave no result"):
        list(ordered(Forgetful(), letters, ["abc", "d"]))
