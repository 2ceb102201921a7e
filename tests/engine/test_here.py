"""The engine of this machine: every task once, whatever dies, and nobody left behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from builder.common.errors import UserError
from builder.engine import here
from builder.engine.engine import LostTask
from builder.engine.here import START, Here, cores

pytestmark = pytest.mark.process


def squared(number):
    return number * number


def who(number):
    time.sleep(0.1)
    return os.getpid()


def faulty(number):
    if number == 3:
        raise UserError("three is none")
    return number


def mortal(task):
    """Dies so many times, then gives its number: the count lies in a file."""
    folder, number, deaths = task
    place = Path(folder, f"{number}-{os.getpid()}")
    if len([*Path(folder).glob(f"{number}-*")]) < deaths:
        place.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
    return number


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 20])
def test_every_task_has_one_result(workers, count):
    assert sorted(Here(workers).map(squared, range(count))) == [n * n for n in range(count)]


def test_one_worker_or_one_task_need_no_other_process():
    assert {*Here(1).map(who, range(3))} == {*Here(4).map(who, range(1))} == {os.getpid()}
    others = {*Here(2).map(who, range(6))}
    assert len(others) == 2 and os.getpid() not in others


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_step_ends_it_all(workers):
    with pytest.raises(UserError, match="three is none"):
        list(Here(workers).map(faulty, range(50)))


class Picky(UserError):
    """An error that pickle does not give back, as those are not whose text is made by their constructor."""

    def __init__(self, number, unit):
        super().__init__(f"{number} {unit} are too many")


def picky(number):
    raise Picky(number, "apples")


def test_an_error_that_cannot_travel_says_the_same():
    """And is no worker's death."""
    with pytest.raises(UserError, match=r"\A7 apples are too many\Z"):
        list(Here(2).map(picky, [7, 7]))


def where(number):
    return os.getcwd()


def test_steps_work_in_the_folder_that_the_driver_is_in_now(tmp_path, monkeypatch):
    """However often it has changed since the first worker was started."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert {*Here(2).map(where, range(4))} == {str(tmp_path / name)}


def test_there_are_no_more_workers_than_have_work():
    most = cores()
    assert [Here.sized(seconds).workers for seconds in (0, START * 1.9, START * 1e6)] == [1, 1, most]
    assert Here.sized(START * 2).workers == min(2, most)


def test_a_worker_that_is_started_while_its_pool_breaks_is_ended(tmp_path, monkeypatch):
    """The pool itself would wait for it for ever."""
    pools, late, wait, pool = [], [], here.wait, here._pool

    def waited(flight, return_when):
        done, left = wait(flight, return_when=return_when)
        if any(isinstance(future.exception(), BrokenProcessPool) for future in done) and not late:
            pools[0]._executor_manager_thread.join()  # it has ended those that it knew
            late.append(multiprocessing.get_context("forkserver").Process(target=time.sleep, args=(300,)))
            late[0].start()
            pools[0]._processes[late[0].pid] = late[0]
        return done, left

    monkeypatch.setattr(here, "wait", waited)
    monkeypatch.setattr(here, "_pool", lambda *some: pools.append(pool(*some)) or pools[-1])
    tasks = [(str(tmp_path), n, int(n == 1)) for n in range(4)]
    assert len(list(Here(2).map(mortal, tasks))) == 4
    assert late
    late[0].join(20)
    assert late[0].exitcode is not None


def test_threads_do_where_one_process_is_enough():
    """All at once, and an error of a step is raised here."""
    met = threading.Barrier(3, timeout=20)
    assert sorted(Here(1, threads=3).map(lambda n: (met.wait(), n)[1], range(3))) == [0, 1, 2]
    with pytest.raises(ZeroDivisionError):
        list(Here(1, threads=2).map(lambda n: 1 // n, range(3)))


def test_a_worker_that_dies_is_replaced_and_its_tasks_are_run_again(tmp_path):
    """Two tasks take one worker each with them, one takes two."""
    tasks = [(str(tmp_path), n, {2: 1, 5: 2, 7: 1}.get(n, 0)) for n in range(12)]
    assert sorted(Here(2).map(mortal, tasks)) == [*range(12)]
    assert len([*tmp_path.iterdir()]) == 4


def test_a_worker_may_die_while_the_results_are_being_used(tmp_path):
    """What is started next finds no worker any more, and is not lost for that."""
    done = []
    for number in Here(2).map(mortal, [(str(tmp_path), n, 1 if n in (1, 3) else 0) for n in range(6)]):
        done.append(number)
        time.sleep(0.5)
    assert sorted(done) == [*range(6)]


def test_a_task_that_always_kills_is_named_and_the_others_are_done(tmp_path):
    done = []
    with pytest.raises(LostTask, match=r", 4, 99\): 3 processes died of it"):
        done.extend(Here(2).map(mortal, [(str(tmp_path), n, 99 if n == 4 else 0) for n in range(6)]))
    for result in Here(2).map(mortal, [(str(tmp_path), n, 0) for n in range(6)]):
        done.append(result)
    assert {*range(6)} == {*done} and len([*tmp_path.glob("4-*")]) in (3, 4)  # the first with another in flight


def test_a_task_is_not_blamed_for_its_neighbours(tmp_path):
    """Every second one kills two workers, and some are in flight with it each time: none is given up."""
    tasks = [(str(tmp_path), n, 2 * (n % 2)) for n in range(4)]
    assert sorted(Here(2).map(mortal, tasks)) == [*range(4)]


def test_who_stops_listening_leaves_no_process():
    results = Here(2).map(who, range(100))
    workers = {next(results) for _ in range(10)}
    assert any(map(is_alive, workers))
    results.close()
    assert os.getpid() not in workers and not any(map(is_alive, workers))


DRIVER = """
import sys, time
from builder.engine import here
from builder.engine.here import START, Here, cores
from tests.engine.test_here import slow
if __name__ == "__main__":
    for pid in Here(2).map(slow, range(40)):
        print(pid, flush=True)
