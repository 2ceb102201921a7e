"""Balanced orders for factors such as ethnicity × age × phrase, computed once per shape and repeated.

Both functions are greedy: each step takes what keeps the counts so far closest, so every prefix is near-balanced too,
which plain `i % n`, shuffles and low-discrepancy sequences do not give.
"""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np


class _Counts:
    """How often each level, and each pair of levels, of some factors was taken."""

    def __init__(self, sizes: tuple[int, ...]):
        self.sizes = sizes
        self.pairs = list(itertools.combinations(range(len(sizes)), 2))
        self.ones = [np.zeros(size, dtype=np.int64) for size in sizes]
        self.twos = [np.zeros((sizes[i], sizes[j]), dtype=np.int64) for i, j in self.pairs]

    def cost(self, rows: np.ndarray) -> np.ndarray:
        """What taking each of the rows, (n, factors), would cost in balance: worst level, worst pair, then all."""
        one = np.array([(count - count.min())[rows[:, i]] for i, count in enumerate(self.ones)])
        two = np.array([(count - count.min())[rows[:, i], rows[:, j]] for (i, j), count in zip(self.pairs, self.twos)])
        weights = [self.sizes[i] * self.sizes[j] for i, j in self.pairs]
        return one.max(axis=0) * 1e9 + two.max(axis=0) * 1e6 + self.sizes @ one + weights @ two

    def take(self, row: np.ndarray) -> None:
        for i, count in enumerate(self.ones):
            count[row[i]] += 1
        for (i, j), count in zip(self.pairs, self.twos):
            count[row[i], row[j]] += 1


@cache
def design(sizes: tuple[int, ...]) -> np.ndarray:
    """The full factorial of three factor sizes, shape (product of sizes, 3), every prefix of it near-balanced."""
    rows = np.indices(sizes).reshape(len(sizes), -1).T
    counts, taken, order = _Counts(sizes), np.zeros(len(rows)), []
    for _ in range(len(rows)):
        best = int(np.argmin(counts.cost(rows) + taken))
        counts.take(rows[best])
        taken[best] = np.inf
        order.append(best)
    return rows[order]


@cache
def held_out(sizes: tuple[int, ...], turn: int) -> np.ndarray:
    """Which two of every ten draws are held out, shape (product of sizes, 2): (validation, test) for each ten.

    The draws are the design repeated. Each held-out part is balanced like the whole. `turn`, 0 to 9, is where ties
    begin, so that small builds of several cells have held-out pictures in some of them.
    """
    rows = design(sizes)
    parts = _Counts(sizes), _Counts(sizes)
    used = np.zeros((2, len(rows)))
    places = np.zeros((len(rows), 2), dtype=np.int64)
    for ten in range(len(rows)):
        block = np.arange(10 * ten, 10 * ten + 10) % len(rows)
        for part, counts in enumerate(parts):
            cost = counts.cost(rows[block]) + used[part, block] * 1e12 + (np.arange(10) - turn - 5 * part) % 10 / 10
            if part == 1:
                cost[places[ten, 0]] = np.inf
            best = places[ten, part] = int(np.argmin(cost))
            counts.take(rows[block[best]])
            used[part, block[best]] += 1
    return places
