"""What every engine promises, so that a stage need not know where its tasks run."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Generator, Iterable
from typing import Protocol, TypeVar

from builder.common.errors import UserError, shortened

Task = TypeVar("Task")
Result = TypeVar("Result")

MOST_DEATHS = 3
"""Workers that a task may take with it, when it is known to be that one, before it is given up."""


class Engine(Protocol):
    """Runs tasks somewhere. Each is run at least once, perhaps again after a worker died, so a step must be idempotent:
    what it writes appears whole under a name that follows from the task, or is there already.
    """

    def map(self, step: Callable[[Task], Result], tasks: Iterable[Task]) -> Generator[Result, None, None]:
        """Yield the result of `step` for every task, in any order, each once. Steps, tasks and results are pickled, and
        a step runs in the working folder that this process is in.

        An error that a step raises ends it all, and is raised here. Raises LostTask for a task whose worker dies time
        and again.
        """
        ...


class LostTask(UserError):
    """A task whose worker died time and again, by memory or a fault in a library."""


def lost(task: object) -> LostTask:
    """Return the error of a task that is given up; what it is called is its text."""
    name = shortened(str(task), 100)
    return LostTask(f"{name}: {MOST_DEATHS} processes died of it, perhaps for lack of memory; all else is safe")


def guarded(step: Callable[[Task], Result], task: Task) -> Result:
    """Run a step where its errors go to another process: one that would not arrive there becomes one that does."""
    try:
        return step(task)
    except Exception as error:
        if (sendable := as_sent(error)) is error:
            raise
        raise sendable from error


def as_sent(error: Exception) -> Exception:
    """Return an error if pickle gives it back, or else one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever the constructor of a foreign error makes of its own text
        return (
            UserError(str(error)) if isinstance(error, UserError) else RuntimeError(f"{type(error).__name__}: {error}")
        )
    return error
