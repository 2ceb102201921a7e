"""Intervals and tests for counted failures; every function takes numbers or arrays of them, which broadcast.

Rates of failure are often near 0 or 1, and the cells small. There Wilson's interval, and Newcombe's of a difference,
which is made of two of them, hold the truth in as few as 84% of samples instead of 95%, as
`tests/experiments/evaluation.py` shows. So a rate has Clopper and Pearson's exact interval here, and a difference is
made of these in Newcombe's way.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np

Numbers: TypeAlias = Any
"""A number of numpy or Python, or an array of them."""
CONFIDENCE = 0.95
ALARM = 0.05
"""Chance that a model without any weakness has a cell whose Holm p is no more than this."""


class Interval(NamedTuple):
    """Limits between which the truth is, in CONFIDENCE of all samples."""

    low: Numbers
    high: Numbers


def exact(failures: Numbers, trials: Numbers) -> Interval:
    """Return the exact interval of a rate; counts may be fractions, effective ones. (0, 1) where nothing was tried.

    Source: Clopper and Pearson, The use of confidence or fiducial limits, 1934; for effective counts: Korn and
    Graubard, Confidence intervals for proportions with small expected number of positive counts, 1998.
    """
    from scipy.special import betaincinv  # slow to import

    k, n = np.broadcast_arrays(np.asarray(failures, float), np.asarray(trials, float))
    tail = (1 - CONFIDENCE) / 2
    with np.errstate(invalid="ignore"):
        low = np.where(k > 0, betaincinv(np.maximum(k, 1e-12), n - k + 1, tail), 0.0)
        high = np.where(k < n, betaincinv(k + 1, np.maximum(n - k, 1e-12), 1 - tail), 1.0)
    return Interval(np.where(n > 0, low, 0.0), np.where(n > 0, high, 1.0))


def difference(rate: Numbers, interval: Interval, other: Numbers, other_interval: Interval) -> Interval:
    """Return the interval of the difference of two independent rates, from the interval of each.

    Of Wilson's intervals this makes Newcombe's hybrid score interval. Source: Newcombe, Interval estimation for the
    difference between independent proportions, 1998, method 10; for intervals of any kind: Zou and Donner,
    Construction of confidence limits about effect measures, 2008.
    """
    return paired_difference(rate, interval, other, other_interval, 0.0)


def paired_difference(
    rate: Numbers, interval: Interval, other: Numbers, other_interval: Interval, correlation: Numbers
) -> Interval:
    """Return the interval of the difference of two rates of the same pictures, whose failures correlate.

    Source: Newcombe, Improved confidence intervals for the difference between binomial proportions based on paired
    data, 1998, method 10.
    """
    below, above = rate - interval.low, interval.high - rate
    other_below, other_above = other - other_interval.low, other_interval.high - other
    low = below**2 - 2 * correlation * below * other_above + other_above**2
    high = above**2 - 2 * correlation * above * other_below + other_below**2
    gap = rate - other
    return Interval(gap - np.sqrt(np.maximum(low, 0)), gap + np.sqrt(np.maximum(high, 0)))


def phi(both: Numbers, first: Numbers, second: Numbers, neither: Numbers) -> Numbers:
    """Return how much the failures of two models correlate, from how many pictures both fail, only the first, only the
    second, and neither: Newcombe's φ, with his correction towards 0 of a positive one.
    """
    cells = (np.asarray(cell, float) for cell in (both, first, second, neither))
    a, b, c, d = np.broadcast_arrays(*cells)
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    product = a * d - b * c
    corrected = np.where(product > 0, np.maximum(product - (a + b + c + d) / 2, 0), product)
    return np.where(margins > 0, corrected / np.sqrt(np.where(margins > 0, margins, 1)), 0.0)


def fisher(failures: Numbers, trials: Numbers, other: Numbers, other_trials: Numbers) -> Numbers:
    """Return the exact p of two counts having the same rate: twice the smaller tail, at most 1.

    Source: Fisher, The logic of inductive inference, 1935.
    """
    from scipy.stats import hypergeom

    k, n, k2, n2 = np.broadcast_arrays(*(np.asarray(a, np.int64) for a in (failures, trials, other, other_trials)))
    total, hits = n + n2, k + k2
    upper = hypergeom.sf(k - 1, total, hits, n)
    lower = hypergeom.cdf(k, total, hits, n)
    return np.clip(2 * np.minimum(upper, lower), 0, 1)


def poisson_ratio(failures: Numbers, trials: Numbers, other: Numbers, other_trials: Numbers) -> Numbers:
    """Return the p of two small rates being the same, for counts that may be fractions, effective ones.

    Source: Przyborowski and Wilenski, Homogeneity of results in testing samples from Poisson series, 1940.
    """
    from scipy.special import betainc

    k, n, k2, n2 = (np.asarray(a, float) for a in (failures, trials, other, other_trials))
    share = n / np.maximum(n + n2, 1e-12)
    upper = np.where(k > 0, betainc(np.maximum(k, 1e-12), k2 + 1, share), 1.0)
    lower = np.where(k2 > 0, betainc(np.maximum(k2, 1e-12), k + 1, 1 - share), 1.0)
    return np.clip(2 * np.minimum(upper, lower), 0, 1)


def mcnemar(first: Numbers, second: Numbers) -> Numbers:
    """Return the exact p of two models failing equally often, from how many pictures only one of them fails.

    Source: McNemar, Note on the sampling error of the difference between correlated proportions, 1947.
    """
    from scipy.stats import binom

    b, c = np.broadcast_arrays(np.asarray(first), np.asarray(second))
    return np.minimum(1, 2 * binom.cdf(np.minimum(b, c), b + c, 0.5))


def holm(p: Numbers) -> Numbers:
    """Return p-values adjusted for all tests of the last axis; NaN stays NaN and is no test.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    p = np.asarray(p, float)
    order = np.argsort(p, axis=-1)  # NaN last
    ranked = np.take_along_axis(p, order, -1)
    tests = np.sum(~np.isnan(p), axis=-1, keepdims=True)
    adjusted = np.maximum.accumulate(np.minimum(ranked * (tests - np.arange(p.shape[-1])), 1), axis=-1)
    result = np.empty_like(p)
    np.put_along_axis(result, order, adjusted, -1)
    return result


