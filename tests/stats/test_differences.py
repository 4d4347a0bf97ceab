"""Effect sizes, nulls and corrections by hand, and whether they tell chance from an effect."""

from __future__ import annotations

import math
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest

from patchlens.stats import differences
from patchlens.stats.chance import holm, least_p, p_beside
from patchlens.stats.differences import against_rest, paired, unpaired
from patchlens.stats.intervals import SHARE, quantile
from patchlens.studies.report import make_report
from studies.made_study import write_study


def hedges(first: np.ndarray, second: np.ndarray) -> float:
    n, m = len(first), len(second)
    pooled = ((n - 1) * first.var(ddof=1) + (m - 1) * second.var(ddof=1)) / (n + m - 2)
    return (1 - 3 / (4 * (n + m - 2) - 1)) * (first.mean() - second.mean()) / np.sqrt(pooled)


def test_a_difference_between_groups_by_hand():
    rng = np.random.default_rng(1)
    first, second = rng.normal(1, 1, 9), rng.normal(0, 2, 14)
    found = unpaired(first[:, None], second[:, None], seed=0, draws=999)[0]
    assert found is not None
    parts = first.var(ddof=1) / 9, second.var(ddof=1) / 14
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 8 + parts[1] ** 2 / 13)
    half = quantile(freedom) * np.sqrt(sum(parts))
    assert found.difference == pytest.approx(first.mean() - second.mean())
    assert (found.low, found.high) == pytest.approx((found.difference - half, found.difference + half))
    assert found.effect == pytest.approx(hedges(first, second))
    assert found.effect_high == pytest.approx(found.high * found.effect / found.difference)


def test_the_shuffled_null_is_that_of_all_relabellings():
    values = np.array([0.0, 1.0, 1.5, 4.0, 7.0, 7.5, 12.0])
    found = unpaired(values[:3, None], values[3:, None], seed=0, draws=20_000)[0]
    assert found is not None
    effects, as_far = [], 0
    splits = list(combinations(range(7), 3))
    for split in splits:
        one, other = values[list(split)], np.delete(values, split)
        effects.append(hedges(one, other))
        as_far += abs(one.mean() - other.mean()) >= abs(found.difference) - 1e-9
    assert found.p == pytest.approx(as_far / len(splits), abs=0.01)
    low, high = np.percentile(np.repeat(effects, 600), [2.5, 97.5])
    assert (found.null_low, found.null_high) == pytest.approx((low, high), abs=0.6)
    inside = np.mean([found.null_low <= effect <= found.null_high for effect in effects])
    assert inside >= 0.93


def test_a_difference_between_lenses_by_hand_and_over_all_signs():
    first, second = np.array([3.0, 2.5, 4.0, 1.0, 2.0]), np.array([1.0, 2.0, 2.5, 1.5, 1.0])
    found = paired(first[:, None], second[:, None], seed=0, draws=20_000)[0]
    assert found is not None
    gaps = first - second
    assert found.effect == pytest.approx(gaps.mean() / gaps.std(ddof=1))
    half = quantile(4) * gaps.std(ddof=1) / np.sqrt(5)
    assert found.low <= gaps.mean() - half + 1e-9 and found.high >= gaps.mean() + half - 1e-9
    assert found.high - found.low < 2.5 * half
    flipped = [np.mean(np.array(signs) * gaps) for signs in product((-1, 1), repeat=5)]
    exact = np.mean(np.abs(flipped) >= abs(gaps.mean()) - 1e-9)
    assert found.p == pytest.approx(exact, abs=0.01)


def test_no_p_is_below_what_all_relabellings_give():
    far, near = np.arange(8.0)[:, None] + 100, np.arange(8.0)[:, None]
    assert unpaired(far[:4], near[:4], 0, 9_999)[0].p == pytest.approx(2 / 70, abs=0.005)
    assert unpaired(far, near, 0, 99_999)[0].p >= 2 / math.comb(16, 8)
    assert paired(far[:6], near[:6], 0, 9_999)[0].p >= 2 / 2**6
    assert least_p(8, 7, pairs=False) == pytest.approx(1 / math.comb(15, 7))
    assert least_p(100, 100, pairs=False, draws=999) == 1 / 1000


def test_few_items_cannot_stand_among_many_comparisons_and_the_report_says_so(tmp_path: Path):
    report = make_report(write_study(tmp_path, per_group=3, shift={"plain": 9.0}, lenses=("logit",)).folder)
    rows = report.table("differences").records()
    assert min(r["p_holm"] for r in rows if r["p_holm"] is not None) >= 0.05
    assert any(note.startswith("between groups, no difference could be") for note in report.notes)


