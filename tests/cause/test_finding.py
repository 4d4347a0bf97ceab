"""Figures beside their controls: paired, with intervals, and nothing made up where there is nothing."""

import json

import numpy as np
import pytest

from patchlens.cause.finding import Finding, Row, compared, looked_at_together
from patchlens.cause.table import print_finding
from patchlens.stats.intervals import mean


def test_a_difference_is_taken_case_by_case():
    rng = np.random.default_rng(1)
    pictures = rng.normal(0, 10, 50)
    row = compared("effect", "nats", (pictures + 0.5).tolist(), pictures.tolist())
    assert row.stands_out and abs(row.difference.value - 0.5) < 1e-9
    assert row.value.low < row.control.value  # the figures themselves vary far more
    assert not compared("effect", "nats", pictures.tolist(), rng.permutation(pictures).tolist()).stands_out


def test_cases_without_a_value_are_left_out_together():
    row = compared("effect", "nats", [1.0, None, 3.0], [0.0, 5.0, None])
    assert (row.value.value, row.control.value, row.difference.value) == (1.0, 0.0, 1.0)
    nothing = compared("effect", "nats", [None], [1.0])
    assert nothing.value.value is None and not nothing.stands_out


def test_higher_is_not_yet_sure():
    up, down = (compared("effect", "nats", values, [1.0, 1.0, 1.0]) for values in ([0, 2, 3], [0, 0.5, 1.5]))
    assert up.is_higher and not up.stands_out
    assert not down.is_higher
    assert not compared("effect", "nats", [None], [1.0]).is_higher
    assert not Row("effect", "nats", mean([1.0])).is_higher


def test_a_finding_as_json_and_in_the_terminal(capsys):
    from rich.console import Console

    row = compared("answer flips", "share", [1.0, 1.0, 0.0], [0.0, 0.0, 0.0])
    finding = Finding("patches", "demo", "3 pictures", 3, (row, Row("rest", "share", mean([]))), "It does.")
    content = json.loads(finding.to_json())
    assert content["rows"][0]["value"]["value"] == 2 / 3
    assert content["rows"][1]["value"] == {
        "value": None,
        "low": None,
        "high": None,
        "n": 0,
        "bound": None,
    }
    print_finding(finding, Console(width=140))
    out = capsys.readouterr().out
    assert "answer flips" in out and "0.667" in out and "undefined" in out and "It does." in out


def test_one_case_of_a_hundred_that_differs_does_not_stand_out():
    row = compared("flips", "share", [1.0] + [0.0] * 99, [0.0] * 100)
    assert row.p == 1 and not row.stands_out
    assert row.difference.low < 0 < row.difference.high
    assert row.value.low > 0  # Wilson's, of the share alone
    five, six = (compared("flips", "share", [1.0] * n + [0.0] * 94, [0.0] * (94 + n)) for n in (5, 6))
    assert not five.stands_out and six.stands_out


def test_the_mean_of_many_draws_is_no_pair():
    """A rare event seldom happens to the one, and somewhere among twenty draws: that says nothing."""
    rng = np.random.default_rng(0)
    controls = (rng.random((40, 20)) < 0.02).astype(float)
    row = compared("flips", "share", [0.0] * 40, controls.tolist())
    assert row.control.value > 0 and not row.stands_out
    averaged = compared("flips", "share", [0.0] * 40, controls.mean(1).tolist())
    assert averaged.p < 0.01


def test_a_share_is_held_against_the_share_by_chance():
    shares = [0.05] * 20
    never = compared("peak", "share", [0.0] * 20, shares, chance=True)
    often = compared("peak", "share", [1.0] * 8 + [0.0] * 12, shares, chance=True)
    assert not never.stands_out and often.stands_out and often.is_higher


def test_nats_are_never_a_share():
    row = compared("fall", "nats", [1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0])
    assert row.value.low < 0 and row.control.low is None and row.difference.low < 0


def test_no_interval_is_beyond_what_the_unit_can_be():
    shares = compared("a", "share", [1.0, 1.0, 0.97, 1.0], [0.0, 0.1, 0.0, 0.0])
    assert shares.value.high <= 1 and shares.control.low >= 0 and shares.difference.high <= 1
    maps = compared("a", "Spearman", [0.99, 0.98, 0.6], [-0.9, -0.95, -0.99])
    assert maps.value.high <= 1 and maps.control.low >= -1 and maps.difference.high <= 2


def test_the_more_rows_are_looked_at_the_more_each_must_show():
    clear = compared("clear", "nats", [1.0] * 8, [0.0] * 8)
    noise = [compared("noise", "nats", [1.0, -1.0] * 4, [0.0] * 8) for _ in range(9)]
    alone, (among, *_) = clear.p, looked_at_together([clear, *noise])
    assert clear.stands_out and among.p == pytest.approx(10 * alone) and not among.stands_out


def test_few_cases_never_stand_out():
    for n in range(1, 6):
        assert not compared("a", "nats", [5.0 + i for i in range(n)], [0.0] * n).stands_out
    assert compared("a", "nats", [5.0 + i for i in range(6)], [0.0] * 6).stands_out
