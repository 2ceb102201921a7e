"""Making pictures: the builder's pipeline beside diffusers' own, and beside what the device could do at best.

    python benchmarks generation            # on a GPU ten minutes at most, each row with a limit of its own
    python benchmarks generation --scale 2  # twenty, for the rows that were not reached

On a GPU the rows are of Stable Diffusion 1.5's full architecture in float16 at 512×512, with a safety checker and CLIP
of full size (random weights: the arithmetic is the same). Elsewhere the same code measures tiny models, which proves
the command and says nothing about a GPU; what a CPU does is measured with the preview model, by turns.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import devices
import numpy as np
from arithmetic import CHUNK
from harness import SPREAD, Table
from row_processes import Row, measured

from builder import preview

SECONDS = 600
"""That all rows together may take."""
ROUNDS = 3
COLUMNS = [
    "way",
    "batch",
    "pictures/s",
    "± %",
    "× diffusers, batch 1",
    "of the floor %",
    "busy %",
    "peak MiB",
    "first s",
]
COLD, WARM = ", with an empty cache", ", with the cache of the process before"
"""What is told of rows that are measured twice."""
GPU = [
    Row("models", 0, 90, "start"),
    Row("floor", 0, 20, "start"),
    *(Row("diffusers", batch, 40, "theirs") for batch in (1, 8, 16, 32)),
    *(Row("ours", batch, 40, "ours") for batch in (8, 16, 32)),
    Row("fed", 4, 40, "ours"),
    Row("ours, compiled", 16, 150, "cold", told=COLD),
    Row("ours, compiled", 16, 90, "warm", told=WARM),
    Row("process", 0, 90, "process"),
    Row("diffusers, reduce-overhead", 16, 120, "fast"),
    Row("ours, compiled", 32, 120, "compiled"),
    Row("process, compiled", 0, 120, "process, compiled"),
    Row("diffusers, reduce-overhead", 1, 120, "faster"),
    Row("ours, compiled", 8, 120, "compiled too"),
    Row("diffusers, max-autotune", 16, 300, "fastest", "tuned"),
]
"""In the order in which they are worth most, should the time not be enough for all."""
CPU = [
    Row("models", 0, 60, "plain"),
    Row("floor", 0, 20, "plain"),
    *(Row("diffusers", batch, 60, "plain") for batch in (1, 2)),
    Row("ours", 2, 60, "plain"),
    Row("fed", 2, 60, "plain"),
    Row("ours, compiled", 2, 60, "plain", told=COLD),
    Row("ours, compiled", 2, 60, "warm", told=WARM),
    Row("diffusers, reduce-overhead", 1, 60, "warm"),
    Row("diffusers, max-autotune", 2, 60, "warm"),
    Row("process", 0, 120, "warm"),
    Row("process, compiled", 0, 120, "warm"),
]
TURNS = [Row("turns", batch, 120, "turns") for batch in (1, 4)]


def run(scale: float = 1.0) -> Iterator[Table]:
    """Speed and what it takes beside diffusers' pipeline, and by how much pictures differ."""
    device, rounds, seconds = devices.here(), max(1, round(ROUNDS * scale)), SECONDS * max(1.0, scale)
    is_gpu = device.torch.type == "cuda"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not is_gpu:
            yield _by_turns(list(measured(TURNS, folder, seconds, rounds)), rounds)
        rows = list(measured(GPU if is_gpu else CPU, folder, seconds, rounds if is_gpu else 1))
        what = "Stable Diffusion 1.5, 512×512, float16" if is_gpu else "rehearsal with tiny models"
        facts = next(found for row, found in rows if row.name == "models")
        yield _speed(rows, facts, device, f"Generation: {what}, on {device.name}")
        yield _compiling(rows, what)
        yield _agreement(folder, what)
    if not is_gpu:
        missing = Table("Generation on a GPU", ["way", "pictures/s"])
        missing.add("not measured: no GPU here", None)
        missing.notes.append("The command for it is `python benchmarks generation`, on a machine with a GPU.")
        yield missing


def _by_turns(rows: list[tuple[Row, dict]], rounds: int) -> Table:
    table = Table(
        f"Generation: the preview model, {os.cpu_count()} CPU cores, {preview.STEPS} steps, guidance, 512×512",
        ["batch", "diffusers' pipeline, pictures/s", "ours, pictures/s", "× diffusers", "± %"],
        notes=[f"Both by turns. {SPREAD.format(rounds)}"],
    )
    for row, found in rows:
        table.add(row.batch, *(found.get(key) for key in ("theirs", "ours", "ratio", "spread")))
        _tell_failure(table, row, found)
    return table


def _speed(rows: list[tuple[Row, dict]], facts: dict, device: devices.Device, title: str) -> Table:
    table, floor = Table(title, COLUMNS), None
    first = next((found.get("rate") for row, found in rows if row.name == "diffusers"), None)
    for row, found in sorted(rows, key=_place):
        if row.name in ("models", "fed"):
            _tell_failure(table, row, found)
            continue
        if row.name == "floor":
            floor = found.get("tflops")
            rate, each = (floor / facts["ours"], "ours") if floor and "ours" in facts else (None, "")
        else:
            rate, each = found.get("rate"), "theirs" if row.name.startswith("diffusers") else "ours"
        share = 100 * rate * facts[each] / floor if rate and floor and each in facts else None
        busy, size = found.get("busy"), row.batch or found.get("batch")
        spent = (busy and 100 * busy, found.get("peak"), found.get("first"))
        table.add(_name(row), size, rate, found.get("spread"), rate and first and rate / first, share, *spent)
        _tell_failure(table, row, found)
    table.notes += _notes(rows, facts, floor, device)
    return table


