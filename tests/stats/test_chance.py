"""Tests of cases against their controls: exact, and as seldom wrong as they say."""

from itertools import product

import numpy as np
import pytest
import scipy.stats

from patchlens.stats.chance import against_chances, exchanged


def pairs(differences):
    return [np.array([value, 0.0]) for value in differences]


def test_of_pairs_it_is_the_sign_flip_test():
    differences = np.array([3.0, 0.5, -1.0, 2.0, 0.25, 1.0, 0.0, 2.5])
    sums = [np.dot(signs, differences) for signs in product((-1, 1), repeat=8)]
    tail = np.mean(np.array(sums) >= differences.sum() - 1e-9)
    assert exchanged(pairs(differences)) == pytest.approx(2 * tail)
    theirs = scipy.stats.permutation_test(
        (differences, np.zeros(8)),
        lambda x, y: np.mean(x - y),
        permutation_type="samples",
        n_resamples=np.inf,
    )
    assert exchanged(pairs(differences)) == pytest.approx(theirs.pvalue)


def test_many_cases_are_drawn_and_agree_with_all_exchanges(monkeypatch):
    differences = np.random.default_rng(0).normal(0.4, 1, 14)
    exact = exchanged(pairs(differences))
    monkeypatch.setattr("patchlens.stats.chance._EXACT", 1)
    drawn = exchanged(pairs(differences))
    assert drawn == pytest.approx(exact, abs=0.01) and drawn != exact
    assert drawn == exchanged(pairs(differences)) != exchanged(pairs(differences), seed=1)


def test_several_draws_of_a_control_count_as_what_could_have_been_the_figure():
    cases = [np.array([5.0, 1.0, 2.0]), np.array([4.0, 0.0, 6.0])]
    shifts = [[case[i] - np.delete(case, i).mean() for i in range(3)] for case in cases]
    sums = np.array([sum(each) for each in product(*shifts)])
    found = sums[0]
    assert exchanged(cases) == pytest.approx(min(1, 2 * np.mean(sums >= found - 1e-9)))


def test_one_case_says_nothing_and_no_difference_is_no_evidence():
    assert exchanged([np.array([9.0, 0.0, 0.0])]) is None
    assert against_chances([1.0], [0.1]) is None
    assert exchanged(pairs(np.zeros(40))) == 1
    assert exchanged(pairs(np.ones(5))) == pytest.approx(2 / 32)
    assert exchanged(pairs(np.ones(6))) == pytest.approx(2 / 64)


def test_a_rare_event_beside_its_chance_is_binomial():
    assert against_chances([1.0] * 3 + [0.0] * 5, [0.1] * 8) == pytest.approx(
        2 * scipy.stats.binom.sf(2, 8, 0.1)
    )
    assert against_chances([0.0] * 100, [0.02] * 100) > 0.2
    assert against_chances([1.0] * 60 + [0.0] * 40, [0.1] * 100) < 0.001


@pytest.mark.parametrize(("n", "draws", "rate"), [(100, 20, 0.01), (30, 20, 0.1), (30, 3, 0.3), (8, 1, 0.5)])
def test_nothing_stands_out_on_either_side_more_often_than_it_may(n, draws, rate, monkeypatch):
    monkeypatch.setattr("patchlens.stats.chance.DRAWS", 499)
    rng = np.random.default_rng([n, draws])
    found = []
    for _ in range(500):
        cases = [case.astype(float) for case in rng.random((n, 1 + draws)) < rate]
        shift = sum(case[0] - case[1:].mean() for case in cases)
        p = exchanged(cases)
        assert p is not None
        found.append(np.sign(shift) * (p <= 0.05))
    assert np.mean(np.array(found) > 0) <= 0.045 and np.mean(np.array(found) < 0) <= 0.045
