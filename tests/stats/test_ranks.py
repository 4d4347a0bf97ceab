"""Rank correlations against values worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from patchlens.cause.fidelity.rows import figures_of
from patchlens.stats.ranks import partial, rank_correlation, spearman


def test_spearman_by_hand():
    assert spearman(np.array([1.0, 2.0, 3.0, 4.0]), np.array([10.0, 20.0, 400.0, 500.0])) == pytest.approx(1)
    assert spearman(np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0])) == pytest.approx(-1)
    # ranks 1 2 3 4 5 against 2 1 4 3 5: 1 - 6 * 4 / (5 * 24)
    assert spearman(np.arange(5.0), np.array([2.0, 1.0, 4.0, 3.0, 9.0])) == pytest.approx(0.8)
    # a tie shares its ranks: 1, 2.5, 2.5 against 1, 2, 3
    assert spearman(np.array([0.0, 1.0, 1.0]), np.arange(3.0)) == pytest.approx(np.sqrt(3) / 2)
    assert np.isnan(spearman(np.ones(4), np.arange(4.0)))


def test_spearman_works_row_by_row():
    found = spearman(np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]), np.array([1.0, 2.0, 3.0]))
    assert found.tolist() == pytest.approx([1, -1])


def test_what_a_third_thing_explains_is_taken_out():
    def left(one, other, given):
        return partial(spearman(one, other), spearman(one, given), spearman(other, given))

    rng = np.random.default_rng(0)
    size = rng.normal(size=2000)
    only_size = [size + 0.5 * rng.normal(size=2000) for _ in range(2)]
    assert spearman(*only_size) > 0.7 and abs(left(*only_size, size)) < 0.1
    more = rng.normal(size=2000)
    assert left(size + more, size + more, size) == pytest.approx(1)
    assert np.isnan(left(size, only_size[0], size))


def test_intervals_stand_around_the_value_and_narrow_with_more_pictures():
    rng = np.random.default_rng(2)
    size = np.exp(rng.normal(0, 1, 40))

    def width(pictures):
        found = figures_of([{"x": drawn()} for _ in range(pictures)], "x", 0)["lens"][1].estimate()
        assert found.low < found.value < found.high
        return found.high - found.low

    def drawn():
        true, foretold = (size * np.exp(rng.normal(0, 1, 40)) for _ in range(2))
        return {"true": [true], "foretold": [foretold], "size": [size], "shift": [size]}

    assert width(120) < 0.8 * width(15)


def test_figures_of_all_pictures_are_the_plain_ones():
    rng = np.random.default_rng(3)
    records = [
        {"x": {name: rng.random((2, 9)).tolist() for name in ("true", "foretold", "size", "shift")}}
        for _ in range(6)
    ]
    means = {name: np.mean([record["x"][name] for record in records], axis=0) for name in records[0]["x"]}
    found = figures_of(records, "x", 0)
    of = {
        "lens": spearman(means["foretold"], means["true"]),
        "size": spearman(means["size"], means["true"]),
        "shift": spearman(means["shift"], means["true"]),
    }
    of["beyond"] = partial(of["lens"], spearman(means["foretold"], means["size"]), of["size"])
    for name, expected in of.items():
        mean, *by_layer = found[name]
        assert [one.value for one in by_layer] == pytest.approx(expected)
        assert mean.value == pytest.approx(expected.mean())
        assert mean.n == 6 and len(mean.parts) == len(by_layer[0].parts)


def test_spearman_agrees_with_pandas_and_says_nothing_where_there_is_nothing():
    rng = np.random.default_rng(0)
    for _ in range(20):
        one, other = rng.integers(0, 5, 12).tolist(), rng.normal(size=12).tolist()
        theirs = pd.DataFrame({"one": one, "other": other}).corr(method="spearman").loc["one", "other"]
        assert rank_correlation(one, other) == pytest.approx(theirs, abs=1e-12)
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None
    assert rank_correlation([1, 2], [1, 2]) is None
    assert rank_correlation([1, 2, np.nan], [1, 2, 3]) is None
