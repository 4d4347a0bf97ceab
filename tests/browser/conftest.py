"""Pages in a real browser: no network, and whatever a page does that it must not do fails its test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from browser.find import BrowserMissingError, find_browser, is_root
from browser.pages import Opener
from browser.patience import PATIENCE
from browser.watch import Watch

# Playwright's own arguments already keep a browser from updating itself and from calling home.
ARGUMENTS = ("--disable-gpu", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND")


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One browser for all tests of this folder."""
    try:
        program = find_browser()
    except BrowserMissingError as missing:
        pytest.fail(str(missing), pytrace=False)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=program, args=ARGUMENTS, chromium_sandbox=not is_root(), timeout=PATIENCE
        )
        expect.set_options(timeout=PATIENCE)
        yield started
        started.close()


@pytest.fixture
def watch() -> Watch:
    """What the pages of a test did that they must not do; what the test does not take fails it."""
    return Watch()


@pytest.fixture
def open_page(browser: Browser, watch: Watch, tmp_path: Path) -> Iterator[Opener]:
    """Opens the page of a reading: ``open_page(reading, width=700, dark=True)``."""
    opener = Opener(browser, watch, tmp_path)
    yield opener
    opener.close()
    assert watch.seen == [], "the page did what it must not do"
