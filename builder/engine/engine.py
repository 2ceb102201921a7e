"""What every engine promises, so that a stage need not know where its tasks run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


class Engine(Protocol):
    """Runs tasks somewhere. Each is run at least once, perhaps again after a worker died, so a step must be idempotent:
    what it writes appears whole under a name that follows from the task, or is there already.
    """

    def map(self, step: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """Yield the result of `step` for every task, in any order, each once. Steps, tasks and results are pickled.

        An error that a step raises ends it all, and is raised here. Raises LostTask for a task whose worker dies time
        and again.
        """
        ...