def _place(each: tuple[Row, dict]) -> tuple[int, int]:
    """Where a row stands in the table: the ways by name, smaller batches first."""
    names = ("floor", "diffusers", "diffusers, reduce-overhead", "diffusers, max-autotune", "ours", "ours, compiled")
    row = each[0]
    return names.index(row.name) if row.name in names else len(names), row.batch


def _name(row: Row) -> str:
    names = {"floor": "the floor: matrix products alone", "process": "the whole process: checks, safety checker, files"}
    base, _, compiled = row.name.partition(", ")
    name = names.get(base, base)
    more = f", channels_last, compiled ({compiled})" if base == "diffusers" and compiled else ""
    return f"{name}{more or (', compiled' if compiled else '')}{row.told}"


def _tell_failure(table: Table, row: Row, found: dict) -> None:
    if "failed" in found:
        table.notes.append(f"{_name(row)}{f', batch {row.batch}' if row.batch else ''}: {found['failed']}.")


def _notes(rows: list[tuple[Row, dict]], facts: dict, floor: float | None, device: devices.Device) -> Iterator[str]:
    if "ours" in facts:
        tokens = " and ".join(map(str, facts["lengths"]))
        share = f"as {100 * facts['share']:.0f}% of all samples have them"
        yield (
            f"A picture is {facts['ours']:.4g} TFLOP with prompts of {tokens} tokens, {share}, and "
            f"{facts['theirs']:.4g} TFLOP for diffusers, which cuts them at {CHUNK}."
        )
    if floor:
        yield f"The floor: {floor:.4g} TFLOP/s of {device.side}×{device.side} matrices, {device.dtype}."
    memory = "reserved on the GPU" if device.torch.type == "cuda" else "of the process"
    yield f"Busy: {device.busy.how}. Peak: {memory}."
    yield "First: seconds of the first batch, which chooses kernels and compiles."
    if device.torch.type == "cpu":
        yield "Compiled: captured as one graph and run as it is, since a compiler would take minutes on a CPU."
    for row, found in rows:
        if "kept" in found:
            compiled = "compiled" if found["is_compiled"] else "not compiled"
            made = f"{found['kept']} pictures kept of {found['tries']} tries in {found['seconds']:.0f} s"
            yield (
                f"{_name(row)}: {made} from start to release, {compiled}; the rate is that of {found['batch']} at "
                "once, without start and end."
            )


def _compiling(rows: list[tuple[Row, dict]], what: str) -> Table:
    """What compiling costs, what it gains, and from how many pictures on it pays."""
    columns = ["way", "batch", "compile s", "× eager", "pays from s on"]
    table = Table(f"Generation: compiling, {what}", columns)
    rates = {(row.name, row.batch): found.get("rate") for row, found in rows}
    for row, found in sorted(rows, key=_place):
        if row.name in ("process, compiled",) or ", " not in row.name or "rate" not in found:
            continue
        compiling = max(0.0, found["first"] - found["seconds"])
        eager = rates.get((row.name.partition(", ")[0], row.batch))
        gain = found["rate"] / eager if eager else None
        pays = compiling / (1 - 1 / gain) if gain and gain > 1 else None
        table.add(_name(row), row.batch, compiling, gain, pays)
    if not table.rows:
        table.add("not measured", None, None, None, None)
    table.notes.append(
        "Compile s: the first batch less a later one. Pays: so many seconds of work, at the speed without, from which "
        "on it saves more than it takes (-: it never does, or there is nothing to compare with)."
    )
    return table


def _agreement(folder: Path, what: str) -> Table:
    """Differences of the pixels of the same pictures, made in several ways."""
    table = Table(f"Generation: how far pictures differ, of 255, {what}", ["what", "largest", "mean"])
    kept = {path.stem: np.load(path) for path in sorted(folder.glob("*.npy"))}
    eager = sorted((name for name in kept if name.startswith("eager")), key=lambda name: int(name.split("-")[1]))
    pairs = [("diffusers with our encodings, noise and sampler, ours", "theirs-fed", "ours-fed")]
    pairs += [(f"ours alone, ours in a batch of {_size(name)}", "alone", name) for name in eager]
    pairs += [
        (f"ours, ours compiled, both in a batch of {_size(name)}", name, name.replace("eager", "compiled"))
        for name in eager
    ]
    for title, one, other in pairs:
        if one in kept and other in kept:
            table.add(title, *difference(kept[one], kept[other]))
        else:
            table.add(f"{title}: not measured", None, None)
    return table


def _size(name: str) -> str:
    return name.partition("-")[2]


def difference(one: np.ndarray, other: np.ndarray) -> tuple[int, float]:
    """Return the largest and the mean difference of two arrays of pictures, of those that both have."""
    count = min(len(one), len(other))
    apart = np.abs(one[:count] - other[:count])
    return int(apart.max()), float(apart.mean())
