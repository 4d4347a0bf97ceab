"""The page: what it lets run, what it carries, and that no text in a reading can break out of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchlens.errors import OutputError
from patchlens.views.html import page, write_page
from readings import HOSTILE, WORDS, make_reading
from views.markup import Outline, hash_of, policy
from views.unpacked import integers, unpack

# A name that SVG files begin with, not an address that is ever asked.
SVG_NAMESPACE = "http://www.w3.org/2000/svg"


def test_the_policy_allows_only_the_pages_own_script_and_style() -> None:
    outline = Outline(page(make_reading()))
    rules = policy(outline)
    assert rules["default-src"] == ["'none'"]
    assert rules["script-src"] == [hash_of(outline.blocks["script"])]
    assert rules["style-src"] == [hash_of(outline.blocks["style"])]
    assert rules["img-src"] == ["data:"]
    assert rules["base-uri"] == rules["form-action"] == ["'none'"]
    assert rules["require-trusted-types-for"] == ["'script'"]


def test_the_page_names_nothing_outside_itself() -> None:
    text = page(make_reading())
    outline = Outline(text)
    assert not [(tag, a) for tag, a in outline.tags if {"src", "href", "srcset", "data", "action"} & set(a)]
    source = (outline.blocks["script"] + outline.blocks["style"]).replace(SVG_NAMESPACE, "")
    assert not re.findall(r"(?:https?:)?//[a-z]", source)
    assert not re.findall(r"\bfetch\(|XMLHttpRequest|innerHTML|\beval\(|WebSocket", outline.blocks["script"])


def test_hostile_text_is_inert_and_whole() -> None:
    bad = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(1)> \u202e\u2028\u2029 {{script}}"
    reading = make_reading(
        words=WORDS + HOSTILE,
        prompt=bad,
        name=bad,
        picture_name=bad,
        notes=(bad,),
        answer=(40, 38, 1),
        steps=2,
    )
    _check_inert(page(reading), page(make_reading()))
    header, _ = unpack(page(reading))
    assert header["prompt"] == header["model"]["name"] == header["pictures"][0]["name"] == bad
    assert set(HOSTILE) & set(header["tokens"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(), min_size=5, max_size=5))
def test_any_text_is_inert_and_whole(texts: list[str]) -> None:
    prompt, name, picture, note, word = texts
    reading = make_reading(
        rows=1, cols=2, n_layers=1, prompt=prompt, name=name, picture_name=picture, notes=(note,),
        words=[word, *WORDS[1:]], prompt_tokens=(0, 3),
    )  # fmt: skip
    text = page(reading)
    _check_inert(text, page(make_reading()))
    header, body = unpack(text)
    carried = [header["prompt"], header["model"]["name"], header["pictures"][0]["name"], *header["notes"]]
    assert carried == [prompt, name, picture, note]
    assert header["tokens"][integers(body, header["token_ids"]).tolist().index(0)] == word


def _check_inert(text: str, plain: str) -> None:
    text.encode("utf-8")
    ours, theirs = Outline(plain), Outline(text)
    assert theirs.tags == ours.tags
    assert theirs.blocks["script"] == ours.blocks["script"]
    assert not re.search("[\x00-\x08\x0b-\x1f\u2028\u2029\u202a-\u202e\u2066-\u2069]", text)


def test_a_picture_too_large_or_of_unknown_kind_does_not_bloat_or_break_the_page(monkeypatch: Any) -> None:
    monkeypatch.setattr("patchlens.views.pictures.LONGEST_SIDE", 64)
    monkeypatch.setattr("patchlens.views.pictures.MOST_BYTES", 0)
    header, _ = unpack(page(make_reading(size=(4000, 30))))
    assert header["pictures"][0]["src"].startswith("data:image/jpeg;base64,")
    assert header["pictures"][0]["width"] == 4000
    reading = make_reading()
    object.__setattr__(reading.pictures[0], "mime", "text/html")
    assert unpack(page(reading))[0]["pictures"][0]["src"] == ""
    object.__setattr__(reading.pictures[0], "mime", "image/png")
    object.__setattr__(reading.pictures[0], "data", b"no picture")
    assert unpack(page(reading))[0]["pictures"][0]["src"] == ""


def test_the_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = write_page(make_reading(), tmp_path / "page.html")
    assert path.read_text("utf-8") == page(make_reading())
    (tmp_path / "folder.html").mkdir()
    for taken in (tmp_path / "folder.html", tmp_path / "missing" / "page.html"):
        with pytest.raises(OutputError, match="cannot write"):
            write_page(make_reading(), taken)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.html", "page.html"]
