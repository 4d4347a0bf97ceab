"""A link brings back what was seen, and a wrong one does no harm."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from browser.pages import Opener
from browser.patience import expect_equal, next_frame
from readings import make_reading

# The page writes its address 250 ms after the last change: a timer set later and for longer rings after that.
WRITTEN = "() => new Promise((done) => setTimeout(() => done(location.href), 300))"
FOLLOWED = """(hash) => new Promise((done) => {
  addEventListener("hashchange", done, { once: true });
  location.hash = hash;
})"""


def settled(page: Page) -> str:
    """The address, once the page has written it."""
    next_frame(page)
    return page.evaluate(WRITTEN)


def change(page: Page) -> None:
    page.locator("input.layer").fill("1")
    page.locator(".overlay-bar button", has_text="Find words").click()
    page.locator(".query").fill("cat, 猫 & #1=%")
    page.locator(".overlay-bar select").select_option("rank")
    page.locator(".stage").click(position={"x": 5, "y": 5})
    page.locator(".bars .word").nth(1).click()


def seen(page: Page) -> list[str]:
    return [
        page.locator("input.layer").input_value(),
        page.locator(".query").input_value(),
        page.locator(".overlay-bar select").input_value(),
        page.locator(".legend").inner_text(),
        page.locator(".panel h2").inner_text(),
        page.locator(".bars").inner_text(),
        str(page.locator(".bars .word").nth(1).get_attribute("aria-pressed")),
        str(page.locator(".cursor.pin").bounding_box()),
    ]


def test_the_address_brings_everything_back(open_page: Opener) -> None:
    page = open_page(make_reading())
    assert "#" not in settled(page)
    change(page)
    page.mouse.move(2, 2)
    address, before = settled(page), seen(page)
    page.goto("about:blank")
    page.goto(address)
    expect(page.locator(".query")).to_have_value("cat, 猫 & #1=%")
    expect_equal(page, lambda: seen(page), before)


def test_the_button_copies_the_same_link(open_page: Opener) -> None:
    page = open_page(make_reading())
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    change(page)
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator(".status")).to_have_text("copied")
    assert page.evaluate("navigator.clipboard.readText()") == settled(page)


def test_a_changed_address_changes_the_page(open_page: Opener) -> None:
    page = open_page(make_reading())
    page.evaluate("location.hash = 'stop=2&show=entropy'")
    expect(page.locator(".layer-bar output")).to_have_text("2")
    expect(page.locator(".overlay-bar button", has_text="Entropy")).to_have_attribute("aria-pressed", "true")


def test_an_address_for_another_reading_does_no_harm(open_page: Opener) -> None:
    page = open_page(make_reading())
    started = page.locator("input.layer").input_value()
    page.evaluate(FOLLOWED, "stop=99&show=channel:none&pin=7.1&measure=x&%E0=%E0")
    next_frame(page)
    assert page.locator("input.layer").input_value() == started
    expect(page.get_by_role("button", name="Words", exact=True)).to_have_attribute("aria-pressed", "true")
