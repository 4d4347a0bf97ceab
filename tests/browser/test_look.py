"""How pages look: pictures for people, and what can be said of a look without them."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from browser.pages import Opener, shoot
from browser.patience import next_frame
from patchlens.reading.reading import Reading
from patchlens.run import load
from readings import make_reading

OVERFLOW = """() => {
  const INSIDE = ".scroll, .matrix .view, .tokens, .unseen, details";
  return [...document.querySelectorAll("body *")].filter((node) => {
  const box = node.getBoundingClientRect();
  return box.width > 0 && box.right > innerWidth + 1 && !node.closest(INSIDE)
}).map((node) => node.outerHTML.slice(0, 120)) }"""
# Contrast of text with what lies under it (WCAG 2.2, relative luminance), for text on plain ground.
CONTRAST = """() => {
  const luminance = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
      if (colour[3] > 0) return null;
    }
    return null;
  };
  const low = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || node.closest(".unseen, dialog:not([open]), [hidden], .space") || !node.offsetParent) continue;
    const under = ground(node), ink = numbers(getComputedStyle(node).color);
    if (!under || ink.length > 3) continue;
    const [a, b] = [luminance(ink), luminance(under)].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) low.push([node.outerHTML.slice(0, 100), (a + 0.05) / (b + 0.05)]);
  }
  return low;
}"""


@pytest.fixture(scope="module")
def demos() -> tuple[Reading, Reading]:
    """The bundled collage through both bundled models."""
    from patchlens.demo import demo_pictures

    picture = next(picture for picture in demo_pictures() if picture.file.stem == "collage")
    first, second = (
        load(name).trace(str(picture.file), picture.prompt, steps=True).read(targets=picture.targets)
        for name in ("demo", "demo-cross")
    )
    return first, second


def search(page: Page, words: str) -> None:
    page.locator(".overlay-bar button", has_text="Find words").click()
    page.locator(".query").fill(words)
    next_frame(page)


def test_pictures_for_people(open_page: Opener, demos: tuple[Reading, Reading]) -> None:
    demo, cross = demos
    for dark in (False, True):
        page = open_page(demo, width=1280, height=900, dark=dark)
        page.locator(".picture .stage").hover(position={"x": 330, "y": 330})
        shoot(page, "dark" if dark else "light")
    search(page, "apple, Apfel, 苹果")
    shoot(page, "search-dark")
    shoot(open_page(demo, cross, width=1440, height=900), "compare")
    narrow = open_page(demo, width=390, height=844)
    shoot(narrow, "narrow")
    narrow.evaluate("scrollTo(0, 900)")
    next_frame(narrow)
    assert shoot(narrow, "narrow-below").stat().st_size > 10_000


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("two", [False, True], ids=["one", "two"])
def test_nothing_sticks_out_at_the_side(open_page: Opener, width: int, two: bool) -> None:
    long = "Wortungetümesindinjederlängemöglich" * 8
    reading = make_reading(
        prompt=f"what is this? {long}", name=f"org/{long}", picture_name=f"{long}.png", steps=2
    )
    page = open_page(reading, make_reading(cross=True, layout="tiles") if two else None, width=width)
    search(page, f"cat, {long}")
    assert page.evaluate(OVERFLOW) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_stands_out_from_its_ground(open_page: Opener, dark: bool) -> None:
    page = open_page(make_reading(steps=2, notes=("a note",)), make_reading(cross=True), dark=dark)
    search(page, "cat, nonsense")
    page.locator(".stage").first.click(position={"x": 5, "y": 5})
    expect(page.locator(".cursor.pin").first).to_be_visible()
    assert page.evaluate(CONTRAST) == []


def test_tokens_that_print_alike_can_be_told_apart(open_page: Opener) -> None:
    words = ("<s>", "▁", "▁▁", " ", "\u00a0", "\u200b", "\n", "\t", "<0xE2>", "<0x0A>", "", "a", "а", "قطة")
    words += ("猫", "🦒")
    reading = make_reading(
        words=words, prompt_tokens=(11, 12, 13, 14), answer=(15, 2, 1), targets=(), k=len(words), n_layers=2
    )
    page = open_page(reading)
    shown = page.locator(".bars .word").all_inner_texts()
    titles = page.locator(".bars .word").evaluate_all("(words) => words.map((word) => word.title)")
    assert len(shown) == len(words)
    assert len(set(titles)) == len(words)
    plain = [text for text in shown if text not in ("a", "а")]
    assert len(set(plain)) == len(plain)
    assert all(text.strip() for text in shown)
    widths = page.locator(".bars .piece").evaluate_all("(pieces) => pieces.map((piece) => piece.offsetWidth)")
    assert min(widths) > 3
