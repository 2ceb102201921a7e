"""The search for duplicates among many hashes: computing and memory of a process of its own, and what each adds.

    python benchmarks duplicates                # 100,000 to forty million hashes, a few minutes
    python benchmarks duplicates --scale 2.5    # to a hundred million

Hashes are random, but for clusters: one in a thousand lies near others, in clusters of 2 to 50, and one in ten thousand
is the very same as another one. They lie in 128 cells. What was not measured up to a hundred million is projected, and
its row says so.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from harness import Process, Table, process

from builder.checks.duplicates import copies
from builder.checks.near_pairs import Search
from builder.spec.criteria import Duplicates

SIZES = (100_000, 1_000_000, 10_000_000, 20_000_000, 40_000_000)
"""From the last but one on the search goes part by part and by the same keys, so that their slope is that beyond."""
SIZES_IN_CELL = SIZES[:3]
PROJECTED = 100_000_000
COUNTED = 10_000_000
"""Most hashes whose pairs are counted beside the search."""
CELLS = 128
FLAT = 1_000_000
NEAR, SAME = 1 / 1_000, 1 / 10_000
CLUSTER = 2, 50
"""Fewest and most hashes of a cluster."""
KINDS = {
    "clusters": Duplicates(radius=2, radius_in_cell=2),
    "clusters, radius 4 in a cell": Duplicates(radius=2, radius_in_cell=4),
    "one hash": Duplicates(radius=2, radius_in_cell=2),
    "flat": Duplicates(radius=2, radius_in_cell=2),
}


def run(scale: float = 1.0) -> Iterator[Table]:
    """Three tables: hashes as a build has them at several sizes, by one radius and by two, and some that crowd."""
    yield _growing("Duplicates: the search, a process of its own", "clusters", SIZES, scale)
    title = "Duplicates: the search, radius 4 in a cell"
    yield _growing(title, "clusters, radius 4 in a cell", SIZES_IN_CELL, scale)
    yield _alike(max(1_000, int(FLAT * scale)))


def _growing(title: str, kind: str, usual: tuple[int, ...], scale: float) -> Table:
    columns = ["hashes", "of which", "pairs", "copies", "CPU s", "peak MiB", "µs a further one", "bytes"]
    found, sizes = Table(title, columns), [max(1_000, int(size * scale)) for size in usual]
    spent: list[Process] = []
    for number, size in enumerate(sizes):
        one, gone = _measured(kind, size)
        spent.append(one)
        slopes = _slopes(sizes[number - 1 : number + 1], spent[number - 1 :])
        pairs = _pairs(kind, size) if size <= COUNTED else None
        found.add(size, kind, pairs, gone, one.computing, one.peak, *slopes)
    found.notes.append(
        "µs and bytes: what each further hash adds to the size before. Computing is without that of a process that "
        "only reads the hashes. Pairs: within 2 bits, anywhere."
    )
    if usual is SIZES and sizes[-1] < PROJECTED:
        found.add(*_projected(kind, sizes[-2:], spent[-2:]))
        found.notes.append("Projected: by the slope between the two largest sizes, not measured.")
    return found


def _projected(kind: str, sizes: list[int], spent: list[Process]) -> list:
    """The row of PROJECTED hashes, by the slope between the two largest sizes: a line, not a promise."""
    ratio = (PROJECTED - sizes[1]) / (sizes[1] - sizes[0])
    computing = spent[1].computing + ratio * (spent[1].computing - spent[0].computing)
    peak = spent[1].peak + ratio * (spent[1].peak - spent[0].peak)
    return [PROJECTED, f"{kind} (projected)", None, None, computing, peak, None, None]


def _slopes(sizes: list[int], spent: list[Process]) -> tuple[float | None, float | None]:
    """Microseconds and bytes that each hash adds."""
    if len(sizes) < 2:
        return None, None
    more = sizes[1] - sizes[0]
    return 1e6 * (spent[1].computing - spent[0].computing) / more, 2**20 * (spent[1].peak - spent[0].peak) / more


def _alike(count: int) -> Table:
    """Hashes that crowd: what would take hours if all were compared with all."""
    found = Table("Duplicates: hashes that crowd", ["hashes", "of which", "copies", "CPU s", "peak MiB"])
    for kind, meant in (("one hash", "one and the same"), ("flat", "24 bits the same, the others seldom turned")):
        one, gone = _measured(kind, count)
        found.add(count, meant, gone, one.computing, one.peak)
    return found


def _pairs(kind: str, count: int) -> int:
    """How many pairs there are within the radius for pictures anywhere, the very same ones included."""
    return sum(len(i) for i, _, _ in Search(hashes(kind, count), KINDS[kind].radius))


def _measured(kind: str, count: int) -> tuple[Process, int]:
    """What a search takes, less the computing of a process that only reads the hashes, and how many copies it found."""
    with tempfile.TemporaryDirectory() as folder:
        made, whole = Path(folder, "hashes.npy"), Path(folder, "found.json")
        np.save(made, hashes(kind, count))
        idle = process([__file__, kind, str(made), "-"], Path(folder))
        spent = process([__file__, kind, str(made), str(whole)], Path(folder))
        return Process(spent.seconds, spent.computing - idle.computing, spent.peak), json.loads(whole.read_text())


def hashes(kind: str, count: int) -> np.ndarray:
    """So many hashes of a kind, uint64; the same ones every time."""
    chance = np.random.default_rng(count)
    if kind == "one hash":
        return np.full(count, 7, dtype=np.uint64)
    if kind == "flat":
        found = np.zeros(count, dtype=np.uint64)
        for bit in range(40):
            found |= (chance.random(count) < 0.15).astype(np.uint64) << np.uint64(bit)
        return found
    found = chance.integers(0, 2**64, count, dtype=np.uint64)
    places = chance.permutation(count)[: round((NEAR + SAME) * count)]
    near, same = np.split(places, [round(NEAR * count)])
    edges = np.cumsum(chance.integers(CLUSTER[0], CLUSTER[1] + 1, len(near) // CLUSTER[0] + 1))
    clusters = np.split(near, edges[edges < len(near)])
    for cluster in clusters:
        found[cluster] = found[cluster[0]]
    for _ in range(2):
        turned = near[chance.random(len(near)) < 0.5]
        found[turned] ^= np.uint64(1) << chance.integers(0, 64, len(turned)).astype(np.uint64)
    found[same] = found[chance.integers(0, count, len(same))]
    return found


def search(kind: str, made: Path, whole: Path | None) -> None:
    """Search the hashes of a file; writes how many copies there are. Without `whole` only read them."""
    own = np.load(made)
    cells = np.arange(len(own), dtype=np.uint32) % CELLS
    if whole is None:
        return
    criteria = KINDS[kind]
    found = copies(own, cells, criteria, say=lambda line: print(line, file=sys.stderr))
    whole.write_text(json.dumps(len(found)))


if __name__ == "__main__":
    search(sys.argv[1], Path(sys.argv[2]), None if sys.argv[3] == "-" else Path(sys.argv[3]))
