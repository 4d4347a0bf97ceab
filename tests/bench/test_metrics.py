"""Metrics against brute force and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from patchlens.bench.board import clears, over_seeds
from patchlens.bench.metrics import best_threshold, hits, iou, marginal_bias, pointing
from patchlens.stats.intervals import FREE, SHARE, Estimate
from patchlens.stats.ranks import auroc


def brute_auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    pairs = [(p, n) for p in scores[positive] for n in scores[~positive]]
    return float(np.mean([1.0 if p > n else 0.5 if p == n else 0.0 for p, n in pairs]))


@pytest.mark.parametrize("seed", range(20))
def test_auroc_counts_every_pair_with_ties_as_half(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, (3, 17)).astype(np.float32)  # many ties
    scores[0, rng.integers(17)] = -np.inf
    positive = rng.random(17) < 0.4
    positive[:2] = True, False
    expected = [brute_auroc(row, positive) for row in scores]
    np.testing.assert_allclose(auroc(scores, positive), expected, atol=1e-12)


def test_auroc_of_perfect_inverted_constant_and_impossible_maps() -> None:
    positive = np.array([True, True, False, False, False])
    truth = positive.astype(float)
    np.testing.assert_array_equal(auroc(np.stack([truth, -truth, truth * 0]), positive), [1, 0, 0.5])
    assert np.isnan(auroc(truth, np.ones(5, bool)))
    assert np.isnan(auroc(truth, np.zeros(5, bool)))


def test_auroc_of_random_maps_is_at_chance() -> None:
    rng = np.random.default_rng(0)
    values = auroc(rng.normal(size=(4000, 50)), np.arange(50) < 10)
    assert abs(values.mean() - 0.5) < 0.01


def test_pointing_shares_a_tie() -> None:
    positive = np.array([True, False, True, False])
    scores = np.array([[3, 1, 1, 1], [1, 3, 1, 1], [2, 2, 0, 2], [0, 0, 0, 0]], float)
    np.testing.assert_allclose(pointing(scores, positive), [1, 0, 1 / 3, 1 / 2])
    assert np.isnan(pointing(scores[0], np.zeros(4, bool)))


def test_iou_by_hand() -> None:
    positive = np.array([True, True, False, False])
    scores = np.array([[4, 3, 2, 1], [4, 1, 3, 2]], float)
    np.testing.assert_allclose(iou(scores, positive, np.array([3.0, 3.0])), [1, 1 / 3])
    np.testing.assert_allclose(iou(scores, positive, np.array([0.0, 9.0])), [0.5, 0])


def test_the_best_threshold_has_the_best_mean_iou_by_weight() -> None:
    rng = np.random.default_rng(1)
    positives = [rng.random(n) < 0.3 for n in (30, 20, 30)]  # pictures differ in patches
    maps = [rng.normal(size=len(there)) + 1.5 * there for there in positives]
    weights = [0.5, 0.5, 1.0]

    def mean_iou(threshold: float) -> float:
        values = [iou(m, p, np.asarray(threshold)) for m, p in zip(maps, positives, strict=True)]
        return float(np.average(values, weights=weights))

    best = best_threshold(maps, positives, weights, n=2000)
    assert best in np.concatenate(maps)
    assert mean_iou(best) == pytest.approx(max(mean_iou(t) for t in np.concatenate(maps)))
    assert best_threshold([], [], []) == math.inf


def test_the_best_threshold_follows_the_weights() -> None:
    low, high = np.array([1.0, 0.0]), np.array([3.0, 2.0])
    positives = [np.array([True, False])] * 2
    assert best_threshold([low, high], positives, [1.0, 0.1]) == 1
    assert best_threshold([low, high], positives, [0.1, 1.0]) == 3


def test_hits_looks_at_the_first_k() -> None:
    top = np.array([[[5, 7, 9]], [[7, 5, 9]]])
    np.testing.assert_array_equal(hits(top, {7}, 1), [[False], [True]])
    np.testing.assert_array_equal(hits(top, {7, 1}, 2), [[True], [True]])
    assert not hits(top, set(), 3).any()


def test_marginal_bias_is_the_kl_of_means_in_bits() -> None:
    final = np.mean([[0.5, 0.5, 1e-300], [1.0, 1e-300, 1e-300]], 0)
    lens = np.mean([[0.25, 0.5, 0.25], [0.25, 1e-300, 0.75]], 0)
    expected = 0.75 * math.log2(0.75 / 0.25) + 0.25 * math.log2(0.25 / 0.25)
    np.testing.assert_allclose(marginal_bias(np.log(final), np.log([lens, final])), [expected, 0], atol=1e-12)


def test_an_interval_by_hand() -> None:
    found = over_seeds([1.0, 2.0, 3.0, 4.0, 5.0], FREE, 100)
    assert found is not None
    half = 2.776 * math.sqrt(2.5 / 5)
    assert (found.mean, found.low, found.high) == pytest.approx((3, 3 - half, 3 + half), abs=1e-3)
    assert over_seeds([1.0], FREE, 100) is None
    with_gap = over_seeds([1.0, math.nan, 3.0], FREE, 100)
    assert with_gap is not None
    assert (with_gap.mean, with_gap.n) == (2, 2)
    assert with_gap.high == pytest.approx(2 + 12.706, abs=1e-3)
    assert math.isnan(with_gap.seeds[1])


def test_a_share_of_none_or_all_has_a_width_and_none_reaches_beyond() -> None:
    none, every = (over_seeds([share] * 5, SHARE, 100) for share in (0.0, 1.0))
    assert none is not None and every is not None
    assert (none.low, none.high) == pytest.approx((0, 0.037), abs=1e-3)
    assert (every.low, every.high) == pytest.approx((0.963, 1), abs=1e-3)
    near = over_seeds([0.99, 1.0, 0.96, 1.0, 0.97], SHARE, 100)
    assert near is not None and near.low is not None and near.high is not None
    assert near.low < near.mean < near.high < 1


def test_clearing_a_null_wants_the_whole_interval_on_the_better_side() -> None:
    low, high, across = (Estimate(m, m - 0.1, m + 0.1) for m in (0.5, 0.8, 0.65))
    assert clears(high, low, higher_is_better=True)
    assert not clears(across, low, higher_is_better=True)
    assert not clears(high, low, higher_is_better=False)
    assert clears(low, high, higher_is_better=False)
    assert not clears(low, low, higher_is_better=True)
