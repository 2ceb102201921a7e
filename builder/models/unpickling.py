"""A process that reads pickled weights, and can do little else: `conversion` starts it, nobody imports it.

    python unpickling.py write MEMORY < PAIRS
    python unpickling.py compare MEMORY < PAIRS

PAIRS is a JSON list of [pickle, safetensors]. `write` makes the safetensors files, `compare` holds them against the
pickles, every weight bit for bit. It has no network, may use MEMORY bytes, write nothing but those files and start
nothing. For every pair it prints a line of JSON: `tensors`, `bytes` and `left_out` (what is no weight); the first that
fails is the last, with `error` and its `kind`: "code", "memory", "disk", "damaged" or "differs".
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from typing import Any

NEW_NETWORK, NEW_USER = 0x40000000, 0x10000000
"""Flags of Linux's unshare(2)."""
PARENT_DEATH_SIGNAL = 1
"""Of Linux's prctl(2)."""
REFUSED = (
    *["socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile"],
    *["os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown"],
    *[
        "os.putenv",
        "shutil.",
        "ctypes.",
        "pty.",
        "webbrowser.",
        "urllib.",
        "http.client.",
        "signal.pthread_kill",
        "os.kill",
    ],
)
"""Audit events, by how they begin, of what reading weights never does."""


class Refusal(Exception):
    """Why a file is not converted, as the parent tells it."""

    def __init__(self, kind: str, reason: str):
        super().__init__(reason)
        self.kind = kind


def die_with_the_parent() -> None:
    """Let the system end this process with the one that started it, where it can."""
    try:
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
    except (AttributeError, OSError, TypeError):
        return  # not Linux


def leave_the_network() -> None:
    """Move this process into a network of its own, which has no devices, where the system lets it."""
    try:
        unshare = ctypes.CDLL(None).unshare
    except (AttributeError, OSError, TypeError):
        return  # not Linux: the audit hook alone refuses sockets
    if unshare(NEW_NETWORK):
        unshare(NEW_NETWORK | NEW_USER)


def limit_memory(more: int) -> None:
    """Allow this process so many bytes beyond what it holds now, where the system can count them."""
    try:
        import resource

        with open("/proc/self/status", encoding="ascii") as file:
            held = int(re.search(r"VmData:\s*(\d+) kB", file.read())[1]) * 1024  # type: ignore[index]
        resource.setrlimit(resource.RLIMIT_DATA, (held + more, held + more))
    except (ImportError, OSError, ValueError, TypeError):
        return  # not Linux


def lock() -> None:
    """From here on refuse what `REFUSED` names, and opening files of Python's for writing. There is no way back."""

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event.startswith(REFUSED):
            raise PermissionError(f"{event}: not in here")

    sys.addaudithook(refuse)


def weights(torch: Any, path: str) -> tuple[dict[str, Any], list[str]]:
    """Return the weights of a pickle by name, of a checkpoint's `state_dict`, and the names of what is none."""
    import pickle

    try:
        held = torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        raise Refusal("code", _named_code(str(error))) from None
    if isinstance(held, dict) and isinstance(held.get("state_dict"), dict):
        others = [name for name in held if name != "state_dict"]
        held = held["state_dict"]
    else:
        others = []
    if not isinstance(held, dict):
        raise Refusal("damaged", f"holds a {type(held).__name__}, not weights by name")
    found = {str(name): value for name, value in held.items() if isinstance(value, torch.Tensor)}
    if not found:
        raise Refusal("damaged", "holds no weights by name")
    return found, [str(name) for name in (*others, *held) if name not in found]


def _named_code(text: str) -> str:
    """What torch says of a pickle that wants to run code, in a few words."""
    name = re.search(r"(?:GLOBAL|class|global|function)\W+([\w.]+\.[\w.]+)", text)
    return name[1] if name else " ".join(text.split())[:200]


def plain(tensors: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every tensor with memory of its own: safetensors keeps no aliases, and no parts of something larger."""
    seen = set()
    for name, value in tensors.items():
        value = value.detach().to_dense() if value.is_sparse else value.detach()
        storage = value.untyped_storage()
        whole = value.is_contiguous() and storage.nbytes() == value.numel() * value.element_size()
        yield name, value if whole and storage.data_ptr() not in seen else value.contiguous().clone()
        seen.add(storage.data_ptr())


def write(torch: Any, source: str, target: str) -> dict[str, Any]:
    """Write the weights of `source` to `target`, which must not exist."""
    from safetensors.torch import save_file

    found, others = weights(torch, source)
    tensors = dict(plain(found))
    try:
        save_file(tensors, target, metadata={"format": "pt"})
    except Exception as error:  # SafetensorError, of a module that has no name of its own
        if "os error" in str(error).lower():
            raise Refusal("disk", " ".join(str(error).split())) from None
        raise
    return _told(tensors, others)


def compare(torch: Any, source: str, target: str) -> dict[str, Any]:
    """Hold `target` against `source`: names, types, shapes and every byte."""
    from safetensors import safe_open

    found, others = weights(torch, source)
    with safe_open(target, "pt") as file:
        if set(file.keys()) != set(found):
            raise Refusal("differs", "other names")
        for name, value in plain(found):
            copy = file.get_tensor(name)
            if (copy.dtype, copy.shape) != (value.dtype, value.shape) or not torch.equal(_bytes(copy), _bytes(value)):
                raise Refusal("differs", name)
    return _told(found, others)


def _bytes(tensor: Any) -> Any:
    import torch

    return tensor.contiguous().reshape(-1).view(torch.uint8)


def _told(tensors: dict[str, Any], others: list[str]) -> dict[str, Any]:
    size = sum(value.numel() * value.element_size() for value in tensors.values())
    return {"tensors": len(tensors), "bytes": size, "left_out": others[:10]}


def done(torch: Any, task: str, source: str, target: str) -> dict[str, Any]:
    """Do a task with a file; returns what is told of it."""
    try:
        return (write if task == "write" else compare)(torch, source, target)
    except Refusal as refusal:
        return {"error": str(refusal), "kind": refusal.kind}
    except MemoryError:
        return {"error": "", "kind": "memory"}
    except Exception as error:  # torch raises many kinds for files that are none of its own
        text = " ".join(str(error).split())
        lacks = "allocate memory" in text or "bad_alloc" in text
        return {"error": text[:200] or type(error).__name__, "kind": "memory" if lacks else "damaged"}


def main(task: str, memory: str) -> None:
    """Do a task with every pair of files that stdin names, within the limits, up to the first that fails."""
    die_with_the_parent()
    leave_the_network()
    import safetensors.torch  # noqa: F401  everything is imported before the lock
    import torch

    pairs = json.load(sys.stdin)
    torch.set_num_threads(1)
    limit_memory(int(memory))
    lock()
    for source, target in pairs:
        found = done(torch, task, source, target)
        print(json.dumps(found), flush=True)
        if "error" in found:
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
