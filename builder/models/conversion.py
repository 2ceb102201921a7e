"""Pickled weights as safetensors, for those who decide to: read in a process that can do little else.

Nothing of a pickle is loaded in this process. A child of its own (`unpickling`) reads the files with torch's
weights_only, without network, within a limit of memory and time, and a second one compares the result with the pickles,
every weight bit for bit.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from builder.common import files
from builder.common.errors import UserError

PICKLES = (".bin", ".ckpt", ".pt", ".pth")
WEIGHTS = re.compile(r".*model.*\.bin")
"""Files of a folder that hold weights of a model; other pickles there are an optimizer's, or a trainer's arguments."""
TEXTS = (".json", ".txt")
"""What is copied of a folder as it is."""
OLDEST_TORCH = (2, 10)
"""Whose weights_only is known to hold."""
CHILD = Path(__file__).with_name("unpickling.py")
MEMORY, MEMORY_TIMES = 1 << 30, 3
"""What a child may use: so many bytes and so many times the file's size."""
SECONDS, BYTES_A_SECOND = 300, 10_000_000
"""How long a child may take: so many seconds and one for so many bytes."""
KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "LANG")
"""What a child is told of the environment: no tokens, no home folder, none of torch's switches."""
NOWHERE = "http://127.0.0.1:9"


@dataclass(frozen=True)
class ConvertedFile:
    """A file of weights that was converted and compared: its name in the result, and what was found in the pickle."""

    source: str
    name: str
    tensors: int
    bytes: int
    sha256: str
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Conversion:
    """What a conversion did: files converted, files copied as they are, and files that are not in the result."""

    converted: tuple[ConvertedFile, ...]
    copied: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Limits:
    """What a child may use: bytes of memory, for one file after the other, and seconds for all of them."""

    memory: int
    seconds: float

    @classmethod
    def of(cls, paths: list[Path]) -> Limits:
        """Return the limits for some files."""
        sizes = [path.stat().st_size for path in paths]
        return cls(MEMORY + MEMORY_TIMES * max(sizes), SECONDS + sum(sizes) / BYTES_A_SECOND)


def convert(model: Path, out: Path, say: Callable[[str], None], limits: Limits | None = None) -> Conversion:
    """Convert a diffusers or transformers folder, or a single file, to safetensors at `out`, whole or not at all.

    `limits` follow from the sizes of the files by default. Raises UserError for what cannot be converted.
    """
    require_torch(version("torch"))
    if model.is_dir():
        return _convert_folder(model, out, say, limits)
    _require_pickle(model, out)
    _require_room(out.parent, model.stat().st_size)
    with _appearing(out) as new:
        found = _convert_files([Pair(model, new, model.name, out.name)], say, limits)
    return Conversion(found, (), ())