def test_what_is_not_known_is_left_out_of_its_own_quantity_only():
    first = np.array([[1.0, np.nan], [2.0, 5.0], [4.0, 6.0]])
    second = np.array([[0.0, 1.0], [np.nan, 2.0], [1.0, 2.5]])
    one, other = unpaired(first, second, seed=0, draws=99)
    assert one and other
    assert (one.first_items, one.second_items, other.first_items, other.second_items) == (3, 2, 2, 3)
    assert other.effect == pytest.approx(hedges(first[1:, 1], second[:, 1]))
    one, other = paired(first, second, seed=0, draws=99)
    assert one and other
    assert one.first_items == other.first_items == 2
    assert one.difference == pytest.approx(np.mean([1.0, 3.0]))
    assert unpaired(first[:, :1], np.full((2, 1), np.nan), seed=0, draws=9) == [None]


def test_values_that_do_not_vary_have_no_effect_size():
    same = np.full((6, 1), 0.1)
    for found in (*unpaired(same, same, 0, 99), *paired(same, same, 0, 99), *paired(same + 0.2, same, 0, 99)):
        assert found is not None
        assert found.effect is None
    assert unpaired(same, same, 0, 99)[0].p == 1


def test_holm_by_hand():
    assert holm([0.01, None, 0.04, 0.03, 0.005]) == pytest.approx([0.03, None, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("test", [unpaired, paired])
def test_p_is_even_where_nothing_differs(test):
    rng = np.random.default_rng(3)
    p = [found.p for found in test(rng.normal(size=(12, 400)), rng.normal(size=(12, 400)), 0, 499)]
    assert np.mean(p) == pytest.approx(0.5, abs=0.05)
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.03)
    assert np.mean(np.array(p) <= 0.5) == pytest.approx(0.5, abs=0.08)


def test_nothing_planted_is_nothing_found_and_what_is_planted_is_found(tmp_path: Path):
    options = {"per_group": 14, "groups": ("plain", "object"), "models": {"demo": 4}, "lenses": ("logit",)}
    (tmp_path / "none").mkdir()
    (tmp_path / "some").mkdir()
    none = make_report(write_study(tmp_path / "none", **options).folder)
    planted = write_study(tmp_path / "some", shift={"plain": 1.0}, **options)
    some = make_report(planted.folder)
    tested = [r for r in none.table("differences").records() if r["p_holm"] is not None]
    assert [r["quantity"] for r in tested if r["p_holm"] < 0.05] == []
    rows = some.table("differences").records()
    found = {r["quantity"]: r for r in rows if r["p_holm"] is not None and r["p_holm"] < 0.05}
    assert set(found) == {"entropy_answer", "entropy_patches", "entropy_answer_last"}
    assert len(rows) > len(found) + 10
    for row in found.values():
        assert row["low"] < 1.0 < row["high"]
        assert row["null_low"] < 0 < row["null_high"] < row["effect"]


def test_models_of_other_depths_are_compared_by_depth_and_items_are_paired(tmp_path: Path):
    made = write_study(tmp_path, per_group=3, failed={"item-0-0": "x"})
    (row,) = [
        r
        for r in make_report(made.folder, draws=99).table("differences").records()
        if (r["between"], r["lens"], r["quantity"]) == ("models", "logit", "answer_leads")
    ]
    assert (row["first"], row["second"], row["unit"]) == ("demo", "lab/two", "share of the layers")
    assert row["first_items"] == row["second_items"] == 8
    depth = {}
    for model, n_layers in (("demo", 5), ("lab/two", 7)):
        cells = made.of("cells", model=model, lens="logit", step=0)
        for item in {c["item"] for c in cells}:
            ranks = [c["answer_rank"] for c in cells if c["item"] == item]
            first = next(i for i in range(n_layers) if not any(ranks[i:]))
            depth[item, model] = first / (n_layers - 1)
    items = {item for item, _ in depth}
    assert row["difference"] == pytest.approx(
        np.mean([depth[item, "demo"] - depth[item, "lab/two"] for item in items])
    )


def test_what_no_lens_has_a_part_in_is_compared_once(tmp_path: Path):
    report = make_report(write_study(tmp_path, per_group=2).folder, draws=99)
    rows = [r for r in report.table("differences").records() if r["quantity"] == "answer_tokens"]
    assert {r["lens"] for r in rows} == {""}
    assert {r["between"] for r in rows} == {"groups", "models"}


def parts_of(values: np.ndarray, groups: int) -> list[np.ndarray]:
    return [part.copy() for part in np.array_split(values, groups)]


def test_a_group_against_the_rest_is_what_two_groups_are():
    rng = np.random.default_rng(5)
    values = rng.normal(size=(60, 2))
    values[rng.random(60) < 0.2, 1] = np.nan
    groups = parts_of(values, 6)
    groups[2] += 0.8
    for place, found in enumerate(against_rest(groups, seed=0, draws=9_999)):
        rest = np.concatenate([*groups[:place], *groups[place + 1 :]])
        for own, two in zip(found, unpaired(groups[place], rest, seed=1, draws=9_999), strict=True):
            assert own and two
            assert (own.difference, own.low, own.effect) == pytest.approx(
                (two.difference, two.low, two.effect)
            )
            assert (own.first_items, own.second_items) == (two.first_items, two.second_items)
            assert own.p == pytest.approx(two.p, abs=0.02)
            assert (own.null_low, own.null_high) == pytest.approx((two.null_low, two.null_high), abs=0.06)


def test_groups_are_the_same_whichever_share_a_block(monkeypatch):
    groups = parts_of(np.random.default_rng(6).normal(size=(50, 3)), 5)
    whole = against_rest(groups, 0, 499)
    monkeypatch.setattr(differences, "_GROUPS_AT_ONCE", 2)
    told = []
    assert against_rest(groups, 0, 499, told.append) == whole
    assert told == sorted(told) and told[-1] == 499 and len(told) == 3


def test_p_of_many_groups_is_even_where_nothing_differs():
    groups = parts_of(np.random.default_rng(7).normal(size=(480, 40)), 12)
    p = [one.p for own in against_rest(groups, 0, 999) for one in own if one]
    assert len(p) == 480
    assert np.mean(p) == pytest.approx(0.5, abs=0.05)
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.03)


