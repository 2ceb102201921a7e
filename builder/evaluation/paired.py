"""Failures in pairs, of two models on the same pictures or of one on pictures and their twins: who fails alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from builder.evaluation import statistics


class Paired(NamedTuple):
    """Of n `trials` the rates of both, how often `only_first` and `only_second` fail, the first rate less the second
    with its interval, and McNemar's p.
    """

    trials: int
    rates: tuple[float, float]
    only_first: int
    only_second: int
    difference: float
    difference_interval: tuple[float, float]
    p: float


def paired(one: np.ndarray, other: np.ndarray) -> Paired:
    """Return the numbers of failures, (n,) and (n,), each 0 or 1, of which each two belong together."""
    n = len(one)
    both, first, second = int((one * other).sum()), int((one * (1 - other)).sum()), int(((1 - one) * other).sum())
    rates = ((both + first) / n, (both + second) / n) if n else (0.0, 0.0)
    limits = [statistics.exact(np.float64(k), np.float64(n)) for k in (both + first, both + second)]
    correlation = statistics.phi(*map(np.float64, (both, first, second, n - both - first - second)))
    low, high = statistics.paired_difference(
        np.float64(rates[0]), limits[0], np.float64(rates[1]), limits[1], correlation
    )
    difference, interval = rates[0] - rates[1], (float(low), float(high))
    return Paired(n, rates, first, second, difference, interval, float(statistics.mcnemar(first, second)))
