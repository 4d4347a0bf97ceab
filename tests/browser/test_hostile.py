"""Text from models and files is shown by name and never run, whatever it holds and wherever it stands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page

from browser.pages import Opener
from patchlens.reading.reading import Reading
from patchlens.reading.records import Channel
from patchlens.views.html import frame
from patchlens.views.words import visible_text
from readings import WORDS, make_reading

PIECES = (
    *(
        "</script><script>window.hit = 1</script>",
        "</style><style>*{color:red}</style>",
        "<!--",
        "]]>",
        "-->",
    ),
    *(
        "<img src=x onerror=window.hit=1>",
        '"><svg onload=window.hit=1>',
        "' autofocus onfocus=window.hit=1 '",
    ),
    *(
        "javascript:window.hit=1",
        "https://example.invalid/",
        "//example.invalid",
        "{{script}}",
        "${window.hit=1}",
    ),
    *("__proto__", "constructor", "toString", "&lt;b&gt;&amp;", "\\u003cb\\u003e", "url(//example.invalid)"),
    *(
        "\u202egnp.exe",
        "\u2066a\u2069",
        "a\u2028b\u2029",
        "\x00\x1b[31m",
        "\ufeff\u200b",
        "קטל",
        "猫🦒",
        "%00",
        "#;,|",
    ),
)
# Python and the browser may know different editions of Unicode.
KNOWN = st.characters(exclude_categories=("Cn", "Cs"))
WILD = st.lists(st.sampled_from(PIECES) | st.text(KNOWN, max_size=6), min_size=1, max_size=3).map("".join)
ELEMENTS = "() => [...new Set([...document.querySelectorAll('*')].map((node) => node.localName))]"
# Attributes that could run or load something, apart from the picture itself.
ACTIVE = """() => [...document.querySelectorAll("*")].flatMap((node) => [...node.attributes])
  .filter(({ name }) => /^on|^(src|srcset|srcdoc|href|xlink:href|action|formaction|data|ping)$/.test(name))
  .map(({ name, value }) => `${name}=${value}`).filter((text) => !text.startsWith("src=data:image/png;"))"""
# Everything that a page says while its overlays are shown in turn, to the eye, a pointer or a screen reader.
SAID = """async () => {
  const shown = document.getElementById("patchlens");
  const said = [document.title];
  for (const button of shown.querySelectorAll(".overlay-bar button")) {
    button.click();
    await new Promise(requestAnimationFrame);
    said.push(shown.textContent);
    for (const name of ["title", "aria-label", "alt", "placeholder"])
      said.push(...[...shown.querySelectorAll(`[${name}]`)].map((node) => node.getAttribute(name)));
  }
  return said.join(" ");
}"""
# The page keeps line breaks and joiners, which Python's one line names.
SPACING = re.compile(r"\s|[\u200c\u200d]|‹(?:LF|ZWJ|ZWNJ)›")
SHAPELESS = re.compile("[\x00-\x08\x0b-\x1f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\u200b]")


def make_hostile(texts: Sequence[str]) -> Reading:
    """A reading with strange text at every place that can hold some."""
    prompt, model, picture, note, word, target, channel = texts
    words = [word, *WORDS[1:], f"▁{target}", *PIECES]
    reading = make_reading(
        rows=1, cols=2, n_layers=1, words=words, prompt=prompt, name=model, picture_name=picture,
        notes=(note,), targets=(target,), prompt_tokens=(0, 3), answer=(len(WORDS) + 1, 0, 1), steps=2,
    )  # fmt: skip
    values = np.ones((2, len(reading.positions)), np.float32)
    return replace(reading, channels=(Channel(channel, ("layer", "pos"), values, note, note),))


def bare(text: str) -> str:
    return SPACING.sub("", text)


def use(page: Page) -> str:
    """Point at a patch, show every overlay in turn, and return all that the page said meanwhile."""
    box = page.locator(".stage").bounding_box()
    assert box
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    return page.evaluate(SAID)


def check_inert(page: Page, reading: Reading, plain: set[str]) -> None:
    said = use(page)
    assert set(page.evaluate(ELEMENTS)) <= plain
    assert page.evaluate(ACTIVE) == []
    assert not page.evaluate("'hit' in window || 'hit' in {}")
    assert not SHAPELESS.search(said)
    (channel,), (note,), (picture,) = reading.channels, reading.notes, reading.pictures
    spoken = [reading.prompt, reading.model.name, picture.name, note, reading.targets[0].word]
    for text in [*map(visible_text, spoken), visible_text(channel.name)]:
        assert bare(text) in bare(said)


def test_hostile_text_is_inert_and_told(open_page: Opener) -> None:
    page = open_page(make_hostile(["a"] * 7))
    use(page)
    plain = set(page.evaluate(ELEMENTS))

    @settings(max_examples=20, deadline=None, phases=(Phase.reuse, Phase.generate))
    @given(st.lists(WILD, min_size=7, max_size=7))
    def check(texts: list[str]) -> None:
        reading = make_hostile(texts)
        check_inert(open_page(reading, into=page), reading, plain)

    check()


def test_the_frame_of_a_notebook_shows_it_too(open_page: Opener) -> None:
    bad = "".join(PIECES)
    page = open_page.text(f"<!doctype html><body>{frame(make_hostile([bad] * 7))}")
    inner = page.frame_locator("iframe")
    inner.locator(".picture").wait_for()
    assert bare(inner.locator("h1").inner_text()) == bare(visible_text(bad))
    assert not page.evaluate("'hit' in window")