"""


def slow(number):
    time.sleep(0.3)
    return os.getpid()


def is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_workers_do_not_outlive_a_driver_that_is_killed(tmp_path):
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    root = Path(__file__).parents[2]
    driver = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    workers = {int(driver.stdout.readline()) for _ in range(4)}
    driver.kill()
    driver.wait()
    until = time.monotonic() + 20
    while any(map(is_alive, workers)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(is_alive, workers))


IMPORTED_BY = os.getpid()
"""Who has imported this module."""


def imported_by(number):
    time.sleep(0.1)
    return os.getpid(), IMPORTED_BY


def test_what_a_step_needs_is_imported_once_for_all_workers(tmp_path):
    """Also for those of a later pool, and whatever a step is wrapped in."""
    script = tmp_path / "script.py"
    script.write_text(
        "from functools import partial\n"
        "from builder.engine.here import Here\n"
        "from tests.engine.test_here import imported_by\n"
        "found = [*Here(2).map(partial(imported_by), range(6)), *Here(2).map(imported_by, range(6))]\n"
        "print(len({pid for pid, _ in found}), len({server for _, server in found} - {pid for pid, _ in found}))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout == "4 1\n", done.stderr


INTERRUPTED = """
import sys
from builder.engine.here import Here
from tests.engine.test_here import slow
print("begun", flush=True)
try:
    list(Here(2).map(slow, range(40)))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("delay", [0.02, 0.06, 0.1, 0.15, 1.0])
def test_ctrl_c_is_the_drivers_alone(tmp_path, delay):
    """At whichever moment: while workers are started, too, nobody else says a word, and all end."""
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, str(script)], env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as driver:
        assert driver.stdout.readline() == "begun\n"
        time.sleep(delay)
        os.killpg(driver.pid, signal.SIGINT)
        _, said = driver.communicate(timeout=60)
    assert (driver.returncode, said) == (130, "")


def test_a_script_without_a_guard_runs_once(tmp_path):
    """Workers import the modules of the steps, not the program that was started."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "print('begun', flush=True)\n"
        "from builder.engine.here import Here\n"
        "from tests.engine.test_here import squared\n"
        "print(sorted(Here(2).map(squared, range(4))), __file__ == sys.argv[0])\n"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["begun", "[0, 1, 4, 9] True"], done.stderr
