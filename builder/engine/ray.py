"""A cluster by Ray: the extra `ray`, and the only module that imports it.

`RAY_ADDRESS` says where the cluster is; without it one is started on this machine, for as long as this process lives.
All machines of a cluster must see the same folders under the same paths, and have this project installed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

from builder.common.errors import UserError
from builder.engine.engine import MOST_DEATHS, guarded, lost
from builder.engine.here import cores

Task = TypeVar("Task")
Result = TypeVar("Result")

AHEAD = 2
"""Tasks in flight for each core of the cluster: one that works, one that waits."""
PATIENCE = 10.0
"""Seconds for a cluster to answer a call."""
STORE = 100 * 2**20
"""Bytes of shared memory on this machine: what steps give is small. Ray takes no less than 75 MiB."""


class Ray:
    """Runs tasks on a cluster, one for each of its cores at a time, or with `gpus` one for each of its GPUs, which no
    other task uses meanwhile. One that is started here has as many `workers` as this machine has cores, unless given.

    Ray runs a task again whose worker or machine died; one that is lost time and again is given up. For lack of memory
    Ray runs a task again as often as the cluster's own settings say, which is without end by default.
    """

    def __init__(self, workers: int | None = None, gpus: bool = False):
        self.ray = ray_library()
        self.workers = workers
        self.gpus = gpus

    def map(self, step: Callable[[Task], Result], tasks: Iterable[Task]) -> Generator[Result, None, None]:
        """Yield the result of every task; see Engine.map."""
        waiting = iter(tasks)
        flight: dict[Any, Task] = {}
        try:
            while True:
                for task in itertools.islice(waiting, max(0, AHEAD * self.places() - len(flight))):
                    flight[self._start(step, task)] = task
                if not flight:
                    return
                (done,), _ = self.ray.wait([*flight])
                result = self._result(done, flight[done])
                del flight[done]
                yield result
        finally:
            for reference in flight:
                with contextlib.suppress(self.ray.exceptions.RayError):
                    self.ray.cancel(reference, force=True)

    def places(self) -> int:
        """Return how many tasks can run at once now: the cluster may grow. Raises UserError where it shall have GPUs,
        and has none.
        """
        self._connect()
        count = int(self.ray.cluster_resources().get("GPU" if self.gpus else "CPU", 0))
        if self.gpus and not count:
            raise UserError("ray: this cluster has no GPU; --cpu uses its cores, however long that takes")
        return max(1, count)

    def _start(self, step: Callable[[Task], Result], task: Task) -> Any:
        remote = self.ray.remote(max_retries=MOST_DEATHS - 1, num_cpus=1, num_gpus=int(self.gpus))(_run)
        return remote.remote(os.getcwd(), step, task)

    def _result(self, reference: Any, task: Task) -> Any:
        """Return a result, or raise what the step raised, LostTask, or UserError for whatever else Ray says."""
        faults = self.ray.exceptions
        try:
            return self.ray.get(reference)
        except faults.RayTaskError as error:
            raise error.cause from error
        except (faults.WorkerCrashedError, faults.NodeDiedError, faults.OutOfMemoryError, faults.ObjectLostError):
            raise lost(task) from None
        except faults.RayError as error:
            raise UserError(f"ray: {' '.join(str(error).split())}") from error

    def _connect(self) -> None:
        """Connect to the cluster or start one, once in a process. Raises UserError where none answers."""
        if self.ray.is_initialized():
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anyone
        address, quiet = os.environ.get("RAY_ADDRESS"), {"log_to_driver": False, "logging_level": "ERROR"}
        own = {"num_cpus": self.workers or cores(), "include_dashboard": False, "object_store_memory": STORE}
        try:
            if address:
                _require_listener(address)
                self.ray.init(address, **quiet)
            else:
                self.ray.init("local", **quiet, **own)
        except (OSError, ValueError, RuntimeError, self.ray.exceptions.RayError) as error:
            where = f"RAY_ADDRESS={address}: no Ray cluster answers" if address else "Ray does not start"
            raise UserError(f"{where} ({' '.join(str(error).split())})") from error


def _require_listener(address: str) -> None:
    """Raise OSError where nobody listens at a host and port: Ray itself would wait for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()


def ray_library() -> Any:
    """Return the library. Raises UserError where it is not installed."""
    try:
        import ray  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise UserError(
            f'Ray (--engine ray, or RAY_ADDRESS) needs the extra `ray`: pip install -e ".[ray]" ({error})'
        ) from None
    return ray


def _run(folder: str, step: Callable[[Task], Result], task: Task) -> Result:
    """Run a step where the driver works. Raises UserError on a machine that does not have that folder."""
    try:
        os.chdir(folder)
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror} on {os.uname().nodename}; all machines must share it") from None
    return guarded(step, task)
