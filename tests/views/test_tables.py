"""What the terminal shows, and the same for other programs."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass

import numpy as np
import pytest
from rich.console import Console
from rich.text import Text

from patchlens.errors import SelectionError
from patchlens.reading.reading import Reading
from patchlens.views.places import place_name
from patchlens.views.summary import to_json
from patchlens.views.tables import print_identity, print_models, print_reading
from patchlens.views.terminal import add_texts, new_table, print_table
from readings import HOSTILE, WORDS, make_reading


def printed(reading: Reading, *, terminal: bool = False, width: int = 100, **options: object) -> str:
    out = io.StringIO()
    console = Console(
        file=out, force_terminal=terminal, width=width, color_system="standard" if terminal else None
    )
    print_reading(reading, console, **options)  # type: ignore[arg-type]
    return out.getvalue()


def test_every_layer_has_its_row_with_the_best_words_and_numbers() -> None:
    reading = make_reading()
    lines = printed(reading).splitlines()
    assert lines[0].startswith("demo@0123abcd · float32 · logit lens · scene.png")
    assert "what is this?" in lines[1]
    assert "catffe" in lines[2]
    rows = lines[-len(reading.layers) :]
    column = reading.position_row()
    for row, line in enumerate(rows):
        assert line.split()[0] == str(reading.layers[row])
        assert f"{reading.entropy[row, column]:.2f}" in line
        assert f"{reading.kl_to_final[row, column]:.2f}" in line
        assert f"#{reading.target_ranks[row, column, 0] + 1}" in line
    assert "0 (embeddings)" in rows[0]
    assert "4 (last)" in rows[-1]
    assert "▁cat 96%  " in rows[-1]  # two spaces part the cells, one is within them


def test_without_a_terminal_nothing_is_cut_or_coloured() -> None:
    words = [f"▁{'long' * 12}{i}" for i in range(40)]
    reading = make_reading(words=words, targets=(), k=10)
    out = printed(reading, width=40)
    assert "\x1b" not in out
    assert "…" not in out
    assert all(reading.pieces[int(i)] in out for i in reading.top_ids[:, reading.position_row()].ravel())


def test_in_a_terminal_the_table_fits_its_width() -> None:
    reading = make_reading(words=[f"▁{'猫' * 12}{i}" for i in range(40)], targets=(), k=10)
    for width in (60, 80, 140):
        table = printed(reading, terminal=True, width=width).splitlines()[4:]
        assert all(Text.from_ansi(line).cell_len <= width for line in table)
    assert "\x1b[1;33m" in printed(reading, terminal=True, width=140)


def test_what_a_narrow_terminal_has_no_room_for_is_named() -> None:
    reading = make_reading(k=10)
    out = " ".join(Text.from_ansi(printed(reading, terminal=True, width=60)).plain.split())
    assert "no room here for: giraffe" in out and "9, 10; a wider terminal or a file has them" in out
    assert "▁cat 96%" in out
    assert "no room" not in printed(reading, terminal=True, width=300) + printed(reading, width=60)


def test_a_table_that_is_too_wide_without_what_can_be_spared_is_folded() -> None:
    table = new_table(("n",))
    add_texts(table, "a", "b")
    table.add_row("1", "x" * 40, "y" * 40)
    out = io.StringIO()
    print_table(table, Console(file=out, force_terminal=True, color_system=None, width=30), spare=(0,))
    text = out.getvalue()
    assert text.count("x") == text.count("y") == 40 and "…" not in text
    assert all(len(line) <= 30 for line in text.splitlines()[:-3])


def test_hostile_text_is_neither_markup_nor_control() -> None:
    bad = "[bold]x[/bold] [/nope] \x1b[31m \u202e \x07"
    out = printed(make_reading(words=WORDS + HOSTILE, prompt=bad, name=bad, picture_name=bad), width=400)
    assert out.count("[bold]x[/bold] [/nope] ‹U+001B›[31m ‹RLO› ‹U+0007›") == 3
    assert not any(c in out for c in "\x1b\x07\x00\u202e\u2028")


def test_a_step_or_a_position_can_be_chosen() -> None:
    reading = make_reading(steps=3)
    assert "answer token 2 (read at ▁cat, position 18)" in printed(reading, step=1)
    assert "patch row 0, column 1" in printed(reading, at=2)
    assert "▁what (position 14)" in printed(reading, at=14)
    with pytest.raises(SelectionError, match="step 7"):
        printed(reading, step=7)


def test_a_patch_of_one_of_several_pictures_is_named_with_it() -> None:
    assert place_name(make_reading(pictures=2), 15) == "patch picture 1, row 0, column 1"


def test_json_holds_every_answer_position() -> None:
    reading = make_reading(steps=2)
    told = json.loads(to_json(reading))
    assert [step["step"] for step in told["steps"]] == [0, 1]
    layer = told["steps"][0]["layers"][-1]
    assert layer["top"][0]["token"] == reading.top(-1)[0].token
    assert layer["top"][0]["logprob"] == pytest.approx(reading.top(-1)[0].logprob, abs=1e-6)
    assert [t["rank"] for t in layer["targets"]] == reading.target_ranks[-1, reading.position_row()].tolist()
    object.__setattr__(reading, "entropy", np.full_like(reading.entropy, np.nan))
    assert json.loads(to_json(reading))["steps"][0]["layers"][0]["entropy"] is None


@dataclass(frozen=True)
class Report:
    difference: float = 2e-7
    tolerance: float = 1e-5
    max_logit_difference: float = 1e-4
    argmax_agreement: float = 1.0
    positions: int = 9
    dtype: str = "float32"
    last_block: str = "model.layers.7"
    final_norm: str = "model.norm"
    head: str = "lm_head"


def test_models_and_their_self_check_are_listed() -> None:
    out = io.StringIO()
    console = Console(file=out, width=100)
    print_models({"llava": "LLaVA-1.5 [x]"}, console)
    print_identity("some[model]", Report(), console)
    text = out.getvalue()
    for part in (
        "llava",
        "LLaVA-1.5 [x]",
        "some[model] (float32)",
        "2.00e-07",
        "100.0% of 9",
        "model.layers.7",
    ):
        assert part in text
