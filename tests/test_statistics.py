"""Statistics against SciPy, and against what is known in closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from sim.comparison.statistics import median_interval, paired_difference, separate, wilson_interval, worst_mean

ONE = np.zeros(1000)


@given(st.integers(0, 400), st.integers(1, 400))
def test_wilson_intervals_are_those_of_scipy(successes: int, n: int) -> None:
    successes = min(successes, n)
    expected = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert_allclose(wilson_interval(successes, n), (expected.low, expected.high), atol=1e-12)


def test_of_no_flight_nothing_is_known() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("n", [21, 101, 1001])
def test_intervals_of_the_median_are_those_of_the_bootstrap_in_closed_form(n: int) -> None:
    """The median of n draws is at most the k-th smallest value where at least (n + 1) / 2 of the draws are."""
    values = np.random.default_rng(n).gamma(2.0, 0.01, n)
    k = np.arange(1, n + 1)
    below = stats.binom.sf((n - 1) / 2, n, k / n)
    exact = np.sort(values)[[np.argmax(below >= 0.025), np.argmax(below >= 0.975)]]
    assert_allclose(median_interval(values, np.zeros(n)), exact, atol=0.25 * (exact[1] - exact[0]))


def test_intervals_of_the_median_are_those_of_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(2).gamma(2.0, 0.01, 101)
    expected = stats.bootstrap((values,), np.median, method="percentile", n_resamples=4000, rng=1).confidence_interval
    assert_allclose(median_interval(values, ONE[:101]), (expected.low, expected.high), atol=0.12 * np.std(values))


def test_the_interval_covers_the_median_in_about_95_of_100_samples() -> None:
    """Of a normal sample of 50: the percentile interval is known to be close to its level there."""
    rng = np.random.default_rng(0)
    covered = 0
    for k in range(100):
        low, high = median_interval(rng.standard_normal(50), ONE[:50], seed=k)
        covered += low <= 0 <= high
    assert 89 <= covered <= 99


@pytest.mark.slow
@pytest.mark.parametrize("airframes", [2, 3, 5, 9, 12])
@pytest.mark.parametrize("spread", [0.2, 1.0, 5.0])
def test_the_interval_covers_the_median_of_all_airframes_and_not_only_of_those_flown(
    airframes: int, spread: float
) -> None:
    """Airframes that differ by ``spread`` times what flights on one of them do."""
    rng, covered, groups = np.random.default_rng(airframes), 0, np.repeat(np.arange(airframes), 9)
    for k in range(200):
        values = np.repeat(rng.normal(0.0, spread, airframes), 9) + rng.standard_normal(len(groups))
        low, high = median_interval(values, groups, seed=k)
        covered += low <= 0 <= high
    assert covered >= 178  # of 200; the bootstrap alone has 140 on three airframes
    assert covered < 200 or airframes == 2


def test_airframes_that_differ_widen_the_interval_and_flights_on_them_do_not_narrow_it() -> None:
    level = np.repeat([0.01, 0.02, 0.03, 0.04, 0.05], 40)
    low, high = median_interval(level, np.arange(200) // 40)
    expected = stats.t.interval(0.95, 4, loc=0.03, scale=stats.sem([0.01, 0.02, 0.03, 0.04, 0.05]))
    assert low <= expected[0] and high >= expected[1]
    assert_allclose((low, high), expected, atol=2e-3)
    pooled = median_interval(level, np.zeros(200))
    assert low < pooled[0] and pooled[1] < high


def test_an_airframe_with_fewer_flights_weighs_as_much_as_another() -> None:
    """99 flights near 1 and 3 near 2: both airframes count alike."""
    values = np.concatenate([np.full(99, 1.0), np.full(3, 2.0)])
    low, high = median_interval(values, np.repeat([0, 1], [99, 3]))
    coincide = np.tile([0.0, 0.0, 1.0, 2.0, 2.0], 3)
    assert median_interval(coincide, np.repeat([0, 1, 2], 5))[0] < 1.0  # though the three medians are the same
    assert low == 0.0 and high == pytest.approx(1.5 + 0.5 * 12.7062, rel=1e-4)  # and no magnitude is below 0


@pytest.mark.parametrize("airframes", [2, 9, 12])
def test_the_median_of_all_flights_lies_in_its_interval_where_one_airframe_has_most_of_them(airframes: int) -> None:
    rng = np.random.default_rng(airframes)
    sizes = [500, *[3] * (airframes - 1)]
    groups = np.repeat(np.arange(airframes), sizes)
    values = rng.normal(size=len(groups)) + 5.0 * (groups > 0)
    low, high = median_interval(values, groups)
    assert low <= np.median(values) <= high and high > 4.0


def test_the_worst_hundredth_is_the_conditional_value_at_risk() -> None:
    values = np.random.default_rng(5).exponential(1.0, 1_000_000)
    assert worst_mean(values) == pytest.approx(stats.expon.ppf(0.99) + 1, rel=0.02)  # memoryless
    assert worst_mean(values[:20]) == values[:20].max()
    assert worst_mean(np.arange(200.0)) == 198.5


def test_pairs_remove_what_both_share() -> None:
    rng = np.random.default_rng(1)
    shared = rng.normal(0.0, 1.0, 300)
    a, b = shared + 0.01, shared + rng.normal(0.0, 0.002, 300)
    found = paired_difference(a, b, np.arange(300) % 5)
    assert found is not None
    assert found.ci95[0] > 0.009 and found.ci95[1] < 0.011 and found.smaller == 0.0
    assert found.median == pytest.approx(np.median(a - b))


def test_pairs_without_both_values_are_left_out_and_counted() -> None:
    a, b = np.array([1.0, np.nan, 3.0, 4.0]), np.array([1.0, 1.0, np.nan, 5.0])
    found = paired_difference(a, b, np.zeros(4))
    assert found is not None and found.n == 2 and found.smaller == 0.75
    assert paired_difference(a, np.full(4, np.nan), np.zeros(4)) is None


@pytest.mark.parametrize("a, b, apart", [((0, 1), (2, 3), True), ((2, 3), (0, 1), True), ((0, 2), (1, 3), False)])
def test_intervals_are_separate_where_they_do_not_overlap(a: tuple, b: tuple, apart: bool) -> None:
    assert separate(a, b) is apart
    assert not separate((0, 1), (1, 2))
