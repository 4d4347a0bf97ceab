"""AUROC and F1 against hand counts; controls at chance; thresholds chosen where they are best."""

import numpy as np
import pytest

from patchlens.cause.hallucination.detection import (
    Scored,
    best_f1_threshold,
    compared_auroc,
    compared_f1,
    shuffles,
)

SIX = Scored(
    np.array([0.1, 0.4, 0.3, 0.9, 0.4, 0.8]),
    np.array([True, True, False, False, False, False]),
    np.array([0, 1, 0, 1, 2, 2]),
)


def test_auroc_by_hand_low_means_made_up():
    # 0.1 lies under all four; 0.4 under 0.9 and 0.8, level with 0.4, above 0.3
    assert SIX.auroc == pytest.approx((4 + 2.5) / 8)
    value, _, _ = compared_auroc(SIX, [SIX], 0)
    assert value.value == pytest.approx((4 + 2.5) / 8)


def test_f1_by_hand():
    # below 0.35: 0.1 (made up) and 0.3 (true); 0.4 is missed
    value, control, difference = compared_f1(SIX, [SIX], 0.35, 0)
    assert value.value == pytest.approx(2 * 1 / (2 * 1 + 1 + 1))
    assert difference.value == pytest.approx(0) and control.value == value.value
    assert best_f1_threshold(SIX) == pytest.approx(0.2)  # one found, none called in vain: 2 / 3
    nothing = Scored(SIX.values, np.zeros(6, bool), SIX.picture)
    assert compared_f1(nothing, [nothing], 0.5, 0)[0].value is None
    assert compared_auroc(nothing, [nothing], 0)[0].value is None
    assert best_f1_threshold(nothing) < 0.1


def test_intervals_resample_pictures_as_brute_force_does():
    rng = np.random.default_rng(1)
    picture = np.repeat(np.arange(40), 5)
    made_up = rng.random(200) < 0.25
    values = rng.normal(size=200) - made_up + np.repeat(rng.normal(size=40), 5)
    own = Scored(values, made_up, picture)
    found, control, difference = compared_auroc(own, shuffles(own, 0), 0)
    drawn = []
    for _ in range(1000):
        rows = np.concatenate([np.flatnonzero(picture == n) for n in rng.integers(40, size=40)])
        drawn.append(Scored(values[rows], made_up[rows], picture[rows]).auroc)
    low, high = np.percentile(drawn, [2.5, 97.5])
    assert found.low == pytest.approx(low, abs=0.02) and found.high == pytest.approx(high, abs=0.02)
    assert control.low < 0.5 < control.high and difference.low > 0.05
