"""Results in the order of their tasks, from engines that give them in any order."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from builder.engine.engine import Engine, as_sent

Task = TypeVar("Task")
Result = TypeVar("Result")


def ordered(
    engine: Engine,
    step: Callable[[Task], Iterable[Result]],
    tasks: Iterable[Task],
    on_done: Callable[[], object] = lambda: None,
) -> Iterator[Result]:
    """Yield the results of every task, of which one may have any number, in the order of the tasks: as
    `itertools.chain.from_iterable(map(step, tasks))` does, whatever the engine.

    What is early is held back. So is an error: it is raised in its turn, after all results before it. `on_done` is
    called whenever a task is done, also out of turn.
    """
    early: dict[int, _Results] = {}
    turn = 0
    numbered = [_Numbered(*entry) for entry in enumerate(tasks)]
    with closing(engine.map(_Collected(step), numbered)) as parts:
        for part in parts:
            early[part.number] = part
            on_done()
            while turn in early:
                part = early.pop(turn)
                yield from part.values
                if part.error:
                    raise part.error
                turn += 1
    if turn < len(numbered):
        raise RuntimeError(f"{numbered[turn]}: the engine gave no result")


@dataclass(frozen=True)
class _Numbered(Generic[Task]):
    """A task with its place, called what the task is called."""

    number: int
    task: Task

    def __str__(self) -> str:
        return str(self.task)


@dataclass(frozen=True)
class _Results:
    """What a task gave, and the error that ended it, or None."""

    number: int
    values: list[Any]
    error: Exception | None


@dataclass(frozen=True)
class _Collected(Generic[Task]):
    """A step that keeps its error with the results before it."""

    step: Callable[[Task], Iterable[Any]]

    def __call__(self, numbered: _Numbered[Task]) -> _Results:
        values: list[Any] = []
        try:
            for value in self.step(numbered.task):
                values.append(value)
        except Exception as error:
            error.add_note(traceback.format_exc())  # pickle drops where it was raised
            return _Results(numbered.number, values, as_sent(error))
        return _Results(numbered.number, values, None)
