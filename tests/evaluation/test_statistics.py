"""Intervals and tests are those of their sources, and behave at the edges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from builder.common.intervals import wilson
from builder.evaluation import statistics
from builder.evaluation.statistics import Interval

COUNTS = st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def newcombe(k, n, k2, n2):
    """The difference of two rates with Wilson's intervals."""
    return statistics.difference(k / n, Interval(*wilson(k, n)), k2 / n2, Interval(*wilson(k2, n2)))


@pytest.mark.parametrize(
    ("counts", "interval"),
    [
        ((56, 70, 48, 80), (0.0524, 0.3339)),
        ((9, 10, 3, 10), (0.1705, 0.8090)),
        ((6, 7, 2, 7), (0.0582, 0.8062)),
        ((5, 56, 0, 29), (-0.0381, 0.1926)),
        ((0, 10, 0, 20), (-0.1611, 0.2775)),
        ((0, 10, 0, 10), (-0.2775, 0.2775)),
        ((10, 10, 0, 20), (0.6791, 1.0000)),
        ((10, 10, 0, 10), (0.6075, 1.0000)),
    ],
)
def test_the_difference_is_newcombes_with_wilsons_intervals(counts, interval):
    """Newcombe 1998, Statistics in Medicine 17, 873, table II, method 10."""
    assert newcombe(*counts) == pytest.approx(interval, abs=5.1e-5)


def test_the_paired_difference_is_newcombes_with_wilsons_intervals():
    """Newcombe 1998, Statistics in Medicine 17, 2635: 36 both, 12 and 2 one alone, none neither."""
    both, first, second, neither = 36, 12, 2, 0
    limits = [Interval(*wilson(k, 50)) for k in (both + first, both + second)]
    correlation = statistics.phi(both, first, second, neither)
    interval = statistics.paired_difference(48 / 50, limits[0], 38 / 50, limits[1], correlation)
    assert interval == pytest.approx((0.0569, 0.3404), abs=5.1e-5)


def test_the_correlation_of_failures_by_hand():
    """(40 · 50 − 5 · 5 − 100 / 2) / (45 · 55); a negative one is not corrected, and of an empty margin it is none."""
    assert statistics.phi(40, 5, 5, 50) == pytest.approx(1925 / 2475)
    assert statistics.phi(5, 40, 50, 5) == pytest.approx(-1975 / np.sqrt(45 * 55 * 55 * 45))
    assert statistics.phi(3, 1, 1, 3) == pytest.approx(4 / 16) and statistics.phi(0, 0, 3, 3) == 0


