"""A sample says of the build what it can: weighted shares, and intervals that hold the build's own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from builder.judging import estimates
from builder.judging.estimates import UNSEEN, Estimate, Stratum, needed
from builder.judging.pictures import Entry
from builder.judging.population import Population
from tests.experiments import coverage
from tests.experiments.coverage import VERIFIERS, Scenario

STRONG, _, WEAK, UNEVEN = VERIFIERS
STRATA = st.lists(
    st.tuples(st.integers(0, 500), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=4
)


def test_every_picture_counts_for_as_many_as_it_stands_for():
    """The example of the module's text: 37 of 42 judged pictures passed, 0.68 of those in the build do."""
    strata = (Stratum(600, 36, 4, 10), Stratum(29_400, 1, 1, 98))
    assert Estimate(strata).value == pytest.approx((432 + 294) / (480 + 588))
    assert (Estimate(strata).hits, Estimate(strata).total) == (37, 42)


@given(STRATA)
def test_an_interval_holds_its_estimate(numbers):
    """And lies between 0 and 1; where nothing can be estimated it says so, and excludes nothing."""
    found = Estimate(tuple(Stratum(more + sum(counts), *counts) for more, *counts in numbers))
    low, high = found.interval
    assert 0 <= low <= high <= 1
    if found.value is None:
        assert (low, high, str(found)) == (0, 1, "-")
    else:
        assert low <= found.value <= high


def test_a_stratum_that_nobody_judged_leaves_nothing_to_say():
    """Unless it is empty: there is nothing to know of no picture."""
    judged = Stratum(600, 36, 4, 10)
    assert Estimate((judged, Stratum(29_400, 0, 0))).value is None
    assert Estimate((judged, Stratum(0, 0, 0))).value == 0.9


def test_a_build_that_was_judged_whole_has_no_error():
    found = Estimate((Stratum(50, 36, 4, 10), Stratum(20, 1, 4, 15)))
    assert found.interval == (found.value, found.value) and found.value == 37 / 45


def test_the_same_sample_gives_the_same_interval():
    """Bit for bit, in whatever order figures are asked for."""
    strata = (Stratum(600, 30, 10, 10), Stratum(29_400, 2, 3, 95))
    first = Estimate(strata).interval
    estimates._ends.cache_clear()
    assert Estimate((Stratum(600, 1, 2, 3),)).interval and Estimate(strata).interval == first


@pytest.mark.parametrize("size", [50, 75, 100])
def test_of_one_stratum_the_interval_covers_what_it_promises(size):
    """By the binomial distribution, for every share from 0.5% to 50%: never under 94%, 96% on average."""
    hits = np.arange(size + 1)
    low = np.where(hits > 0, beta.ppf(0.025, np.maximum(hits, 1e-9), size - hits + UNSEEN), 0)
    high = np.where(hits < size, beta.ppf(0.975, hits + UNSEEN, np.maximum(size - hits, 1e-9)), 1)
    covers = [binom.pmf(hits, size, p)[(low <= p) & (p <= high)].sum() for p in np.linspace(0.005, 0.5, 500)]
    assert min(covers) > 0.94 and 0.955 < np.mean(covers) < 0.97
    for count in (0, 3, size // 2):
        ends = Estimate((Stratum(10**9, count, size - count),)).interval
        assert ends == pytest.approx((low[count], high[count]), abs=0.004)


@pytest.mark.parametrize(("size", "share"), [(29_400, 0.05), (29_400, 0.01), (100, 0.05), (10, 0.05), (400, 0.2)])
def test_as_many_are_needed_as_bound_the_share_with_no_hit(size, share):
    number = needed(size, share)
    bounds = [Estimate((Stratum(size, 0, n),)).interval[1] for n in (number, max(1, number - 2))]
    assert bounds[0] <= share * 1.03 + 1 / size and (number == size or bounds[1] > share * 0.97)


def test_a_population_counts_what_was_asked_for_and_the_rest():
    entries = [
        Entry(
            f"{n}", "tea" if n % 4 else "hat", "male" if n % 2 else "female", "asian", n % 3 == 0, "", None, ("", 0, 0)
        )
        for n in range(24)
    ]
    found = Population()
    assert list(found.counted(iter(entries))) == entries
    assert (found.total, found.size("tea", True), found.size("tea", False)) == (24, 18, 6)
    assert found.size("tea", True, sex="male") == 12 and found.size("tea", False, sex="male") == 0
    assert found.size("hat", True, verified=True) == 2


# Planted builds, sampled and judged as the commands do; tests/experiments/coverage.py has the whole table.


@pytest.mark.parametrize("scenario", [Scenario(WEAK, 0.25), Scenario(UNEVEN, 0.1), Scenario(STRONG, 0.0)], ids=str)
def test_intervals_hold_the_truth_of_planted_builds(scenario):
    """Of 60 samples at least 52 do: fewer come from 95% once in 200 times."""
    runs = 60
    for count in coverage.run(scenario, runs, seed=1, pictures=6_000):
        assert count.holds >= 52 / runs
        assert abs(count.mean("value") - count.truth) < 0.05


def test_the_plain_count_is_far_from_the_truth_where_the_estimate_is_not():
    """A verifier that sees the feature mostly where it was asked for: the count takes the sample for the build."""
    recall, passed = coverage.run(Scenario(UNEVEN, 0.25), 30, seed=1, pictures=6_000)
    for count in (recall, passed):
        assert count.mean("plain holds") < 0.6 < count.holds
        assert abs(count.mean("plain") - count.truth) > 2 * abs(count.mean("value") - count.truth)


def test_of_sexes_over_several_features_intervals_hold_too():
    found = coverage.run_groups(Scenario(WEAK, 0.1), 40, seed=1, features=("blond", "brown", "red"))
    for count in found.values():
        assert count.holds >= 33 / 40 and abs(count.mean("value") - count.truth) < 0.05
