"""Intervals by hand, within what is possible, as wide as few cases deserve, and not where there is none."""

import math

import numpy as np
import pytest
import scipy.stats

from patchlens.stats.intervals import (
    FREE,
    POSITIVE,
    SHARE,
    Estimate,
    Jackknife,
    Range,
    bound_of,
    differing,
    halves,
    jackknife,
    mean,
    quantile,
    share,
    skewness,
    spread,
)


@pytest.mark.parametrize(
    ("freedom", "expected"), [(1, 12.706), (30, 2.042), (31, 2.0395), (60, 2.0003), (1e9, 1.95996)]
)
def test_students_t(freedom, expected):
    assert quantile(freedom) == pytest.approx(expected, abs=1e-3)


def test_a_single_share_gets_wilsons_interval():
    found = share(81, 263)
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    z2 = 1.959964**2
    assert mean([1.0] * 30, SHARE).low == pytest.approx(30 / (30 + z2))
    assert mean([0.0] * 30, SHARE).high == pytest.approx(z2 / (30 + z2))
    assert (mean([1.0] * 30, SHARE).high, mean([0.0] * 30, SHARE).low) == (1, 0)
    some = mean([1.0, None, 0.0, 1.0, 1.0], SHARE)
    assert (some.value, some.n) == (0.75, 4)
    assert (some.low, some.high) == pytest.approx((0.3006, 0.9544), abs=1e-4)


def test_nats_that_happen_to_be_0_and_1_get_no_interval_of_a_share():
    nats, shares = mean([0.0, 0.0, 1.0, 0.0, 0.0]), mean([0.0, 0.0, 1.0, 0.0, 0.0], SHARE)
    assert nats.low < 0 < shares.low
    assert mean([0.0, 0.0, 0.0]).low is None and mean([1.0, 1.0, 1.0]).high is None


def test_unskewed_values_without_limits_get_students_interval():
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    found = mean(values)
    expected = scipy.stats.t.interval(0.95, 4, 3, math.sqrt(2.5 / 5))
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.n == 5


def test_skewed_values_reach_further_on_their_long_side():
    values = np.array([0.0, 0.1, 0.2, 0.1, 3.0])
    found, turned = mean(values), mean(-values)
    half = quantile(4) * values.std(ddof=1) / math.sqrt(5)
    assert found.high > found.value + 1.05 * half
    assert found.low == pytest.approx(found.value - half)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))
    assert skewness(values) == pytest.approx(scipy.stats.skew(values, bias=False))


def test_nothing_is_beyond_what_is_possible():
    values = np.array([0.01, 0.0, 0.002, 0.9])
    assert mean(values).low < 0
    for within in (SHARE, POSITIVE, Range(-1.0, 1.0)):
        found = mean(values, within)
        assert within.low <= found.low < found.value < found.high
        assert within.high is None or found.high <= within.high
    near = Range(high=1.0)
    mirrored = mean(1 - values, near)
    positive = mean(values, POSITIVE)
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - positive.high, 1 - positive.low))


def test_cases_that_are_all_alike_have_a_width_only_where_there_are_limits():
    z2 = 1.959964**2
    found = mean(np.full(20, 0.25), SHARE)
    part = z2 / (20 + z2)
    assert (found.low, found.high) == pytest.approx((0.25 * (1 - part), 0.25 + 0.75 * part))
    assert mean(np.full(20, 0.25), POSITIVE).low is None
    assert mean(np.zeros(20), SHARE).high == pytest.approx(part)


@pytest.mark.parametrize("within", [FREE, SHARE, POSITIVE])
def test_one_case_has_no_interval_and_none_no_value(within):
    one = mean(np.array([0.442]), within)
    assert (one.value, one.low, one.high, one.n) == (0.442, None, None, 1)
    assert str(one) == "0.442"
    nothing = mean(np.empty(0), within)
    assert nothing == Estimate(None) and str(nothing) == "undefined"
    assert mean([None]) == Estimate(None)
    assert spread(0.5, math.nan, 9, within).low is None