@given(COUNTS)
def test_the_interval_of_a_rate_is_the_exact_one(counts):
    k, n = counts
    expected = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
    assert statistics.exact(k, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_of_nothing_nothing_is_known():
    assert statistics.exact(0, 0) == (0, 1)


@given(COUNTS, COUNTS)
def test_the_interval_of_a_difference_holds_it_and_turns_with_the_order(one, other):
    rates, limits = [k / n for k, n in (one, other)], [statistics.exact(*counts) for counts in (one, other)]
    low, high = statistics.difference(rates[0], limits[0], rates[1], limits[1])
    back = statistics.difference(rates[1], limits[1], rates[0], limits[0])
    assert -1 - 1e-9 <= low <= rates[0] - rates[1] <= high <= 1 + 1e-9
    assert back == pytest.approx((-high, -low))


@given(COUNTS, COUNTS)
def test_fisher_is_twice_the_smaller_tail(one, other):
    (k, n), (k2, n2) = one, other
    tails = [stats.fisher_exact([[k, n - k], [k2, n2 - k2]], alternative=side).pvalue for side in ("greater", "less")]
    assert statistics.fisher(k, n, k2, n2) == pytest.approx(min(1, 2 * min(tails)), rel=1e-6, abs=1e-12)


@given(COUNTS, COUNTS)
def test_of_whole_counts_the_ratio_of_poisson_counts_is_a_binomial_test(one, other):
    (k, n), (k2, n2) = one, other
    tails = (
        [stats.binomtest(k, k + k2, n / (n + n2), alternative=side).pvalue for side in ("greater", "less")]
        if (k + k2)
        else [1]
    )
    assert statistics.poisson_ratio(k, n, k2, n2) == pytest.approx(min(1, 2 * min(tails)), rel=1e-6, abs=1e-9)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_a_fair_coin(first, second):
    expected = stats.binomtest(first, first + second).pvalue if first + second else 1
    assert statistics.mcnemar(first, second) == pytest.approx(expected)


def test_holm_by_hand():
    """0.01 · 4, 0.03 · 2 and 0.04, of which none is less than the one before; what is no test does not count."""
    p = np.array([0.01, 0.04, np.nan, 0.03, 0.005])
    assert statistics.holm(p)[[0, 1, 3, 4]] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert np.isnan(statistics.holm(p)[2])
    assert statistics.holm(np.array([0.9, 0.8])) == pytest.approx([1, 1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_never_lowers_a_p_and_keeps_their_order(values):
    p = np.array(values)
    adjusted = statistics.holm(p)
    assert (adjusted >= p).all() and (adjusted <= 1).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()


def test_a_mean_is_no_surer_than_students_and_turns_with_the_sign():
    values = np.random.default_rng(3).lognormal(0, 1, 40)
    center, (low, high) = statistics.mean(values)
    student = stats.t.interval(0.95, 39, values.mean(), stats.sem(values))
    assert center == pytest.approx(values.mean())
    assert low <= student[0] and high > student[1] + 0.05  # a long tail above
    assert statistics.mean(-values)[1] == pytest.approx((-high, -low))


def test_a_mean_of_halls_transformation_by_hand():
    """Its upper limit is where the transformed T is the quantile below."""
    values = np.array([0.0, 0.1, 0.1, 0.2, 0.3, 0.3, 0.5, 2.0])
    n, center, spread = 8, values.mean(), values.std(ddof=1)
    skew = np.mean((values - center) ** 3) / values.std() ** 3
    high = statistics.mean(values)[1].high
    t = (center - high) * np.sqrt(n) / spread
    shifted = t + skew * t**2 / (3 * np.sqrt(n)) + skew**2 * t**3 / (27 * n) + skew / (6 * np.sqrt(n))
    assert shifted == pytest.approx(-stats.t.ppf(0.975, 7))


def test_a_mean_of_shares_is_a_rate_and_of_too_few_or_equal_values_nothing_is_known():
    assert statistics.mean(np.array([0.0, 1, 1]))[1] == statistics.exact(2, 3)
    for values in (np.array([]), np.array([0.5, 0.7]), np.full(9, 0.25)):
        assert np.isnan(statistics.mean(values)[1]).all()


def matches(hits):
    """How many of the others each picture matches, from a symmetric table."""
    return np.array(hits).sum(axis=1)


def test_the_jackknife_of_pairs_by_hand():
    """Each picture left out in turn, as the definition says."""
    rng = np.random.default_rng(5)
    n, hits = 30, rng.random((30, 30)) < 0.2
    hits[:3] |= rng.random((3, 30)) < 0.6
    hits = np.triu(hits, 1)
    hits = hits | hits.T
    rates = [np.delete(np.delete(hits, i, 0), i, 1).sum() / ((n - 1) * (n - 2)) for i in range(n)]
    whole = hits.sum() / (n * (n - 1))
    variance = (n - 1) / n * np.sum((np.array(rates) - whole) ** 2)
    rate, failures, trials = statistics.effective_pairs(matches(hits))
    assert rate == pytest.approx(whole) and failures / trials == pytest.approx(rate)
    assert trials == pytest.approx(whole * (1 - whole) / variance)
    center, (low, high), p = statistics.jackknife_pairs(matches(hits))
    assert center == pytest.approx(whole) and p < 0.001
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.975, n - 1) * np.sqrt(variance))


@given(st.integers(2, 12), st.randoms(use_true_random=False))
def test_pairs_tell_no_more_than_there_are_and_no_less_than_those_that_share_no_picture(n, random):
    hits = np.array([[random.random() < 0.3 for _ in range(n)] for _ in range(n)])
    hits = np.triu(hits, 1)
    rate, failures, trials = statistics.effective_pairs(matches(hits | hits.T))
    assert n // 2 <= trials <= n * (n - 1) / 2 and 0 <= failures <= trials
    assert rate == pytest.approx(hits.sum() / (n * (n - 1) / 2))


def test_the_interval_of_pairs_is_wider_where_few_pictures_match_many():
    """The same number of matches: among everybody alike, and of one picture with half of the others."""
    even = np.full(100, 1)
    one = np.array([50, *[1] * 50, *[0] * 49])
    widths = [np.subtract(*statistics.exact(*statistics.effective_pairs(each)[1:])[::-1]) for each in (even, one)]
    assert even.sum() == one.sum() and widths[1] > 2 * widths[0]
