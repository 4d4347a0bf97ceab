"""The page without a mouse, and what a screen reader is told."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from browser.pages import Opener
from readings import make_reading

FOCUS_SHOWN = """() => {
  const style = getComputedStyle(document.activeElement);
  return [style.outlineStyle, style.boxShadow];
}"""


def focused(page: Page) -> str:
    return page.evaluate("document.activeElement.className + ' ' + document.activeElement.tagName")


def test_arrows_move_over_patches_enter_pins_and_page_keys_change_the_layer(open_page: Opener) -> None:
    page = open_page(make_reading(rows=3, cols=4))
    page.locator("input.layer").fill("2")
    page.locator(".stage").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".panel h2")).to_have_text("Patch row 0, column 0")
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "ArrowUp", "ArrowLeft", "ArrowUp"):
        page.keyboard.press(key)
    expect(page.locator(".panel h2")).to_have_text("Patch row 0, column 1")
    page.keyboard.press("Enter")
    expect(page.locator(".cursor.pin")).to_be_visible()
    page.keyboard.press("PageDown")
    expect(page.locator(".layer-bar output")).to_have_text("3")
    page.keyboard.press("Escape")
    expect(page.locator(".cursor.pin")).to_be_hidden()


def test_keys_of_the_whole_page(open_page: Opener) -> None:
    page = open_page(make_reading(n_layers=6))
    page.locator("input.layer").fill("3")
    page.locator("input.layer").blur()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".layer-bar output")).to_have_text("4")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".layer-bar output")).to_have_text("2")
    page.keyboard.press("/")
    expect(page.locator(".query")).to_be_focused()
    page.keyboard.type("cat/p?")
    expect(page.locator(".query")).to_have_value("cat/p?")
    expect(page.locator(".layer-bar output")).to_have_text("2")
    page.locator(".query").blur()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()


def test_the_sequence_is_walked_by_arrow_keys(open_page: Opener) -> None:
    page = open_page(make_reading())
    page.locator(".strip button.text").first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".panel h2")).to_contain_text("▁is")
    page.keyboard.press("Enter")
    expect(page.locator(".strip [aria-pressed=true]")).to_have_text("▁is")


def test_everything_can_be_reached_by_tab_and_shows_that_it_is(open_page: Opener) -> None:
    page = open_page(make_reading(steps=2))
    reached: set[str] = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        at = focused(page)
        if at.endswith("BODY") and reached:
            break
        reached.add(at.split()[0] if at.split() else at)
        if not at.endswith("BODY"):
            width, shadow = page.evaluate(FOCUS_SHOWN)
            assert width != "none" or shadow != "none", f"no focus is seen on {at}"
    assert {"play", "layer", "stage", "word"} <= reached


def test_every_control_has_a_name_and_ids_are_unique(open_page: Opener) -> None:
    page = open_page(make_reading(steps=2), make_reading(pictures=0))
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, summary, [role], [tabindex]")]
          .filter((node) => !(node.getAttribute("aria-label") || node.getAttribute("aria-labelledby")
            || node.textContent.trim() || node.labels?.length) && node.getAttribute("role") !== "status"
            && !node.closest("[hidden]"))
          .map((node) => node.outerHTML.slice(0, 100))"""
    )
    assert nameless == []
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(ids) == len(set(ids))
    headings = page.evaluate(
        "[...document.querySelectorAll('h1, h2')].map((node) => node.textContent.trim())"
    )
    assert all(headings)


def test_a_screen_reader_is_told_what_is_read_at_a_patch(open_page: Opener) -> None:
    reading = make_reading()
    page = open_page(reading)
    page.locator("input.layer").fill("2")
    page.locator(".stage").focus()
    page.keyboard.press("ArrowDown")
    live = page.locator(".panel [aria-live]")
    expect(live).to_contain_text("patch row 0, column 0, layer 2:")
    best = reading.top(2, int(reading.positions.index[reading.patch_row(0, 0)]))[0]
    expect(live).to_contain_text("%")
    assert best.piece.strip("▁ \n\t")[:2] in live.inner_text() or not best.piece.strip("▁ \n\t")


def test_the_focus_stays_where_it_is_when_a_part_is_made_anew(open_page: Opener) -> None:
    page = open_page(make_reading(steps=2))
    word = page.locator(".bars .word").nth(1)
    word.focus()
    page.keyboard.press("Enter")
    expect(word).to_have_attribute("aria-pressed", "true")
    expect(word).to_be_focused()
    chip = page.locator(".chips button").nth(1)
    chip.focus()
    page.keyboard.press("Enter")
    expect(chip).to_have_attribute("aria-pressed", "true")
    expect(chip).to_be_focused()
