"""The page starts once it has drawn, and says what is missing in a browser that is too old."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from browser.pages import Opener
from browser.watch import Watch
from patchlens.views.html import write_page
from readings import make_reading


def test_the_page_is_marked_ready_when_it_has_drawn(open_page: Opener) -> None:
    page = open_page(make_reading(), make_reading(cross=True, n_layers=7))
    assert page.evaluate("performance.getEntriesByName('patchlens:ready').length") == 1
    assert page.locator("h1").count() == 2
    assert page.title() == "what is this? · demo · patchlens"


def test_a_browser_that_is_too_old_says_so(open_page: Opener, watch: Watch, tmp_path: Path) -> None:
    page = open_page.text("<!doctype html>")
    page.add_init_script("delete window.DecompressionStream")
    path = write_page(make_reading(), tmp_path / "page.html")
    watch.allowed.add(path.as_uri())
    page.goto(path.as_uri())
    expect(page.locator("body")).to_contain_text("could not be shown: DecompressionStream is not defined")
    expect(page.locator("body")).to_contain_text("It needs a browser of 2024 or later.")
    assert watch.taken("error")
    assert page.evaluate("performance.getEntriesByName('patchlens:ready').length") == 0
