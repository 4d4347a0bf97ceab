"""The frame of a page, as a notebook shows and keeps it, and the page of two readings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchlens.errors import OutputError
from patchlens.reading.reading import Reading
from patchlens.views.html import page, write_page
from patchlens.views.payload import pack
from readings import HOSTILE, WORDS, make_reading
from views.markup import Outline


def frame_of(reading: Reading) -> dict[str, str | None]:
    ((tag, attributes),) = Outline(reading._repr_html_()).tags
    assert tag == "iframe"
    return attributes


def test_a_notebook_shows_the_whole_page_in_a_frame_that_sees_nothing_else() -> None:
    reading = make_reading(prompt='what "is" this & that?')
    attributes = frame_of(reading)
    assert attributes["srcdoc"] == page(reading)
    assert attributes["sandbox"] == "allow-scripts allow-downloads"
    assert attributes["width"] == "100%"
    assert attributes["title"] == 'what "is" this & that? · demo · patchlens'
    assert set(attributes) == {"title", "srcdoc", "sandbox", "width", "height", "style"}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.text() | st.sampled_from([*HOSTILE, '"', "'>", "&quot;", "{{page}}"]), min_size=4, max_size=4)
)
def test_no_text_breaks_out_of_the_frame(texts: list[str]) -> None:
    prompt, name, note, word = texts
    reading = make_reading(
        rows=1, cols=2, n_layers=1, prompt=prompt, name=name, notes=(note,),
        words=[word, *WORDS[1:]], prompt_tokens=(0, 3),
    )  # fmt: skip
    assert frame_of(reading)["srcdoc"] == page(reading)


def test_a_saved_reading_is_shown_without_torch_and_without_the_widget(tmp_path: Path) -> None:
    path = make_reading().save(tmp_path / "a.safetensors")
    code = (
        f"import sys, patchlens; shown = patchlens.open_reading({str(path)!r})._repr_html_()\n"
        "assert shown.startswith('<iframe ')\n"
        "assert not {'torch', 'transformers', 'anywidget', 'IPython'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_page_holds_one_reading_or_two() -> None:
    one, other = make_reading(), make_reading(n_layers=7, cross=True, pictures=2, seed=1)
    assert Outline(page(one)).readings == [pack(one)]
    assert Outline(page(one, other)).readings == [pack(one), pack(other)]
    assert pack(one) != pack(other)


@pytest.mark.parametrize(
    ("one", "other", "title"),
    [
        ({}, {}, "what is this? · demo · patchlens"),
        ({}, {"name": "demo-cross"}, "what is this? · demo | demo-cross · patchlens"),
        ({}, {"prompt": "how many?"}, "what is this? | how many? · demo · patchlens"),
        (
            {"prompt": "a" * 60, "name": "/models/" + "b" * 60 + "-7b"},
            {"prompt": "a" * 61, "name": "/models/" + "b" * 60 + "-13b"},
            f"{'a' * 60} | {'a' * 40}…{'a' * 19} · "
            f"/models/{'b' * 32}…{'b' * 16}-7b | /models/{'b' * 32}…{'b' * 15}-13b · patchlens",
        ),
    ],
    ids=["alike", "models", "prompts", "long"],
)
def test_the_title_says_what_is_shared_once(one: dict[str, str], other: dict[str, str], title: str) -> None:
    text = page(make_reading(**one), make_reading(**other))  # pyright: ignore[reportArgumentType]
    assert Outline(text).blocks["title"] == title


def test_two_readings_are_written_to_one_file(tmp_path: Path) -> None:
    one, other = make_reading(), make_reading(seed=1)
    path = write_page(one, tmp_path / "both.html", beside=other)
    assert path.read_text("utf-8") == page(one, other)
    with pytest.raises(OutputError, match="cannot write"):
        write_page(one, tmp_path / "missing" / "both.html", beside=other)
