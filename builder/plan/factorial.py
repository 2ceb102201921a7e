"""Balanced orders for factors such as ethnicity × age × phrase, computed once per shape and repeated.

Both functions are greedy: each step takes what keeps the counts so far closest, so every prefix is near-balanced too,
which plain `i % n`, shuffles and low-discrepancy sequences do not give.
"""

from __future__ import annotations

import itertools
import math
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
        cost: np.ndarray = one.max(axis=0) * 1e9 + two.max(axis=0) * 1e6 + self.sizes @ one + weights @ two
        return cost

    def spread(self) -> tuple[int, int]:
        """Return the largest difference between the counts of levels, and of pairs of levels."""
        return int(max(map(np.ptp, self.ones))), int(max(map(np.ptp, self.twos)))

    def take(self, row: np.ndarray) -> None:
        for i, count in enumerate(self.ones):
            count[row[i]] += 1
        for (i, j), table in zip(self.pairs, self.twos):
            table[row[i], row[j]] += 1


@cache
def design(sizes: tuple[int, ...]) -> np.ndarray:
    """Return the full factorial of three factor sizes, shape (product of sizes, 3), every prefix of it near-balanced.

    In every prefix of sizes up to 8, counts of a level differ by at most 2, of a pair of levels by at most 3.
    """
    rows = np.indices(sizes).reshape(len(sizes), -1).T
    steps = [step for step in range(1, len(rows) + 2) if math.gcd(step, len(rows)) == 1]
    candidates: list[tuple[int, int, np.ndarray]] = []
    for step in steps[: 12 if len(rows) <= 1000 else 1]:
        order, (level, pair) = _greedy(rows[np.arange(len(rows)) * step % len(rows)], sizes)
        candidates.append((max(level - 2, pair - 3, 0), len(candidates), order))
        if candidates[-1][0] == 0:
            break
    return min(candidates, key=lambda entry: entry[:2])[2]


def _greedy(rows: np.ndarray, sizes: tuple[int, ...]) -> tuple[np.ndarray, tuple[int, int]]:
    """Rows in greedy order, ties broken by the order given; and the worst (level, pair) difference of any prefix."""
    counts, taken, order, worst = _Counts(sizes), np.zeros(len(rows)), [], (0, 0)
    for _ in range(len(rows)):
        best = int(np.argmin(counts.cost(rows) + taken))
        counts.take(rows[best])
        level, pair = counts.spread()
        worst = max(worst[0], level), max(worst[1], pair)
        taken[best] = np.inf
        order.append(best)
    return rows[order], worst


@cache
def held_out(sizes: tuple[int, ...], turn: int) -> np.ndarray:
    """Return which two of every ten draws are held out, shape (product of sizes, 2): (validation, test) for each ten.

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
