"""Intervals hold the truth as often as they say, and nothing is seldom said to stand out (small simulations).

`benchmarks/intervals.py` has the whole tables.
"""

import numpy as np
import pytest

from patchlens.cause.finding import compared
from patchlens.stats.intervals import FREE, POSITIVE, SHARE, differing, jackknife, mean

RUNS = 1500


def held(make, truth, seed):
    rng = np.random.default_rng(seed)
    found = [make(rng) for _ in range(RUNS)]
    return np.mean([one.low <= truth <= one.high for one in found])


@pytest.mark.parametrize("n", [4, 16])
@pytest.mark.parametrize(
    ("draw", "within", "truth"),
    [
        (lambda r, n: r.exponential(1, n), POSITIVE, 1.0),
        (lambda r, n: r.lognormal(0, 0.5, n), POSITIVE, np.exp(0.125)),
        (lambda r, n: r.normal(0, 1, n), FREE, 0.0),
        (lambda r, n: r.exponential(1, n) - r.exponential(0.5, n), FREE, 0.5),
        (lambda r, n: r.beta(0.5, 2, n), SHARE, 0.2),
        (lambda r, n: r.beta(0.5, 2, n) - r.beta(0.5, 4, n), SHARE.of_differences, 0.2 - 1 / 9),
    ],
    ids=["nats", "alike nats", "normal", "either sign", "shares", "differences of shares"],
)
def test_an_interval_of_few_skewed_values_holds_the_mean(draw, within, truth, n):
    assert 0.92 <= held(lambda rng: mean(draw(rng, n), within), truth, n) <= 0.985


@pytest.mark.parametrize("n", [4, 16])
def test_an_interval_over_unlike_pictures_holds_the_ratio(n):
    def make(rng):
        count = rng.geometric(0.1, n) + 1.0
        sums = (count * rng.exponential(1, n))[:, None]
        return jackknife(count, [sums], lambda means: means[0][:, 0]).estimate(POSITIVE)

    assert 0.91 <= held(make, 1.0, n) <= 0.985


@pytest.mark.parametrize("n", [4, 40])
def test_an_interval_of_rare_differences_holds_none(n):
    def make(rng):
        at = rng.random(n)
        return differing((at < 0.02).astype(float) - (at > 0.98), SHARE.of_differences)

    assert held(make, 0.0, n) >= 0.93


@pytest.mark.parametrize(("n", "share"), [(20, 0.05), (100, 0.01), (100, 0.1)])
def test_cases_that_differ_by_chance_seldom_stand_out(n, share):
    rng = np.random.default_rng(n)
    sides = np.zeros(2)
    for _ in range(RUNS):
        at = rng.random(n)
        row = compared(
            "", "share", (at < share).astype(float).tolist(), (at > 1 - share).astype(float).tolist()
        )
        sides += (row.stands_out and row.is_higher, row.stands_out and not row.is_higher)
    assert (sides / RUNS <= 0.03).all()
