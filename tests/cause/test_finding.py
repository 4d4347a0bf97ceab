"""Figures beside their controls: paired, with intervals, and nothing made up where there is nothing."""

import json

import numpy as np
import pytest

from patchlens.cause.finding import Finding, Row, compared, mean
from patchlens.cause.table import print_finding


def test_the_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        found = mean(rng.normal(1.0, 2.0, 60).tolist())
        inside += found.low <= 1.0 <= found.high
    assert 180 <= inside <= 199


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
    assert content["rows"][1]["value"] == {"value": None, "low": None, "high": None}
    print_finding(finding, Console(width=140))
    out = capsys.readouterr().out
    assert "answer flips" in out and "0.667" in out and "undefined" in out and "It does." in out


def test_shares_of_all_or_none_keep_an_honest_interval():
    z2 = 1.959964**2
    assert mean([1.0] * 30).low == pytest.approx(30 / (30 + z2)) and mean([1.0] * 30).high == 1
    assert mean([0.0] * 30).high == pytest.approx(z2 / (30 + z2)) and mean([0.0] * 30).low == 0
    found = mean([1.0, 0.0, 1.0, 1.0])  # Wilson 1927
    assert found.value == 0.75
    assert (found.low, found.high) == pytest.approx((0.3006, 0.9544), abs=1e-4)
    less = mean([-1.0, 0.0, -1.0, -1.0])
    assert (less.value, less.low, less.high) == pytest.approx((-0.75, -0.9544, -0.3006), abs=1e-4)