def test_beyond_all_draws_p_goes_on_above_the_tail_of_a_mean():
    null = np.random.default_rng(8).normal(size=19_999)
    least = least_p(100, 900, pairs=False, tail=True)
    for far in (4.8, 5.5, 6.5):
        exact = math.erfc(far / math.sqrt(2))
        assert exact < p_beside(null, far, least) < 1 / 20_000
        assert p_beside(null, far, least_p(100, 900, pairs=False)) == 1 / 20_000
    lumps = np.where(np.arange(19_999) < 5, 30.0, null)
    assert p_beside(lumps, 30.0, least) == 6 / 20_000
    assert p_beside(null, 99.0, least) == least == 20_000.0**-2
    assert p_beside(np.sign(null), 2.0, least) == 1 / 20_000  # without a tail there is nothing to follow
    assert least_p(19, 900, pairs=False, tail=True) == 1 / 20_000


def test_many_groups_are_held_against_the_rest_and_the_report_says_so(tmp_path: Path):
    names = [f"group {i}" for i in range(9)]
    options = {"per_group": 8, "models": {"demo": 3}, "lenses": ("logit",), "shift": {"group 4": 2.0}}
    for folder, groups in ((tmp_path / "eight", names[:8]), (tmp_path / "nine", names)):
        folder.mkdir()
        write_study(folder, groups=groups, **options)
    eight, nine = (make_report(tmp_path / name, draws=3_999) for name in ("eight", "nine"))
    pairs = {(r["first"], r["second"]) for r in eight.table("differences").records()}
    assert pairs == set(combinations(names[:8], 2))
    assert not any("more than 8 groups" in note for note in eight.notes)
    rows = nine.table("differences").records()
    assert {(r["first"], r["second"]) for r in rows} == {(name, "*others") for name in names}
    assert any("more than 8 groups" in note for note in nine.notes)
    found = {(r["first"], r["quantity"]) for r in rows if r["p_holm"] is not None and r["p_holm"] < 0.05}
    assert ("group 4", "entropy_answer") in found
    assert {first for first, _ in found} == {"group 4"}
    (row,) = [r for r in rows if (r["first"], r["quantity"]) == ("group 4", "entropy_answer")]
    assert (row["first_items"], row["second_items"], row["left_out"]) == (8, 64, 0)


@pytest.mark.parametrize("compare", [unpaired, paired])
def test_differences_of_yes_and_no_have_a_width_and_stay_within_what_is_possible(compare):
    ones, zeros = np.ones((6, 1)), np.zeros((6, 1))
    (apart,) = compare(ones, zeros, 0, 99, [SHARE])
    assert apart and apart.difference == 1
    assert apart.high == 1 and 0 < apart.low < 0.9
    (alike,) = compare(ones, ones, 0, 99, [SHARE])
    assert alike and alike.low < 0 < alike.high
    (unlimited,) = compare(ones, zeros, 0, 99)
    assert unlimited and unlimited.low is None
