"""The widget's kernel side: what it carries, what can be set, and what is said without its extra."""

from __future__ import annotations

import base64
import sys

import pytest
from traitlets import TraitError

import patchlens
from patchlens.errors import MissingExtraError, SelectionError
from patchlens.views.html import asset
from patchlens.views.notebook import widget
from patchlens.views.payload import pack
from readings import make_reading

READING = make_reading(layers=(0, 2, 4), steps=2)


def test_the_widget_carries_each_reading_packed_as_bytes() -> None:
    other = make_reading(cross=True, n_layers=7)
    assert [base64.b64encode(packed).decode() for packed in widget(READING).payload] == [pack(READING)]
    assert [base64.b64encode(packed).decode() for packed in widget(READING, other).payload] == [
        pack(READING),
        pack(other),
    ]
    with pytest.raises(TraitError):
        widget(READING).payload = []


def test_what_the_page_is_told_is_the_pages_script_and_state() -> None:
    state = widget(READING).get_state()
    assert state["_esm"] == asset("widget.js")
    assert {name: state[name] for name in ("layer", "position", "query")} == {
        "layer": None,
        "position": None,
        "query": "",
    }
    assert all(isinstance(packed, bytes) for packed in state["payload"])


def test_the_page_can_set_the_state_and_the_kernel_hears_of_it() -> None:
    shown = widget(READING)
    heard = {}
    shown.observe(
        lambda change: heard.update({change["name"]: change["new"]}), ["layer", "position", "query"]
    )
    shown.set_state({"layer": 2, "position": 3, "query": "cat"})
    assert (shown.layer, shown.position, shown.query) == (2, 3, "cat")
    assert heard == {"layer": 2, "position": 3, "query": "cat"}
    shown.set_state({"position": None})
    assert shown.position is None


def test_layers_and_positions_may_count_from_the_end_and_must_exist() -> None:
    shown = widget(READING)
    shown.layer, shown.position = -1, -1
    assert (shown.layer, shown.position) == (4, READING.positions.index[-1])
    with pytest.raises(SelectionError, match="layer 3 is not in this reading: it holds 0, 2, 4"):
        shown.layer = 3
    with pytest.raises(SelectionError, match="position 999"):
        shown.position = 999
    with pytest.raises(TraitError):
        shown.layer = "last"
    assert (shown.layer, shown.position) == (4, READING.positions.index[-1])
    shown.position = None
    assert shown.position is None


def test_without_anywidget_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anywidget", None)
    monkeypatch.delitem(sys.modules, "patchlens.views.live", raising=False)
    with pytest.raises(MissingExtraError, match=r"anywidget.*pip install 'patchlens\[notebook\]'"):
        patchlens.widget(READING)
