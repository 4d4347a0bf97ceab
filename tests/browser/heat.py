"""Searching words in a page, and the colours that this gives its patches."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Locator, Page

from browser.patience import next_frame

# A browser complains of a page's canvas that is read again and again, but not of a copy made for it.
PATCH_PIXELS = """(canvas, [rows, cols]) => {
  const { width, height } = canvas;
  const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const middle = (index, count, size) => Math.floor(((index + 0.5) * size) / count);
  const pixel = (x, y) => [...copy.getImageData(x, y, 1, 1).data];
  return Array.from({ length: rows }, (_, row) =>
    Array.from({ length: cols }, (_, col) => pixel(middle(col, cols, width), middle(row, rows, height))));
}"""


def search(page: Page, words: str, measure: str = "logprob") -> None:
    """Find words on the picture."""
    page.keyboard.press("/")
    page.locator(".query").fill(words)
    page.locator(".overlay-bar select").select_option(measure)
    next_frame(page)


def go_to_layer(page: Page, layer: int) -> None:
    """Move the slider, and wait until the layer is drawn."""
    page.locator("input.layer").fill(str(layer))
    next_frame(page)


def patch_pixels(canvas: Locator, rows: int, cols: int) -> NDArray[Any]:
    """Red, green, blue and alpha at the middle of each patch, where patches cover the canvas evenly."""
    return np.array(canvas.evaluate(PATCH_PIXELS, [rows, cols]))
