"""AUROC and F1 against hand counts; controls at chance; thresholds chosen where they are best."""

import numpy as np
import pytest

from patchlens.cause.hallucination.detection import (
    Scored,
    best_f1_threshold,
    jackknifed_auroc,
    jackknifed_f1,
    shuffles,
)
from patchlens.stats.intervals import SHARE

SIX = Scored(
    np.array([0.1, 0.4, 0.3, 0.9, 0.4, 0.8]),
    np.array([True, True, False, False, False, False]),
    np.array([0, 1, 0, 1, 2, 2]),
)


def test_auroc_by_hand_low_means_made_up():
    # 0.1 lies under all four; 0.4 under 0.9 and 0.8, level with 0.4, above 0.3
    assert SIX.auroc == pytest.approx((4 + 2.5) / 8)
    assert jackknifed_auroc(SIX, [SIX])[0].value == pytest.approx((4 + 2.5) / 8)


def test_f1_by_hand():
    # below 0.35: 0.1 (made up) and 0.3 (true); 0.4 is missed
    value, control = jackknifed_f1(SIX, [SIX], 0.35)
    assert value.value == pytest.approx(2 * 1 / (2 * 1 + 1 + 1))
    assert control.value == value.value
    assert best_f1_threshold(SIX) == pytest.approx(0.2)  # one found, none called in vain: 2 / 3
    nothing = Scored(SIX.values, np.zeros(6, bool), SIX.picture)
    assert np.isnan(jackknifed_f1(nothing, [nothing], 0.5)[0].value)
    assert jackknifed_auroc(nothing, [nothing])[0].estimate(SHARE).value is None
    assert best_f1_threshold(nothing) < 0.1


def test_errors_are_those_of_resampled_pictures():
    rng = np.random.default_rng(1)
    picture = np.repeat(np.arange(40), 5)
    made_up = rng.random(200) < 0.25
    values = rng.normal(size=200) - made_up + np.repeat(rng.normal(size=40), 5)
    own = Scored(values, made_up, picture)
    found, control = jackknifed_auroc(own, shuffles(own, 0))
    drawn = []
    for _ in range(1000):
        rows = np.concatenate([np.flatnonzero(picture == n) for n in rng.integers(40, size=40)])
        drawn.append(Scored(values[rows], made_up[rows], picture[rows]).auroc)
    assert found.error == pytest.approx(np.std(drawn), rel=0.1)
    assert found.n == 40
    assert control.estimate(SHARE).low < 0.5 < control.estimate(SHARE).high
    assert (found - control).p < 0.001


def test_an_auroc_of_1_has_a_width_and_none_above_1():
    truth = np.array([True, False] * 6)
    perfect = Scored(np.where(truth, 0.0, 1.0), truth, np.repeat(np.arange(6), 2))
    found = jackknifed_auroc(perfect, [perfect])[0].estimate(SHARE)
    assert (found.value, found.high) == (1, 1) and 0.4 < found.low < 0.8
    almost = Scored(np.where(np.arange(12) == 3, -1.0, perfect.values), truth, perfect.picture)
    near = jackknifed_auroc(almost, [almost])[0].estimate(SHARE)
    assert near.low < near.value < near.high <= 1