def test_differences_of_which_few_differ_keep_a_width():
    within = SHARE.of_differences
    for values in (np.zeros(100), np.eye(1, 100)[0]):
        found = differing(values, within)
        assert -0.05 < found.low < 0 < found.high < 0.07
    ends = differing(np.ones(9), within)
    assert ends.high == 1 and 0 < ends.low < 0.8
    assert differing(np.ones(1), within).low is None


def test_a_figure_that_was_cut_off_says_so():
    cut = Estimate(math.log(100), bound="at least")
    assert cut.text(".2f") == "at least 4.61"
    assert Estimate(0.5, 0.25, 0.75, 9).text(".0%") == "50% (25% to 75%)"
    assert bound_of(["at least", None]) == "at least" == bound_of([None], ["at most", None])
    assert bound_of(["at least"], ["at least"]) is None is bound_of([None])


def test_the_jackknife_of_a_mean_is_that_of_its_cases():
    rng = np.random.default_rng(0)
    values = rng.exponential(size=(9, 1))
    found = jackknife(np.ones(9), [values], lambda means: means[0][:, 0])
    assert found.error == pytest.approx(values.std(ddof=1) / 3)
    for within in (FREE, POSITIVE):
        one, other = found.estimate(within), mean(values[:, 0], within)
        assert (one.value, one.low, one.high, one.n) == pytest.approx(
            (other.value, other.low, other.high, other.n)
        )


def test_intervals_are_over_pictures_not_positions():
    """Ten pictures of a thousand equal positions each tell as much as ten positions."""
    values = np.random.default_rng(0).normal(2.0, 1.0, 40)

    def width(positions, repeats):
        count = np.full(40 * repeats, float(positions))
        sums = np.repeat(values, repeats)[:, None] * positions
        found = jackknife(count, [sums], lambda means: means[0][:, 0]).estimate()
        return found.high - found.low

    assert width(1000, 1) == pytest.approx(width(1, 1))
    assert width(1, 16) < 0.4 * width(1, 1)


def test_pictures_count_by_their_positions():
    rng = np.random.default_rng(1)
    count = rng.choice([1.0, 2.0, 3.0, 4.0], 40)
    sums = rng.normal(count, 0.1) * count
    draws = rng.integers(0, 40, (4000, 40))
    naive = (sums[draws].sum(1) / count[draws].sum(1)).std()
    found = jackknife(count, [sums[:, None]], lambda means: means[0][:, 0])
    assert found.value == pytest.approx(sums.sum() / count.sum())
    assert found.error == pytest.approx(naive, rel=0.1)


def test_what_is_not_defined_is_no_number():
    count, ones = np.array([2.0, 0.0, 3.0]), np.ones((3, 1))
    nothing = jackknife(count, [ones], lambda means: means[0][:, 0] * np.nan)
    assert nothing.estimate() == Estimate(None) and nothing.p is None
    without = jackknife(
        count, [ones], lambda means: np.where(len(means[0]) > 1, np.nan, 1.0) * means[0][:, 0]
    )
    assert without.estimate().low is None and without.p is None
    nobody = jackknife(np.zeros(3), [ones], lambda means: means[0][:, 0])
    assert nobody.estimate() == Estimate(None)


def test_p_of_a_jackknife_is_students_and_no_less_than_signs_could_give():
    values = np.array([0.5, 1.5, 0.2, 1.1, 0.9, 2.0])
    found = jackknife(np.ones(6), [values[:, None]], lambda means: means[0][:, 0])
    assert found.p == pytest.approx(max(scipy.stats.ttest_1samp(values, 0).pvalue, 2 / 64))
    assert (found - found).p == 1
    assert Jackknife(1.0, np.ones(3), 3, 2).p == 0.25


def test_halves_are_all_cases_and_halves_of_them():
    weights = halves(7, 0)
    np.testing.assert_allclose(weights.sum(1), 1)
    assert {int((row > 0).sum()) for row in weights[1:]} == {3}
    assert (halves(7, 0) == weights).all() and (halves(7, 1) != weights).any()
    assert len(halves(1, 0)) == 1
    values = np.random.default_rng(2).normal(size=40)
    means = halves(40, 0) @ values
    error = Jackknife(means[0], means[1:], 40, 20).error
    assert error == pytest.approx(values.std(ddof=1) / math.sqrt(40), rel=0.1)
