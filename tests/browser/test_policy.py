"""The page can load and send nothing, and the tests would notice if it did."""

from __future__ import annotations

from browser.pages import Opener
from browser.watch import Watch, settle
from readings import make_reading


def test_a_page_opens_without_a_word_of_complaint(open_page: Opener, watch: Watch) -> None:
    page = open_page(make_reading())
    assert page.locator("h1").is_visible()
    settle(page)
    assert watch.seen == []
