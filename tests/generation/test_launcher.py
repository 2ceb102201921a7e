"""A worker ends with its launcher, and takes the cores that nobody has taken from it."""

import os
import signal
import subprocess
import sys
import time

import pytest

from builder.generation import launcher
from builder.generation.process import AGAIN, Interrupted, Stop
from tests.experiments.kill import LAUNCH, MARK, processes

PARENT = """
import os, subprocess, sys
os.environ |= {"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_DYNAMO_BACKEND": "no"}
subprocess.run([sys.executable, "-c", sys.argv[1]])
"""
CHILD = """
import os, sys, time
from builder.generation import launcher
{before}
launcher.watch()
print("ready", flush=True)
time.sleep(60)
"""


def gone(mark, seconds):
    """Return True when all processes with a mark end within some seconds."""
    limit = time.monotonic() + seconds
    while processes(mark) and time.monotonic() < limit:
        time.sleep(0.05)
    return not processes(mark)


@pytest.mark.process
@pytest.mark.parametrize(
    ("before", "seconds"),
    [
        ("launcher._outlive = lambda *_: None", 5),
        ("sys.platform = 'other'", 5),
        ("import signal; signal.signal(signal.SIGTERM, lambda *_: sys.platform)", 60),
    ],
    ids=["by the kernel", "where the kernel has no such signal", "and not at once where the first signal is held"],
)
def test_the_launchers_sigkill_is_a_sigterm_for_the_worker(before, seconds):
    """Before any handler stands it ends the worker; a handler that waits for a batch gets it once more, later."""
    mark = f"launcher-{os.getpid()}-{len(before)}"
    command = [sys.executable, "-c", PARENT, CHILD.format(before=before)]
    parent = subprocess.Popen(command, env={**os.environ, MARK: mark}, stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "ready\n" and len(processes(mark)) == 2
    parent.kill()
    parent.wait()
    if seconds == 60:
        assert not gone(mark, 2)
        for pid in processes(mark):
            os.kill(pid, signal.SIGKILL)
    else:
        assert gone(mark, seconds)


def test_without_a_launcher_nobody_watches(monkeypatch):
    """Whoever starts the builder from a shell may close it."""
    for name in set().union(*launcher.STARTED_BY):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(launcher, "GRACE", None)
    monkeypatch.setattr(launcher.ctypes, "CDLL", lambda *_: pytest.fail("the kernel was asked"))
    launcher.watch.__wrapped__()


@pytest.mark.parametrize(
    ("parent", "adopted"),
    [
        (["/usr/bin/python3.11", "/usr/bin/accelerate", "launch"], False),
        (["/opt/conda/bin/python", "-m", "torch.distributed.run"], False),
        (["/sbin/init"], True),
        (["/lib/systemd/systemd", "--user"], True),
        (["tini", "--", "python", "train.py"], True),
        ([], False),
    ],
)
def test_an_orphan_of_the_first_moment_knows_by_its_parent(monkeypatch, parent, adopted):
    """The launcher may be dead before the worker can ask for anything; a launcher is a Python process."""
    monkeypatch.setattr(launcher, "_of_parent", lambda name: parent)
    assert launcher.is_adopted() == adopted


SHELL = ["PATH=/bin"]
LAUNCHER = ["python", "accelerate", "launch", "generate.py"]


@pytest.mark.parametrize(
    ("own", "environ", "cmdline", "chosen"),
    [
        ("1", SHELL, LAUNCHER, True),
        ("1", [*SHELL, "OMP_NUM_THREADS=1"], LAUNCHER, False),
        ("1", SHELL, [*LAUNCHER[:3], "--num_cpu_threads_per_process=1", "generate.py"], False),
        ("1", SHELL, [*LAUNCHER[:3], "--num-cpu-threads-per-process", "1", "generate.py"], False),
        ("4", SHELL, LAUNCHER, False),
        (None, SHELL, LAUNCHER, False),
        ("1", [], [], False),
    ],
)
def test_whose_number_of_threads_it_is(monkeypatch, own, environ, cmdline, chosen):
    """The launcher's own choice is 1, and stands neither in what it was started with nor in its flags."""
    for name in launcher.STARTED_BY[0]:
        monkeypatch.setenv(name, "no")
    monkeypatch.setattr(launcher, "_of_parent", lambda name: {"environ": environ, "cmdline": cmdline}[name])
    if own is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", own)
    assert launcher.chose_threads() == chosen


@pytest.mark.process
@pytest.mark.parametrize(("ranks", "own"), [(1, None), (2, None), (2, "1")])
def test_a_cpu_run_takes_all_cores_unless_the_user_says_how_many(tmp_path, ranks, own):
    """accelerate allows a process one thread; the cores are shared out among the processes of a machine."""
    script = tmp_path / "threads.py"
    script.write_text(
        "import os, torch\nfrom builder.generation.process import Rank\n"
        "Rank.here().use_cores()\nos.write(1, b'threads %d\\n' % torch.get_num_threads())\n"
    )
    environment = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("OMP_NUM_THREADS", None)
    if own:
        environment["OMP_NUM_THREADS"] = own
    flags = ["--multi_gpu", "--num_processes", "2"] if ranks == 2 else ["--num_processes", "1"]
    command = [*LAUNCH[0], "-m", "accelerate.commands.launch", *flags, str(script)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    cores = len(os.sched_getaffinity(0))
    expected = int(own) if own else max(1, cores // ranks)
    assert done.stdout.split() == ["threads", str(expected)] * ranks, done.stderr


def test_a_stop_ends_at_once_what_loses_nothing():
    """Loading and waiting are given up; a batch is not."""
    with Stop() as stop, pytest.raises(Interrupted), stop.at_once():
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("it went on")
    assert stop.signal == signal.SIGTERM
    with pytest.raises(Interrupted), stop.at_once():  # it came before
        pytest.fail("it began")
    with Stop() as stop:
        with stop.at_once():
            pass
        signal.raise_signal(signal.SIGTERM)
        assert stop


@pytest.mark.parametrize(
    ("first", "dead", "ends"),
    [(signal.SIGTERM, True, ["ended"]), (signal.SIGTERM, False, []), (signal.SIGINT, True, [])],
)
def test_the_second_sigterm_ends_the_run_where_its_launcher_is_dead(monkeypatch, first, dead, ends):
    """While the launcher lives the batch is finished, and after Ctrl-C, which ends the launcher too."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(launcher, "is_dead", lambda: dead)
    seen = []
    signal.signal(signal.SIGTERM, lambda *_: seen.append("ended"))
    try:
        with Stop() as stop:
            signal.raise_signal(first)
            signal.raise_signal(signal.SIGTERM)
            assert seen == []  # launchers repeat the first one
            stop.since -= AGAIN[signal.SIGTERM] + 1
            signal.raise_signal(signal.SIGTERM)
            assert seen == ends
    finally:
        signal.signal(signal.SIGTERM, before)
