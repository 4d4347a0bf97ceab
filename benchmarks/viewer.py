"""Size of a page, time until it can be used, and time to redraw it, against a page as older tools write it.

Both show the same reading in one browser that is already running. First words are read back from both and
compared; only then is anything timed, in turn, each time in a new tab that had a blank page open.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from measure import machine, ratio, table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from browser.find import find_browser, is_root
from pages import older_page, real_reading
from patchlens.reading.reading import Reading
from patchlens.views.html import write_page
from patchlens.views.words import visible

OURS, OLDER = "patchlens", "one element per cell"
# rows and columns of patches, other positions; goals: MB of the file, ms until it can be used
SIZES = ((24, 24, 24, 0.7, 250), (52, 55, 20, 3.0, 350))
QUICK_SIZES = ((10, 10, 20, 0.7, 250),)
REDRAW_GOAL = 16  # ms
MODES = ("Words", "Entropy")
CHECKED = 12  # cells of which the first word is read back
# Frames as fast as they can be made, so that the rate of the screen hides nothing.
ARGUMENTS = ("--disable-gpu", "--disable-frame-rate-limit", "--disable-gpu-vsync")
USABLE = "() => performance.getEntriesByName('patchlens:ready')[0]?.startTime"
WHOLE = "() => performance.getEntriesByName('patchlens:whole')[0]?.startTime"
REST = 1000  # ms between a page's start and its first redraw, as before a person's first touch
FIRST_WORD = """async ([layer, x, y]) => {
  const slider = document.querySelector("input.layer");
  slider.value = layer;
  slider.dispatchEvent(new Event("input"));
  for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame);
  return (document.querySelector(".bars .word") ?? document.elementFromPoint(x, y)).textContent;
}"""
# For every layer: ms of script, and ms from the slider's event until the frame after the redrawn one begins.
SWEEP = """async () => {
  const frame = () => new Promise(requestAnimationFrame);
  const slider = document.querySelector("input.layer");
  const taken = [];
  for (let layer = 0; layer <= Number(slider.max); layer++) {
    for (let i = 0; i < 3; i++) await frame();
    slider.value = layer;
    const start = performance.now();
    slider.dispatchEvent(new Event("input"));
    await frame();
    await frame();
    const shown = performance.now() - start;
    taken.push([performance.getEntriesByName("patchlens:draw").at(-1).duration, shown]);
  }
  return taken;
}"""


def opened(browser: Browser, path: Path) -> Page:
    """The page in a new tab which had a blank page open, so that starting the tab is not counted."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    blank = path.with_name("blank.html")
    blank.touch()
    page.goto(blank.as_uri())
    page.goto(path.as_uri())
    page.wait_for_function(WHOLE)
    return page


def first_word(page: Page, reading: Reading, layer: int, patch: int) -> str:
    """What the page shows first at a layer and a patch, found as a person would: by pointing at it."""
    stage = page.locator(".stage").first.bounding_box()
    assert stage
    grid = reading.pictures[0].grid
    left, top, right, bottom = reading.positions.box[patch].tolist()
    x = stage["x"] + (left + right) / 2 / grid.width * stage["width"]
    y = stage["y"] + (top + bottom) / 2 / grid.height * stage["height"]
    page.mouse.move(x, y)
    return page.evaluate(FIRST_WORD, [layer, x, y])


def check(browser: Browser, paths: Sequence[Path], reading: Reading) -> None:
    """Assert that the pages say the same first words as the reading at a sample of layers and patches."""
    random = np.random.default_rng(1)
    patches = random.choice(np.flatnonzero(reading.positions.kind == "patch"), CHECKED)
    layers = random.integers(0, len(reading.layers), CHECKED)
    for path in paths:
        page = opened(browser, path)
        for layer, patch in zip(layers.tolist(), patches.tolist(), strict=True):
            truth = visible(reading.pieces[int(reading.top_ids[layer, patch, 0])])
            shown = first_word(page, reading, layer, patch)
            assert shown.strip("‹›") == truth.strip("‹›"), f"{path.name} says {shown}, not {truth}"
        page.close()


def measure(browser: Browser, path: Path) -> dict[str, float]:
    """Time one page once: until it can be used, until all of it is there, then redraws in each mode."""
    page = opened(browser, path)
    taken = {
        "file, MB": path.stat().st_size / 1e6,
        "usable after, ms": page.evaluate(USABLE),
        "all there after, ms": page.evaluate(WHOLE),
    }
    page.wait_for_timeout(REST)
    for mode in MODES:
        page.locator("button", has_text=mode).first.click()
        script, shown = np.array(page.evaluate(SWEEP)).T
        redraw = f"redraw, {mode.lower()}"
        taken[f"{redraw}: script, ms"] = float(np.median(script))
        taken[f"{redraw}: script of the slowest layer, ms"] = float(script.max())
        taken[f"{redraw}: until the next frame, ms"] = float(np.median(shown))
    page.close()
    return taken


def report(browser: Browser, size: tuple[int, int, int, float, float], rounds: int, folder: Path) -> str:
    """Check and time both pages of one reading; return a Markdown table."""
    rows, cols, others, megabytes, usable = size
    reading = real_reading(rows, cols, others)
    ours, older = write_page(reading, folder / "ours.html"), folder / "older.html"
    older.write_text(older_page(reading), "utf-8")
    check(browser, (ours, older), reading)
    taken = [(measure(browser, ours), measure(browser, older)) for _ in range(rounds)]
    goals = {"file, MB": megabytes, "usable after, ms": usable}
    lines = []
    for quantity in taken[0][0]:
        goal = goals.get(quantity, REDRAW_GOAL if "script" in quantity else "")
        lines.append((quantity, str(goal), *compared([(a[quantity], b[quantity]) for a, b in taken])))
    layers, positions, k = reading.top_ids.shape
    title = f"{positions} positions, {layers} layers, top {k}, {rounds} rounds"
    return f"### {title}\n\n{table(('', 'goal', OURS, OLDER, 'ratio'), lines)}\n"


def compared(rounds: Sequence[tuple[float, float]]) -> tuple[str, str, str]:
    """What our page and the older one take, and how many times ours the older one takes."""
    ours, older = zip(*rounds, strict=True)
    return spread(ours), spread(older), rounded(ratio(older, ours))


def spread(values: Sequence[float]) -> str:
    """Median, and lowest and highest where they differ."""
    low, middle, high = rounded(min(values)), rounded(median(values)), rounded(max(values))
    return middle if low == high else f"{middle} ({low} to {high})"


def rounded(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small reading only")
    parser.add_argument("--rounds", type=int, default=7, help="ratios are medians over rounds")
    options = parser.parse_args()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(
            executable_path=find_browser(), args=ARGUMENTS, chromium_sandbox=not is_root()
        )
        load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
        print(f"{machine()}; Chromium {browser.version}; load {load} before\n")
        for size in QUICK_SIZES if options.quick else SIZES:
            print(report(browser, size, options.rounds, Path(folder)), flush=True)
        browser.close()
    print(f"load {', '.join(f'{value:.1f}' for value in os.getloadavg())} after")


if __name__ == "__main__":
    main()
