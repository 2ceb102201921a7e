"""What each kind of device is asked for, in one place: the fastest way that it has and that changes no picture.

Pictures differ by the last bits of their numbers, as between two cards or two sizes of a batch, and by nothing else.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from builder.common.errors import UserError

T = TypeVar("T")
Fetch = Callable[[], torch.Tensor]
"""Waits for a tensor that is on its way from the device, and returns it."""

log = logging.getLogger("agfd30k")

CPU_BATCH = 8
BATCHES = (32, 16, 8, 4, 2, 1)
"""Sizes of a batch on a card, of which the largest that fits is taken: from 16 on, more are hardly faster."""
LOADED = 5.0e9
"""Bytes that Stable Diffusion 1.5 takes whatever the batch: weights with safety checker and CLIP (3.4 GB in float16),
and four pictures being decoded. By arithmetic, not measured; as is the next one."""
PICTURE = 0.15e9
"""Bytes that each picture of 512 by 512 pixels in a batch adds in the UNet, which runs on one prompt at a time."""
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
    """A device that does everything in order, such as a CPU.

    `is_static` says that batches are filled up to one size, so that no kernel is chosen and nothing is compiled twice.
    """

    is_static = False

    def __init__(self, device: torch.device):
        self.device = device

    def batch_size(self, pixels: int, sharing: int = 1) -> int:
        """Return how many pictures of so many pixels are made at once, unless somebody wants another number.

        `sharing` processes use the same device.
        """
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

    def drawing(self) -> AbstractContextManager[Any]:
        """Within, this thread makes pictures, by the kernels that suit the device."""
        return nullcontext()

    def aside(self) -> AbstractContextManager[Any]:
        """Within, this thread's work on the device does not wait for what other threads have queued."""
        return nullcontext()

    def release(self) -> None:
        """Wait for all that is queued, and give back the memory that it needed."""


class OneThread(Accelerator):
    """A device that two threads must not use at once, as Apple's: torch's kernels for it are not made for that."""

    lock = threading.Lock()

    def drawing(self) -> AbstractContextManager[Any]:
        return self.lock

    def aside(self) -> AbstractContextManager[Any]:
        return self.lock


class Cuda(Accelerator):
    """A CUDA card, which the device names by its number. `cuda` is torch.cuda, or in tests what stands in for it."""

    is_static = True

    def __init__(self, device: torch.device, cuda: Any = torch.cuda):
        super().__init__(device)
        self.cuda = cuda
        self._use()
        self.stream = cuda.Stream(device)

    def batch_size(self, pixels: int, sharing: int = 1) -> int:
        room = SHARE * self.cuda.mem_get_info(self.device)[0] / sharing - LOADED
        return next((size for size in BATCHES if size * PICTURE * pixels / PIXELS <= room), 1)

    def prepare(self, *parts: torch.nn.Module) -> None:
        for part in parts:
            part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def send(self, tensor: torch.Tensor) -> torch.Tensor:
        return self._pinned(tensor).to(self.device, non_blocking=True)

    def fetch(self, tensor: torch.Tensor) -> Fetch:
        copy = self._pinned(torch.empty(tensor.shape, dtype=tensor.dtype))
        copy.copy_(tensor, non_blocking=True)
        copied = self.cuda.Event(blocking=True)  # else whoever waits keeps a core busy
        copied.record(self.cuda.current_stream(self.device))

        def wait() -> torch.Tensor:
            copied.synchronize()
            return copy

        return wait

    @contextmanager
    def drawing(self) -> Iterator[None]:
        benchmark = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = True  # the quickest of its convolutions, found once for each shape
        self._use()
        try:
            with sdpa_kernel(self.kernels, set_priority=True):
                yield
        finally:
            torch.backends.cudnn.benchmark = benchmark

    @contextmanager
    def aside(self) -> Iterator[None]:
        self._use()
        with self.cuda.stream(self.stream):
            yield

    def release(self) -> None:
        self.cuda.synchronize(self.device)
        self.cuda.empty_cache()

    @cached_property
    def kernels(self) -> list[SDPBackend]:
        """Kernels of attention, the quickest first; each passes on what it was not made for."""
        suited = backends(self.cuda.get_device_capability(self.device))
        if SDPBackend.CUDNN_ATTENTION in suited and not self._attends(SDPBackend.CUDNN_ATTENTION):
            log.warning("%s: cuDNN's attention does not work here: going on with another", self.device)
            suited.remove(SDPBackend.CUDNN_ATTENTION)
        return suited

    def _attends(self, kernel: SDPBackend) -> bool:
        """Return True where a kernel does what the UNet needs; cuDNN's may fail for want of a library, when it runs."""
        try:
            with torch.inference_mode(), sdpa_kernel([kernel]):
                for width, tokens in ((40, 4096), (80, 77)):
                    shapes = (1, 8, 1024, width), (1, 8, tokens, width)
                    query, key = (torch.zeros(shape, device=self.device, dtype=torch.float16) for shape in shapes)
                    scaled_dot_product_attention(query, key, key)
            self.cuda.synchronize(self.device)
        except RuntimeError:
            return False
        return True

    def _use(self) -> None:
        """Make this the card of whatever names none, such as pinned memory: for each thread that is the first one."""
        self.cuda.set_device(self.device)

    @staticmethod
    def _pinned(tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor in memory of which a card can copy while the CPU does something else."""
        return tensor.pin_memory()


def accelerator(device: torch.device) -> Accelerator:
    """Return how a device is used. Raises UserError for one that cannot be."""
    if device.type != "cuda":
        return (Accelerator if device.type == "cpu" else OneThread)(device)
    try:
        index = torch.cuda.current_device() if device.index is None else device.index
        return Cuda(torch.device("cuda", index))
    except RuntimeError as error:  # a card that is full, or that somebody has for himself
        reason = " ".join(str(error).split())
        raise UserError(f"{device} cannot be used: {reason}; free it, or use another device (--cpu)") from None


def one_by_one(on: Accelerator, what: str, look: Callable[[list], Iterable[T]], pictures: list) -> list[T]:
    """Return what `look` says of each of some pictures: of all at once, or where the memory is short one by one.

    Raises UserError where one is too much; `what` says who looks.
    """
    try:
        return list(look(pictures))
    except torch.OutOfMemoryError:
        pass  # past this line nobody holds what has been computed so far
    on.release()  # the batch that is being made meanwhile may have the memory, too
    try:
        return [said for picture in pictures for said in look([picture])]
    except torch.OutOfMemoryError:
        advice = "make fewer pictures at once (--batch-size)"
        raise UserError(f"{on.device}: not enough memory for {what} beside the model: {advice}") from None


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
