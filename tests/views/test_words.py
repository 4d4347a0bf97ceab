"""Pieces as they are shown; the page's own tests hold the same table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchlens.views.words import percent, visible, visible_text

CASES = json.loads((Path(__file__).parent / "visible.json").read_text("utf-8"))


@pytest.mark.parametrize(("piece", "shown"), CASES)
def test_pieces_are_told_apart(piece: str, shown: str) -> None:
    assert visible(piece) == shown


@given(st.text())
def test_nothing_shown_can_move_or_hide_its_surroundings(text: str) -> None:
    for shown in (visible(text), visible_text(text)):
        assert shown.isprintable() or {c for c in shown if not c.isprintable()} <= {"\u200c", "\u200d"}


def test_probabilities_keep_two_telling_digits() -> None:
    shown = [percent(p) for p in (1.0, 0.4, 0.012, 0.0004, 9e-5, 2e-9, 0.0, float("nan"))]
    assert shown == ["100%", "40%", "1.2%", "0.04%", "0.009%", "2e-07%", "0%", "–"]
