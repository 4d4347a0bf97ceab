"""Charts: what they show, that every script's glyphs are there, and that files are exact and whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.textpath import TextPath

import patchlens as pl
from patchlens.errors import OutputError, SelectionError, TargetError
from patchlens.views import fonts
from patchlens.views.charts import KINDS, chart, write_chart
from readings import HOSTILE, WORDS, make_reading

SCRIPTS = ("猫", "Katze", "кошка", "قطة", "ねこ", "고양이", "גата", "γάτα", "▁貓", "ﬁ", "é", "→")


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.mark.parametrize("word", SCRIPTS)
def test_glyphs_of_every_script_are_there(word: str) -> None:
    assert fonts.drawable(word) == word
    assert all(fonts.has_glyph(char) for char in word)


def test_what_no_font_draws_is_named_not_a_box() -> None:
    assert fonts.word("🦒", 20) == "‹U+1F992›"
    assert fonts.word("ก\u202e", 20) == "‹U+0E01›‹RLO›"
    assert fonts.word("▁extraordinarily", 8) == "▁extrao…"
    assert fonts.word("猫猫猫猫猫", 8) == "猫猫猫…"


def test_a_chart_of_many_scripts_draws_without_a_missing_glyph(tmp_path: Path) -> None:
    reading = make_reading(words=SCRIPTS, answer=(3, 0, 1), targets=(), prompt=" ".join(SCRIPTS), k=12)
    for suffix in ("png", "svg"):
        write_chart(reading, "topk", tmp_path / f"chart.{suffix}")
    shown = texts(chart(reading, "topk"))
    assert {"猫", "Katze", "кошка", "قطة"} <= set(shown)
    svg = (tmp_path / "chart.svg").read_text()
    assert "<text" not in svg


def test_arabic_letters_join_and_run_from_the_right() -> None:
    fonts.register()
    joined = TextPath((0, 0), "قطة", prop={"family": list(fonts.FAMILIES)})
    apart = TextPath((0, 0), "ق\u200cط\u200cة", prop={"family": list(fonts.FAMILIES)})
    assert joined.get_extents().width < 0.97 * apart.get_extents().width
    low_then_tall = TextPath((0, 0), "سا", prop={"family": list(fonts.FAMILIES)})
    x, y = low_then_tall.vertices.T
    assert x[y.argmax()] < x.max() / 2


def test_topk_shows_every_candidate_and_frames_the_final_word() -> None:
    reading = make_reading(steps=2)
    figure = chart(reading, "topk", step=1)
    column = reading.step_row(1)
    shown = texts(figure)
    for token in np.unique(reading.top_ids[:, column]):
        assert fonts.word(reading.pieces[int(token)], 14) in shown
    framed = [p.get_xy() for p in figure.axes[0].patches]
    rows, ranks = np.nonzero(reading.top_ids[:, column] == reading.answer.ids[1])
    assert framed == list(zip(ranks.tolist(), rows.tolist(), strict=True))
    assert any("answer token 2" in text for text in shown)


def test_a_trajectory_draws_targets_or_the_words_asked_for() -> None:
    reading = make_reading()
    lines = chart(reading, "trajectory").axes[0].get_lines()
    assert [line.get_label() for line in lines] == ["cat", "giraffe (▁gira…)"]
    expected = np.exp(reading.target_logprobs[:, reading.position_row(), 0])
    assert lines[0].get_ydata() == pytest.approx(expected, rel=1e-5)
    lines = chart(reading, "trajectory", concept=["cat", "Katze"], at=3).axes[0].get_lines()
    assert lines[0].get_ydata() == pytest.approx(np.exp(reading.trajectory("cat", 3)), rel=1e-5, nan_ok=True)
    assert np.isnan(lines[1].get_ydata()).any()
    with pytest.raises(TargetError, match="zebra"):
        chart(reading, "trajectory", concept="zebra")
    assert chart(make_reading(targets=()), "trajectory").axes[0].get_lines()[0].get_label() == "▁cat"


@pytest.mark.parametrize("layout", ["squash", "crop", "tiles"])
def test_heat_lies_on_the_readings_boxes_of_that_picture(layout: str) -> None:
    reading = make_reading(pictures=2, layout=layout, n_layers=12)
    for image in (0, 1):
        figure = chart(reading, "heatmap", image=image)
        panels = [axes for axes in figure.axes if axes.collections and axes.images]
        assert len(panels) == 9
        here = reading.positions.image == image
        here &= reading.positions.kind == "patch"
        (mesh,) = (c for c in panels[-1].collections if isinstance(c, PatchCollection))
        boxes = np.array([path.get_extents().extents for path in mesh.get_paths()])
        assert boxes == pytest.approx(reading.positions.box[here])
        assert np.asarray(mesh.get_array()) == pytest.approx(reading.entropy[-1, here])
        assert panels[-1].get_ylim() == (60, 0)


def test_a_heatmap_of_a_word_has_one_key_and_leaves_the_unknown_bare() -> None:
    reading = make_reading(n_layers=3)
    figure = chart(reading, "heatmap", concept=["cat", "Cat"], layer=-1)
    (panel,) = (axes for axes in figure.axes if axes.images)
    known = reading.on_grid(reading.logprobs(["cat", "Cat"])[-1])
    assert len(panel.collections[0].get_array()) == np.isfinite(known).sum()
    assert any("cat + Cat" in text for text in texts(figure))
    with pytest.raises(SelectionError, match="with the lens cross"):
        chart(make_reading(cross=True), "heatmap")


def test_a_heatmap_of_text_alone_is_layers_by_positions() -> None:
    reading = make_reading(pictures=0, targets=())
    for concept, values in ((None, reading.entropy), ("cat", reading.logprobs("cat"))):
        figure = chart(reading, "heatmap", concept=concept)
        mesh = figure.axes[0].collections[0]
        np.testing.assert_array_equal(np.ma.filled(mesh.get_array(), np.nan), values)
        assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == [
            "<s>",
            "▁what",
            "▁is",
            "▁this",
            "?",
        ]
        assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["0 (emb.)", "1", "2", "3", "4"]
        assert any("no colour: below the top 5" in text for text in texts(figure)) == bool(concept)
    one = chart(reading, "heatmap", layer=2).axes[0].collections[0]
    np.testing.assert_array_equal(one.get_array(), reading.entropy[2:3])


def test_a_notebook_shows_the_picture() -> None:
    figure = pl.chart(make_reading(), "trajectory")
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert isinstance(figure, Figure)


def test_gaps_of_a_trajectory_are_said_to_be_below_the_top_k() -> None:
    reading = make_reading()
    shown = texts(chart(reading, "trajectory", concept=["Katze", "giraffe"]))
    assert any("gaps: below the top 5" in text for text in shown)
    assert not any("gaps" in text for text in texts(chart(reading, "trajectory", concept=7)))


def test_what_is_no_reading_is_named_with_the_way_to_one(tmp_path: Path) -> None:
    trace = type("Trace", (), {})()
    for act in (
        lambda: pl.chart(trace, "topk"),
        lambda: pl.write_page(trace, tmp_path / "a.html"),
        lambda: pl.write_page(make_reading(), tmp_path / "a.html", beside=trace),
        lambda: pl.widget(trace),
        lambda: pl.compare(make_reading(), trace),
    ):
        with pytest.raises(SelectionError, match=r"got Trace: write trace\.read\(\)"):
            act()
    with pytest.raises(SelectionError, match=r"pl\.open_reading\(file\)"):
        pl.write_page("a.safetensors", tmp_path / "a.html")
    with pytest.raises(OutputError, match=r"ends in \.html"):
        pl.write_page(make_reading(), tmp_path / "a.pdf")


def test_a_reading_without_an_answer_position_still_has_its_maps() -> None:
    reading = make_reading()
    object.__setattr__(reading.positions, "step", np.full_like(reading.positions.step, -1))
    for kind in ("heatmap", "entropy"):
        assert chart(reading, kind).axes
    with pytest.raises(SelectionError, match="no answer position"):
        chart(reading, "topk")


def test_entropy_draws_the_median_of_every_kind_of_position() -> None:
    reading = make_reading(steps=2)
    left, right = chart(reading, "entropy").axes
    assert {line.get_label() for line in left.get_lines()} == {
        "text (3)", "patches (12)", "other image tokens (1)", "special tokens (1)", "answer (2)",
    }  # fmt: skip
    patches = reading.positions.kind == "patch"
    assert left.get_lines()[1].get_ydata() == pytest.approx(np.median(reading.entropy[:, patches], 1))
    assert right.get_lines()[1].get_ydata() == pytest.approx(np.median(reading.kl_to_final[:, patches], 1))


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_the_same_every_time_and_own_nothing_of_the_users_settings(
    kind: str, tmp_path: Path
) -> None:
    reading = make_reading(rows=2, cols=2, n_layers=2, words=WORDS + HOSTILE, prompt="$\\frac{$ %")
    first = write_chart(reading, kind, tmp_path / "a.svg").read_bytes()
    with mpl.rc_context(
        {"font.family": "serif", "figure.dpi": 50, "savefig.transparent": True, "svg.fonttype": "none"}
    ):
        assert write_chart(reading, kind, tmp_path / "b.SVG").read_bytes() == first
    assert b"date" not in first
    assert write_chart(reading, kind, tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    pdf = write_chart(reading, kind, tmp_path / "a.pdf").read_bytes()
    assert pdf.startswith(b"%PDF") and write_chart(reading, kind, tmp_path / "b.pdf").read_bytes() == pdf


def test_what_cannot_be_drawn_or_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(SelectionError, match="'pie': choose topk, trajectory, heatmap, entropy"):
        chart(make_reading(), "pie")
    with pytest.raises(OutputError, match=r"\.png or \.svg or \.pdf, such as chart\.png"):
        write_chart(make_reading(), "topk", tmp_path / "chart.gif")
    with pytest.raises(SelectionError, match="step 5"):
        chart(make_reading(), "topk", step=5)
    with pytest.raises(OutputError, match="cannot write"):
        write_chart(make_reading(), "topk", tmp_path / "none" / "chart.png")
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from readings import make_reading\n"
        "from patchlens.errors import MissingExtraError\n"
        "from patchlens.views.charts import chart\n"
        "try: chart(make_reading(), 'topk')\n"
        "except MissingExtraError as error: print(error)\n"
    )
    tests = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {tests!r})\n{code}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "pip install 'patchlens[chart]'" in done.stdout, done.stderr