def require_torch(installed: str) -> None:
    """Raise UserError for a torch whose weights_only is not known to hold."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", installed)[:2])
    if numbers < OLDEST_TORCH:
        oldest = ".".join(map(str, OLDEST_TORCH))
        raise UserError(f"torch {installed} is too old to read a pickle safely: pip install 'torch>={oldest}'")


def safetensors_name(name: str) -> str:
    """Return the name under which diffusers and transformers look for a pickle's weights, or for an index of them.

    >>> safetensors_name("pytorch_model-00001-of-00002.bin")
    'model-00001-of-00002.safetensors'
    >>> safetensors_name("diffusion_pytorch_model.bin.index.json")
    'diffusion_pytorch_model.safetensors.index.json'
    """
    stem, index, rest = name.partition(".bin.index.")
    if not index:
        stem, rest = name.rpartition(".")[0], ""
    stem = re.sub(r"^pytorch_model(?=$|[.-])", "model", stem)
    return f"{stem}.safetensors" + (f".index.{rest}" if index else "")


def _require_pickle(model: Path, out: Path) -> None:
    if model.suffix == ".safetensors" and model.is_file():
        raise UserError(f"{model}: is safetensors already")
    if not model.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", str(model)):
        name = model.name
        raise UserError(
            f"{model}: no such file or folder here, and nothing is downloaded: if it is a model on the Hub, "
            f"`hf download {model} --local-dir {name}` and then `agfd30k convert {name} {out}`"
        )
    if not model.is_file():
        raise UserError(f"{model}: there is no such file or folder")
    if model.suffix.lower() not in PICKLES:
        raise UserError(f"{model}: is none of {', '.join(PICKLES)}, nor a folder")
    if out.suffix != ".safetensors":
        raise UserError(f"{out}: the result of one file is a file, whose name ends in .safetensors")
    if os.path.lexists(out):
        raise UserError(f"{out}: is there already; nothing is replaced")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: there is no such folder")


def _require_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size:
        raise UserError(f"{folder}: {free / 1e9:.1f} GB are free, and the result needs {size / 1e9:.1f} GB")


# Folders.


def _convert_folder(model: Path, out: Path, say: Callable[[str], None], limits: Limits | None) -> Conversion:
    if not any((model / name).is_file() for name in ("model_index.json", "config.json")):
        raise UserError(
            f"{model}: no model_index.json and no config.json: neither a diffusers nor a transformers folder"
        )
    pickles, copies, others = _sort(model)
    if not pickles:
        raise UserError(f"{model}: no pickled weights where a model's are; nothing to convert")
    if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out}: is there already; the result goes to a folder that is new or empty")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: there is no such folder")
    _require_room(out.parent, sum((model / name).stat().st_size for name in (*pickles, *copies)))
    with _appearing(out) as new:
        for name in (*pickles, *copies):
            (new / name).parent.mkdir(parents=True, exist_ok=True)
        for name in copies:
            _copy(model, name, new, pickles)
        targets = [Path(name).with_name(safetensors_name(Path(name).name)).as_posix() for name in pickles]
        pairs = [Pair(model / name, new / target, name, target) for name, target in zip(pickles, targets)]
        found = _convert_files(pairs, say, limits)
    return Conversion(found, tuple(copies), tuple(others))


def _sort(model: Path) -> tuple[list[str], list[str], list[str]]:
    """Every file of a folder, by name: pickles to convert, what is copied, and what is left out.

    Of a diffusers folder the files at the top are other forms of the whole model, which nothing reads.
    """
    names = sorted(path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file())
    names = [name for name in names if not any(part.startswith(".") for part in Path(name).parts)]
    is_diffusers = "model_index.json" in names
    pickles: list[str] = []
    copies: list[str] = []
    others: list[str] = []
    for name in names:
        path = Path(name)
        weights = path.suffix in (".bin", ".safetensors")
        if weights and is_diffusers and path.parent == Path("."):
            others.append(name)
        elif WEIGHTS.fullmatch(path.name):
            there = path.with_name(safetensors_name(path.name)).as_posix() in names
            (others if there else pickles).append(name)
        elif path.suffix in (".safetensors", *TEXTS):
            copies.append(name)
        else:
            others.append(name)
    return pickles, copies, others


def _copy(model: Path, name: str, new: Path, pickles: list[str]) -> None:
    """Copy a file as it is; an index of pickles becomes one of what they were converted to."""
    path = Path(name)
    if ".bin.index." not in path.name:
        shutil.copyfile(model / name, new / name)
        return
    try:
        index = json.loads((model / name).read_text(encoding="utf-8"))
        places = dict(index["weight_map"])
        missing = {place for place in places.values() if (path.parent / place).as_posix() not in pickles}
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{model / name}: is damaged: no index of weights") from None
    if missing:
        raise UserError(f"{model / name}: names {min(missing)}, which is not there to be converted")
    index["weight_map"] = {weight: safetensors_name(place) for weight, place in places.items()}
    text = json.dumps(index, indent=2) + "\n"
    (new / path.with_name(safetensors_name(path.name))).write_text(text, encoding="utf-8")


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """Where to write what appears at `out` only when it is complete; an error leaves nothing behind."""
    new = out.absolute().with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
    try:
        if out.suffix != ".safetensors":
            new.mkdir()
        yield new
        for path in (path for path in (new, *new.rglob("*")) if path.is_file()):
            with open(path, "rb+") as file:
                files.sync(file)
        os.replace(new, out)
        files.sync_folder(out.absolute().parent)
    except OSError as error:
        raise UserError(f"{error.filename or out}: {error.strerror or error}; nothing was made") from error
    finally:
        shutil.rmtree(new, ignore_errors=True) if new.is_dir() else new.unlink(missing_ok=True)


# Weights.


@dataclass(frozen=True)
class Pair:
    """A pickle and where its weights go, and what the two are called."""

    source: Path
    target: Path
    told: str
    name: str


def _convert_files(pairs: list[Pair], say: Callable[[str], None], limits: Limits | None) -> tuple[ConvertedFile, ...]:
    """Convert pickles in one child, and compare in another."""
    limits = limits or Limits.of([pair.source for pair in pairs])
    for pair, found in _children("write", pairs, limits):
        say(f"{pair.told}: {pair.source.stat().st_size:,} bytes read, {found['tensors']:,} tensors")
        pair.target.chmod(0o666 & ~_umask())
    converted = []
    for pair, found in _children("compare", pairs, limits):
        digest, others = files.sha256(pair.target), tuple(found["left_out"])
        say(f"{pair.name}: {found['bytes']:,} bytes of weights, equal bit for bit, sha256 {digest}")
        if others:
            say(f"{pair.told}: left out, as no weights: {', '.join(others)}")
        converted.append(ConvertedFile(pair.told, pair.name, found["tensors"], found["bytes"], digest, others))
    return tuple(converted)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _children(task: str, pairs: list[Pair], limits: Limits) -> Iterator[tuple[Pair, dict[str, Any]]]:
    """Let a child do a task; yields what it tells of every pair. Raises UserError where it refuses or comes to harm."""
    child = subprocess.Popen(
        [sys.executable, "-P", str(CHILD), task, str(limits.memory)],
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    overdue = threading.Event()

    def end() -> None:
        overdue.set()
        child.kill()

    timer = threading.Timer(limits.seconds, end)
    timer.start()
    with child:
        try:
            _hand_over(child, pairs)
            for pair in pairs:
                yield pair, _told(child, pair, limits, overdue)
        finally:
            timer.cancel()
            child.kill()


def _hand_over(child: subprocess.Popen[str], pairs: list[Pair]) -> None:
    """Tell a child its files; one that is gone by now is noticed by its silence."""
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError), child.stdin:
        json.dump([[str(pair.source.absolute()), str(pair.target.absolute())] for pair in pairs], child.stdin)


def _told(child: subprocess.Popen[str], pair: Pair, limits: Limits, overdue: threading.Event) -> dict[str, Any]:
    """Return what a child tells of the next pair."""
    assert child.stdout is not None
    line = child.stdout.readline()
    if overdue.is_set():
        raise UserError(f"{pair.told}: not read within {limits.seconds:.0f} s; refused")
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        raise UserError(f"{pair.told}: the process that read it {_end(child.wait())}; refused") from None
    if "error" in found:
        raise UserError(f"{pair.told}: {_reason(found, limits)}")
    return found


def _reason(found: dict[str, str], limits: Limits) -> str:
    reason = found["error"]
    return {
        "code": f"holds code and not weights alone ({reason}); refused, and none of it was run",
        "memory": f"needs more than the {limits.memory / 1e9:.1f} GB that a file of its size may; refused",
        "disk": f"cannot be written as safetensors: {reason}",
        "differs": f"what was written differs from the pickle ({reason})",
    }.get(found["kind"], f"is damaged, or no file of PyTorch's: {reason}")


def _end(status: int) -> str:
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    proxies = {f"{kind}_proxy": NOWHERE for kind in ("http", "https", "all")}
    return {**kept, **proxies, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
