"""What is asked of a device while it is measured: to wait for it, its largest memory, and how busy it was."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterable

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile


class Busy:
    """How long a device works between `start` and `stop`, as a share of the time. This one: a process's threads."""

    how = "time of computing by the clock, of all threads"
    share: float | None = None

    def start(self) -> None:
        """Begin."""
        self.began = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        """End. What was queued before must be done."""
        clock, computing = time.perf_counter() - self.began[0], time.process_time() - self.began[1]
        self.share = min(1.0, computing / clock / torch.get_num_threads())


class BusyCuda(Busy):
    """By torch.profiler: the time in which any kernel or copy runs, on whatever stream."""

    how = "time in which a kernel or a copy runs, by torch.profiler"
    activity, kind = ProfilerActivity.CUDA, DeviceType.CUDA

    def start(self) -> None:
        self.profile = profile(activities=[self.activity])
        self.profile.start()
        self.clock = time.perf_counter()

    def stop(self) -> None:
        seconds = time.perf_counter() - self.clock
        self.profile.stop()
        spent = worked(self.profile, self.kind)
        self.share = spent and spent / seconds


def worked(profiled: profile, kind: DeviceType) -> float | None:
    """Return the seconds in which at least one of the events of a kind of device ran; None where none was seen, as
    on a card whose counters are locked.

    The profiler's own list is read, since making the public one of it takes 13 s for 300,000 events.
    """
    events = profiled.profiler.kineto_results.events()
    own = (event for event in events if event.device_type() == kind and not event.is_user_annotation())
    spans = [(event.start_ns(), event.start_ns() + event.duration_ns()) for event in own]
    return union(spans) / 1e9 if spans else None


def union(spans: Iterable[tuple[float, float]]) -> float:
    """Return how long at least one of some spans lasts.

    >>> union([(0, 2), (5, 6), (1, 3)])
    4.0
    """
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


class Device:
    """A CPU, which stands in for a GPU where there is none."""

    dtype = torch.float32
    side = 1024
    """Of the matrices whose product is its limit."""
    busy = Busy

    def __init__(self):
        self.torch = torch.device("cpu")

    @property
    def name(self) -> str:
        """Return what it is called."""
        return f"{torch.get_num_threads()} of {os.cpu_count()} CPU cores"

    def wait(self) -> None:
        """Return once all that was queued is done."""

    def forget_peak(self) -> None:
        """Measure the largest memory from here on, where that can be."""

    def peak(self) -> float:
        """Return the largest memory in MiB: of the whole process, for a CPU."""
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / (1024 if sys.platform != "darwin" else 1024**2)


class Cuda(Device):
    """The first CUDA device."""

    dtype = torch.float16
    side = 8192
    busy = BusyCuda

    def __init__(self):
        self.torch = torch.device("cuda", 0)

    @property
    def name(self) -> str:
        return torch.cuda.get_device_name(self.torch)

    def wait(self) -> None:
        torch.cuda.synchronize(self.torch)

    def forget_peak(self) -> None:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.torch)

    def peak(self) -> float:
        return torch.cuda.max_memory_reserved(self.torch) / 2**20


def here() -> Device:
    """Return the GPU, or else the CPU."""
    return Cuda() if torch.cuda.is_available() else Device()


def matmul_tflops(device: Device) -> float:
    """Return what large matrix products reach, in TFLOP/s."""
    one = torch.randn(device.side, device.side, device=device.torch, dtype=device.dtype)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(8):
            one @ one
        device.wait()
        times.append(time.perf_counter() - started)
    return 8 * 2 * device.side**3 / min(times[1:]) / 1e12