def mean(values: np.ndarray) -> tuple[Numbers, Interval]:
    """Return the mean over the last axis, and its interval; NaN for fewer than three values, or where all are equal.

    Student's interval holds the mean of skewed values too seldom; Hall's transformation takes the skewness out first,
    but holds that of values with long tails on both sides too seldom, so the interval is as wide as both together.
    Shares, whose values are 0 and 1, have the exact interval. Source: Hall, On the removal of skewness by
    transformation, 1992, the cubic one with a = 1/3 and b = 1/6.
    """
    from scipy.stats import t

    n = values.shape[-1]
    center = values.mean(axis=-1) if n else np.float64("nan")
    if n and np.isin(values, (0, 1)).all():
        return center, exact(values.sum(axis=-1), n)
    if n < 3:
        return center, Interval(center * np.nan, center * np.nan)
    spread = values.std(axis=-1, ddof=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        skewness = np.mean((values - np.expand_dims(center, -1)) ** 3, axis=-1) / values.std(axis=-1) ** 3
        skewness = np.where(np.abs(skewness) < 1e-3, 1e-3, skewness) / np.sqrt(n)
        edge = t.ppf((1 + CONFIDENCE) / 2, n - 1)
        above, below = (3 / skewness * (1 - np.cbrt(1 + skewness * (place - skewness / 6))) for place in (-edge, edge))
    error = np.where(spread > 0, spread / np.sqrt(n), np.nan)
    return center, Interval(center + np.minimum(below, -edge) * error, center + np.maximum(above, edge) * error)


def effective_pairs(matches: np.ndarray) -> tuple[float, float, float]:
    """Return the rate at which pairs of pictures match, and how many matches of how many independent pairs tell as
    much; `matches` are, of every picture, how many of the others it matches.

    Pairs that share a picture are not independent. The variance is the jackknife's, which leaves each picture out once;
    the counts are divided by how much larger it is than that of independent pairs. Without any match nothing is known
    of that, so the pairs that share no picture count alone. Sources: Arvesen, Jackknifing U-statistics, 1969; Rao and
    Scott, A simple method for the analysis of clustered binary data, 1992.
    """
    n = len(matches)
    if n < 3:
        return (float(matches[0]) if n == 2 else 0.0), (float(matches[0]) if n == 2 else 0.0), float(n // 2)
    pairs, total = n * (n - 1) / 2, float(np.sum(matches)) / 2
    rate = total / pairs
    if total in (0, pairs):
        return rate, rate * (n // 2), float(n // 2)
    left_out = (total - matches) / ((n - 1) * (n - 2) / 2)
    variance = (n - 1) / n * float(np.sum((left_out - rate) ** 2))
    effective = min(pairs, max(rate * (1 - rate) / variance, n // 2)) if variance else pairs
    return rate, rate * effective, effective


def jackknife_pairs(matches: np.ndarray) -> tuple[float, Interval, float]:
    """Return how much more pairs match with one model than with another, its interval, and the p of no difference.

    `matches` are, of every picture, how many more of the others it matches with the one. Where all are equal, the pairs
    that share no picture say how far from 0 it may be. Source: as of effective_pairs.
    """
    from scipy.stats import t

    n, total = len(matches), float(np.sum(matches)) / 2
    if n < 3:
        return 0.0, Interval(np.float64(-1), np.float64(1)), 1.0
    center = total / (n * (n - 1) / 2)
    left_out = (total - matches) / ((n - 1) * (n - 2) / 2)
    deviation = float(np.sqrt((n - 1) / n * np.sum((left_out - center) ** 2)))
    half = t.ppf((1 + CONFIDENCE) / 2, n - 1) * deviation if deviation else float(exact(0, n // 2).high)
    p = 2 * t.sf(abs(center) / deviation, n - 1) if deviation else 1.0
    return center, Interval(np.float64(center - half), np.float64(center + half)), float(p)
