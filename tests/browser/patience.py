"""Waiting for what a page is about to do, however busy the machine: for conditions, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from playwright.sync_api import Page

PATIENCE = 60_000  # ms; a net for what never comes, no measure of speed
LOOK_MS = 20
AWAIT_FRAME = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def next_frame(page: Page) -> None:
    """Wait until what was asked for is drawn."""
    page.evaluate(AWAIT_FRAME)


def expect_equal(page: Page, read: Callable[[], Any], wanted: Any) -> None:
    """Read again and again until the result is what is wanted; what cannot be read yet is not there yet."""
    end = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < end:
        with suppress(ValueError, IndexError):
            if read() == wanted:
                return
        page.wait_for_timeout(LOOK_MS)
    assert read() == wanted
