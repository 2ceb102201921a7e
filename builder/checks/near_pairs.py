"""All pairs of hashes that differ in few bits, found by sorting, in memory that hardly grows with their number.

The 64 bits are cut into `radius + k` blocks. Two hashes that differ in at most `radius` bits agree in k blocks at
least, so for every choice of k blocks the hashes are sorted by the bits of these, and only those that agree in all of
them are compared. More blocks mean longer keys, fewer hashes that agree by chance, and more sorts; k is what costs
least for so many hashes. Source: Manku, Jain, Das Sarma, Detecting near-duplicates for web crawling, 2007.

With radius 2 and four blocks A, B, C, D the keys are AB, AC, AD, BC, BD, CD. Two hashes that differ in one bit of B
agree in AC, AD and CD; they are a pair of AC, the first of these, and of no other key: so every pair is found once.

Beside the hashes a search needs some 40 bytes for each of PART hashes: where there are more, those whose keys fall into
one part after the other are taken out and sorted. Hashes that agree by no chance, as those of flat pictures may, are
searched among themselves by the bits that are left, so that a crowd costs what its pairs cost.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

BITS = 64
ALL = (1 << BITS) - 1
PART = 1 << 23
"""Hashes that are sorted at once."""
AT_ONCE = 1_000_000
"""Pairs that are compared at once."""
CROWD = 1_000
"""Hashes with one key of which more are searched by the other bits, instead of comparing all with all."""
MOST_CHOSEN = 4
"""Most blocks that hashes must agree in, k: there are 4,845 keys at the largest radius of a table, 16."""
DEEPEST = 3
"""How often a crowd in a crowd is searched so: where even that does not tell them apart, they are pairs indeed."""
SORT, COMPARE = 100.0, 40.0
"""Nanoseconds to sort a hash and to compare a pair, by which k is chosen."""
SPREAD = 0x9E3779B97F4A7C15
"""2^64 divided by the golden ratio: numbers multiplied by it are spread evenly over the upper bits."""

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Key:
    """The bits that hashes are sorted by. Of those that agree in them, a pair of this key differs in each of `unlike`:
    else it is a pair of an earlier key.
    """

    mask: int
    unlike: tuple[int, ...]


def keys(count: int, radius: int, free: int = ALL) -> list[Key]:
    """Return the keys by which all pairs of so many hashes are found that differ in at most `radius` of some bits.

    An empty list where there are no more of these bits than that: then all are pairs.
    """
    bits = [1 << bit for bit in range(BITS) if free >> bit & 1]
    if len(bits) <= radius:
        return []

    def cost(blocks: int) -> float:
        by_chance = count / 2 / 2 ** (len(bits) * (blocks - radius) / blocks)
        return math.comb(blocks, radius) * (SORT + COMPARE * by_chance)

    best = min(range(radius + 1, min(len(bits), radius + MOST_CHOSEN) + 1), key=cost)
    blocks = [sum(bits[number::best]) for number in range(best)]
    chosen = itertools.combinations(range(best), best - radius)
    return [_key(blocks, choice) for choice in chosen]


def _key(blocks: list[int], choice: tuple[int, ...]) -> Key:
    unlike = tuple(blocks[number] for number in range(choice[-1]) if number not in choice)
    return Key(sum(blocks[number] for number in choice), unlike)


class Search:
    """The pairs i < j of hashes, uint64 (n,), n < 2^32, that differ in at most `radius` bits, each once, in any order.

    Only places in `among`, bool (n,), count. With `cells`, uint32 (n,), only pairs in one cell are found. Going through
    it yields i, j and the distances of some pairs at a time. `largest` is the largest crowd that was met.
    """

    def __init__(
        self, hashes: np.ndarray, radius: int, among: np.ndarray | None = None, cells: np.ndarray | None = None
    ):
        self.hashes = hashes
        self.radius = radius
        self.among = among
        self.cells = cells
        self.largest = 0

    def __iter__(self) -> Iterator[Pairs]:
        cells = 1 if self.cells is None or not len(self.cells) else int(self.cells.max()) + 1
        for key in keys(len(self.hashes) // cells, self.radius):
            for places in parts(self.hashes, key.mask, self.among, self.cells):
                hashes = self.hashes[places]
                sorted_by = masked(hashes, key.mask, None if self.cells is None else self.cells[places])
                for pairs in self._agreeing(places, hashes, sorted_by, key, 0):
                    yield from self._in_cells(*pairs)

    def _in_cells(self, i: np.ndarray, j: np.ndarray, distance: np.ndarray) -> Iterator[Pairs]:
        if self.cells is not None:
            same = self.cells[i] == self.cells[j]
            i, j, distance = i[same], j[same], distance[same]
        if len(i):
            yield np.minimum(i, j), np.maximum(i, j), distance

    def _agreeing(
        self, places: np.ndarray, hashes: np.ndarray, sorted_by: np.ndarray, key: Key, depth: int
    ) -> Iterator[Pairs]:
        """Yield the pairs of a key among some hashes, which lie in `places`."""
        order = np.argsort(sorted_by)
        starts, lengths = runs(sorted_by[order])
        places, hashes = places[order], hashes[order]
        is_crowd = (lengths > CROWD) & (depth < DEEPEST)
        for start, length in zip(starts[is_crowd].tolist(), lengths[is_crowd].tolist()):
            self.largest = max(self.largest, length)
            crowd = slice(start, start + length)
            yield from self._crowd(places[crowd], hashes[crowd], key, depth)
        yield from self._compared(places, hashes, starts[~is_crowd], lengths[~is_crowd], key)

    def _crowd(self, places: np.ndarray, hashes: np.ndarray, key: Key, depth: int) -> Iterator[Pairs]:
        """Yield the pairs of a key among many hashes that agree in it."""
        is_mixed = 2 * len(np.unique(hashes)) > len(hashes)
        further = keys(len(hashes), self.radius, ALL & ~key.mask) if is_mixed else []
        for one in further:
            both = Key(key.mask | one.mask, key.unlike + one.unlike)
            yield from self._agreeing(places, hashes, masked(hashes, both.mask), both, depth + 1)
        if not further:
            yield from self._compared(places, hashes, np.array([0]), np.array([len(hashes)]), key)

    def _compared(
        self, places: np.ndarray, hashes: np.ndarray, starts: np.ndarray, lengths: np.ndarray, key: Key
    ) -> Iterator[Pairs]:
        """Yield the pairs of a key among runs of hashes that agree in it, by comparing all in a run."""
        for first, second in _together(starts, lengths):
            differing = hashes[first] ^ hashes[second]
            distance = np.bitwise_count(differing)
            near = np.flatnonzero(distance <= self.radius)
            for block in key.unlike:
                near = near[differing[near] & np.uint64(block) != 0]
            yield places[first[near]], places[second[near]], distance[near]


def masked(hashes: np.ndarray, mask: int, cells: np.ndarray | None = None) -> np.ndarray:
    """Return hashes with only some bits; with `cells` the others tell the cell, nearly always."""
    found = hashes & np.uint64(mask)
    if cells is not None:
        found |= cells.astype(np.uint64) * np.uint64(SPREAD) & np.uint64(ALL & ~mask)
    return found


def parts(
    hashes: np.ndarray, mask: int, among: np.ndarray | None = None, cells: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Yield places, about PART at a time, so that hashes with the same bits (and cell) come together."""
    width = min(8, max(0, math.ceil(math.log2(max(1, len(hashes)) / PART))))
    if not width:
        yield np.arange(len(hashes)) if among is None else np.flatnonzero(among)
        return
    part = np.empty(len(hashes), dtype=np.uint8)
    for start in range(0, len(hashes), PART):
        some = slice(start, start + PART)
        bits = masked(hashes[some], mask, None if cells is None else cells[some])
        part[some] = bits * np.uint64(SPREAD) >> np.uint64(BITS - width)
    for number in range(1 << width):
        yield np.flatnonzero(part == number if among is None else (part == number) & among)


def runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where in a sorted array a value stands several times: the first place of each such run, and its length."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], values[1:] == values[:-1], [False]]).astype(np.int8)))
    return edges[::2], edges[1::2] - edges[::2] + 1


def _together(starts: np.ndarray, lengths: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield all pairs of places in the same run, AT_ONCE at a time."""
    within = _counted(lengths)
    places = np.repeat(starts, lengths) + within
    later = np.repeat(lengths, lengths) - 1 - within  # how many partners come after each place
    sums = np.cumsum(later)
    start = 0
    while start < len(places):
        before = sums[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(sums, before + AT_ONCE, side="right")))
        counts = later[start:stop]
        first = np.repeat(places[start:stop], counts)
        yield first, first + _counted(counts) + 1
        start = stop


def _counted(counts: np.ndarray) -> np.ndarray:
    """Return 0, 1, 2 … up to each of some numbers, one behind the other.

    >>> _counted(np.array([2, 3])).tolist()
    [0, 1, 0, 1, 2]
    """
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def repeated(hashes: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the places at which a hash and cell stand again, and for each the first place where they do."""
    again, firsts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for places in parts(hashes, ALL):
        own = hashes[places]
        order = np.argsort(own)
        starts, lengths = runs(own[order])
        places = places[order[np.repeat(starts, lengths) + _counted(lengths)]]
        places = places[np.lexsort((places, cells[places], hashes[places]))]
        is_first = np.ones(len(places), bool)
        is_first[1:] = (np.diff(hashes[places]) != 0) | (np.diff(cells[places]) != 0)
        first = places[is_first][np.cumsum(is_first) - 1]
        again.append(places[~is_first])
        firsts.append(first[~is_first])
    return np.concatenate(again), np.concatenate(firsts)
