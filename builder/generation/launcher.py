"""The process that started this one, where that is a launcher: when it dies, this one must not go on alone.

`accelerate launch` and torchrun start their workers from the thread that then waits for them, so the kernel's
parent-death signal, which is that of the parent's thread, comes when the launcher ends and not before. Free of torch,
whose import takes seconds in which a launcher may die.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import sys
import threading
import time
from pathlib import Path

STARTED_BY = ({"ACCELERATE_MIXED_PRECISION", "ACCELERATE_DYNAMO_BACKEND"}, {"TORCHELASTIC_RUN_ID"})
"""Variables that accelerate's and torch's launchers set for their workers; one set by hand is no launcher."""
REAPERS = {"systemd", "init", "tini", "dumb-init", "docker-init", "catatonit", "s6-svscan", "runsvdir"}
"""Who adopts orphans, beside process 1."""
GRACE = 8.0
"""Seconds that a process whose launcher has died has for the batch at hand."""
PR_SET_PDEATHSIG = 1


def is_launched() -> bool:
    """Return True where a launcher has started this process."""
    return any(names <= os.environ.keys() for names in STARTED_BY)


def is_first_here() -> bool:
    """Return True for the first of the processes that work on this machine."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


@functools.cache
def watch() -> int | None:
    """Send SIGTERM to this process when its launcher dies, and once more after GRACE seconds; returns its id.

    To be called as early as possible. Does nothing where no launcher has started this process.
    """
    if not is_launched():
        return None
    launcher = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != launcher or is_adopted():  # it died before the kernel was asked
        os.kill(os.getpid(), signal.SIGTERM)
    threading.Thread(target=_outlive, args=[launcher], daemon=True).start()
    return launcher


def is_dead() -> bool:
    """Return True where a launcher has started this process, and is dead."""
    return watch() not in (None, os.getppid())


def is_adopted() -> bool:
    """Return True where the launcher is dead already: it is a Python process, and who adopts orphans is not."""
    command = _of_parent("cmdline")
    name = Path(command[0]).name.lower() if command else ""
    return "python" not in name and (os.getppid() == 1 or name in REAPERS)


def chose_threads() -> bool:
    """Return True where a launcher, not the user, has set OMP_NUM_THREADS.

    accelerate and torchrun set it to 1 where nobody says anything: then the launcher was started without it, and
    without a flag for it. Where the system does not tell how the launcher was started, the user may have set it.
    """
    if not is_launched() or os.environ.get("OMP_NUM_THREADS") != "1":
        return False
    words = [word.partition("=")[0] for word in (*_of_parent("environ"), *_of_parent("cmdline"))]
    return bool(words) and not {"OMP_NUM_THREADS", "--num_cpu_threads_per_process", "--num-cpu-threads-per-process"} & {
        *words
    }


def _of_parent(name: str) -> list[str]:
    """Return what /proc says of the process that started this one, word by word; nothing where there is no /proc."""
    try:
        return Path(f"/proc/{os.getppid()}/{name}").read_text(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []


def _outlive(launcher: int) -> None:
    while os.getppid() == launcher:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os.kill(os.getpid(), signal.SIGTERM)
