"""The index of several pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from patchlens.errors import OutputError
from patchlens.views.index import BLANK, IndexEntry, index, write_index
from readings import make_reading
from views.markup import Outline, hash_of, policy


def test_every_page_is_linked_with_its_picture_question_and_answer(tmp_path: Path) -> None:
    entries = [
        IndexEntry(tmp_path / "a b.html", make_reading()),
        IndexEntry(tmp_path / "deep" / "ü.html", make_reading(pictures=0, prompt="what now?"), "no picture"),
    ]
    outline = Outline(write_index(entries, tmp_path / "index.html", title="Readings").read_text("utf-8"))
    assert [a["href"] for tag, a in outline.tags if tag == "a"] == ["./a%20b.html", "./deep/%C3%BC.html"]
    pictures = [str(a["src"]) for tag, a in outline.tags if tag == "img"]
    assert pictures[0].startswith("data:image/png;base64,")
    assert pictures[1] == BLANK
    assert "what now?" in outline.blocks["span"]
    assert outline.blocks["title"] == "Readings"


def test_the_index_runs_nothing_and_hostile_text_stays_text(tmp_path: Path) -> None:
    bad = '"><script>alert(1)</script> \u202e {{style}}'
    entry = IndexEntry(
        tmp_path / "javascript:alert(1).html", make_reading(prompt=bad, name=bad, picture_name=bad), bad
    )
    text = index([entry], tmp_path, title=bad)
    outline = Outline(text)
    assert policy(outline)["default-src"] == ["'none'"]
    assert "script-src" not in policy(outline)
    assert policy(outline)["style-src"] == [hash_of(outline.blocks["style"])]
    assert "script" not in [tag for tag, _ in outline.tags]
    assert [a["href"] for tag, a in outline.tags if tag == "a"] == ["./javascript%3Aalert%281%29.html"]
    assert "\u202e" not in text


def test_a_page_outside_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not in the index's folder"):
        index([IndexEntry(tmp_path / "page.html", make_reading())], tmp_path / "elsewhere")
