"""What people see of the scoreboard: in the terminal and on the page."""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from patchlens.bench.board import Board, LensScores, ModelScores, NullScore, OverSeeds, Score
from patchlens.bench.page import board_page, write_board
from patchlens.bench.score import METRICS
from patchlens.bench.table import print_board
from patchlens.bench.wording import NAMES, Cell, cell, layers
from patchlens.errors import MissingExtraError
from views.markup import Outline, hash_of, policy


def near(mean: float) -> OverSeeds:
    return OverSeeds(mean, mean - 0.01, mean + 0.01, 2, seeds=(mean, mean))


def made_score(metric: str, layer: int | None, mean: float, **nulls: tuple[float, bool]) -> Score:
    return Score(metric, layer, near(mean), {n: NullScore(near(m), ok) for n, (m, ok) in nulls.items()})


def made_lens(name: str = "logit", *, cleared: bool = True) -> LensScores:
    words = [made_score("readable_top5", n, 0.5 + 0.1 * n, shuffled=(0.1, True)) for n in range(3)]
    net = made_score("net_top5", 1, 0.55, random=(-0.4, True), shift=(0.5, False))
    kl = [made_score("kl_text", n, 2.0 - n, shuffled=(7, True), constant=(1, False)) for n in range(3)]
    false = made_score("false_top5", 1, 0.3, shuffled=(0.9, cleared))
    headlines = (words[1], false, net, kl[1])
    return LensScores(name, {}, (0, 1, 2), True, 1, None, {}, headlines, (*words, *kl))


def made_board(name: str = "logit", model: str = "a model", reason: str = "why") -> Board:
    lenses = (made_lens(name), made_lens("other", cleared=False))
    return Board(
        "few scenes", {}, (ModelScores(model, None, "float32", 2, lenses, {"left": reason}),), {"x": "1"}
    )


METRIC = {metric.name: metric for metric in METRICS}


def test_a_cell_shows_the_null_that_comes_nearest() -> None:
    score = made_score("auroc_all", 1, 0.9, random=(0.5, True), blank=(0.6, True), shift=(0.89, False))
    assert cell(score, METRIC["auroc_all"]) == Cell(
        "0.900 (0.890 to 0.910)", "blank 0.600 (0.590 to 0.610)", True
    )
    lower = made_score("kl_text", None, 2.0, shuffled=(7, True), constant=(3, True))
    assert cell(lower, METRIC["kl_text"]).null == "constant 3.000 (2.990 to 3.010)"
    failed = made_score("kl_text", None, 2.0, shuffled=(1.99, False), constant=(3, True))
    assert cell(failed, METRIC["kl_text"]) == Cell(
        "2.000 (1.990 to 2.010)", "shuffled 1.990 (1.980 to 2.000)", False
    )
    assert cell(None, METRIC["kl_text"]).value == "–"


def test_layers_say_whether_others_are_as_good() -> None:
    assert layers(made_lens()) == ("1 (others as good)", "–")


def test_every_metric_has_a_name() -> None:
    assert set(NAMES) == set(METRIC)


def test_the_table_has_a_column_per_lens_and_marks_what_fails() -> None:
    out = io.StringIO()
    print_board(made_board(), Console(file=out, width=200))
    text = out.getvalue()
    assert "logit" in text and "other" in text
    assert "0.600 (0.590 to 0.610)" in text
    lines = text.splitlines()
    false = next(n for n, line in enumerate(lines) if "false names, top 5" in line)
    assert lines[false + 1].count("✗ shuffled 0.900") == 1
    assert "left out: left: why" in text
    assert "words at layer" in text and "maps at layer" not in text


def test_hostile_names_stay_text() -> None:
    bad = '"><script>alert(1)</script>[bold]\x1b[31m\u202e{{style}}'
    out = io.StringIO()
    print_board(made_board(bad, bad, bad), Console(file=out, width=300))
    assert "\x1b" not in out.getvalue() and "\u202e" not in out.getvalue()
    assert "[bold]" in out.getvalue()
    text = board_page(made_board(bad, bad, bad), title=bad)
    outline = Outline(text)
    assert "script" not in [tag for tag, _ in outline.tags]
    assert "\u202e" not in text


def test_the_page_loads_and_runs_nothing(tmp_path: Path) -> None:
    text = write_board(made_board(), tmp_path / "a.html").read_text("utf-8")
    outline = Outline(text)
    assert policy(outline)["default-src"] == ["'none'"]
    assert policy(outline)["style-src"] == [hash_of(outline.blocks["style"])]
    assert "script-src" not in policy(outline)
    assert all("style" not in attributes for _, attributes in outline.tags)
    (chart,) = [a["src"] for tag, a in outline.tags if tag == "img"]
    drawn = base64.b64decode(chart.removeprefix("data:image/svg+xml;base64,")).decode()
    assert drawn.count("<path") > 20
    assert "://" not in text
    assert "0.600 (0.590 to 0.610)" in text
    assert text.count('class="failed"') == 3
    assert board_page(made_board()) == text


def test_without_matplotlib_the_page_names_the_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"patchlens\[chart\]"):
        board_page(made_board())
