"""What each kind of device is asked for, in one place: the fastest way that it has and that changes no picture.

Pictures differ by the last bits of their numbers, as between two cards or two sizes of a batch, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

Fetch = Callable[[], torch.Tensor]
"""Waits for a tensor that is on its way from the device, and returns it."""

CPU_BATCH = 8
BATCHES = (32, 16, 8, 4, 2, 1)
"""Sizes of a batch on a card, of which the largest that fits is taken: from 16 on, more are hardly faster."""
LOADED = 5.0e9
"""Bytes that Stable Diffusion 1.5 takes whatever the batch: weights with safety checker and CLIP (3.4 GB in float16),
and four pictures being decoded. By arithmetic, not measured; as is the next one."""
PICTURE = 0.15e9
"""Bytes that each picture of 512 by 512 pixels in a batch adds in the UNet."""
SHARE = 0.9
"""Of what is free on a card: the rest is for kernels and fragments."""
PIXELS = 512 * 512

COMPILING = 120.0
"""Seconds that torch.compile takes for the UNet at two lengths of prompts and the decoder. An estimate, not measured;
as is the next one. `python benchmarks generation` measures both on a card."""
GAIN = 1.25
"""How much faster compiled parts make pictures, in batches of 16."""
COMPILED_FROM = COMPILING / (1 - 1 / GAIN)
"""Seconds of work from which on compiling saves more than it takes: 600."""


class Accelerator:
    """A device of which nothing more is known than that torch runs on it: a CPU, above all.

    `is_static` says that batches are filled up to one size, so that no kernel is chosen and nothing is compiled twice.
    """

    is_static = False

    def __init__(self, device: torch.device):
        self.device = device

    def batch_size(self, pixels: int) -> int:
        """Return how many pictures of so many pixels are made at once, unless somebody wants another number."""
        return CPU_BATCH

    def prepare(self, *parts: torch.nn.Module) -> None:
        """Lay out weights as the device reads them best."""

    def send(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor of the CPU on the device; nobody waits until it is there."""
        return tensor.to(self.device)

    def fetch(self, tensor: torch.Tensor) -> Fetch:
        """Begin to copy a tensor of the device to the CPU."""
        copy = tensor.cpu()
        return lambda: copy

    def attending(self) -> AbstractContextManager[Any]:
        """Within, attention is computed by the kernels that suit the device."""
        return nullcontext()

    def aside(self) -> AbstractContextManager[Any]:
        """Within, this thread's work on the device does not wait for what other threads have queued."""
        return nullcontext()

    def release(self) -> None:
        """Wait for all that is queued, and give back the memory that it needed."""


class Cuda(Accelerator):
    """A CUDA card. `cuda` is torch.cuda, or in tests what stands in for it."""

    is_static = True

    def __init__(self, device: torch.device, cuda: Any = torch.cuda):
        super().__init__(device)
        self.cuda = cuda
        cuda.set_device(device)  # pinned memory, too, is that of a card: of the first one, where nothing is said
        self.stream = cuda.Stream(device)
        torch.backends.cudnn.benchmark = True  # the quickest of its convolutions, found once for each shape

    def batch_size(self, pixels: int) -> int:
        room = SHARE * self.cuda.mem_get_info(self.device)[0] - LOADED
        return next((size for size in BATCHES if size * PICTURE * pixels / PIXELS <= room), 1)

    def prepare(self, *parts: torch.nn.Module) -> None:
        for part in parts:
            part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def send(self, tensor: torch.Tensor) -> torch.Tensor:
        return self._pinned(tensor).to(self.device, non_blocking=True)

    def fetch(self, tensor: torch.Tensor) -> Fetch:
        copy = self._pinned(torch.empty(tensor.shape, dtype=tensor.dtype))
        copy.copy_(tensor, non_blocking=True)
        copied = self.cuda.Event()
        copied.record(self.cuda.current_stream(self.device))

        def wait() -> torch.Tensor:
            copied.synchronize()
            return copy

        return wait

    def attending(self) -> AbstractContextManager[Any]:
        return sdpa_kernel(backends(self.cuda.get_device_capability(self.device)), set_priority=True)

    def aside(self) -> AbstractContextManager[Any]:
        return self.cuda.stream(self.stream)

    def release(self) -> None:
        self.cuda.synchronize(self.device)
        self.cuda.empty_cache()

    @staticmethod
    def _pinned(tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor in memory of which a card can copy while the CPU does something else."""
        return tensor.pin_memory()


def accelerator(device: torch.device) -> Accelerator:
    """Return how a device is used."""
    return Cuda(device) if device.type == "cuda" else Accelerator(device)


def backends(capability: tuple[int, int]) -> list[SDPBackend]:
    """Return the kernels of attention for a CUDA capability, the quickest first; each passes on what it cannot do.

    cuDNN has kernels of its own from Hopper (9.0) on, flash attention runs from Ampere (8.0) on.
    """
    newest = [SDPBackend.CUDNN_ATTENTION] if capability >= (9, 0) else []
    flash = [SDPBackend.FLASH_ATTENTION] if capability >= (8, 0) else []
    return [*newest, *flash, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def is_worth_compiling(seconds_left: float) -> bool:
    """Return True where so much work is left that compiling pays."""
    return seconds_left >= COMPILED_FROM
