"""Every patch is pointed at, marked and coloured where the picture has it, whatever a processor did."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from browser.pages import Opener
from browser.patience import expect_equal
from patchlens.pictures.grid import (
    Canvas,
    Grid,
    boxes,
    centred,
    padded_square,
    patch_places,
    single_grid,
    tiled_grid,
)
from patchlens.reading.reading import Reading
from patchlens.run import Model, load
from readings import make_picture, make_reading
from tiny import tiny_qwen_vl

Boxes = NDArray[np.float64]
BORDERS = 4  # CSS pixels; a mark is never thinner than its own borders
# Left, top, right and bottom of the mark and of the picture, in CSS pixels of the window.
MARKED = """async (stage) => {
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const marks = [...stage.querySelectorAll(".cursor.hover")].filter((cursor) => !cursor.hidden);
  return [...marks, stage.querySelector("img")].map((node) => {
    const { left, top, right, bottom } = node.getBoundingClientRect();
    return [left, top, right, bottom];
  });
}"""


def real_grids() -> list[Grid]:
    """A picture as the processors of real models cut it."""
    whole = Canvas.of(301, 170)
    return [
        single_grid(301, 170, centred(whole.resized(595, 336), 336, 336), 56),
        single_grid(301, 170, padded_square(whole).resized(336, 336), 48),
        single_grid(301, 170, whole.resized(308, 168), 28),
        tiled_grid(301, 170, whole.resized(600, 339).window(0, 0, 672, 672), (336, 336), 84),
    ]


def reading_on(grid: Grid) -> Reading:
    """A small reading whose patches lie on a given grid."""
    plain = make_reading(rows=grid.rows, cols=grid.cols, size=(grid.width, grid.height), n_layers=1)
    places = patch_places(grid, 0)
    columns = {}
    for name in ("kind", "image", "tile", "row", "col", "box"):
        columns[name] = getattr(plain.positions, name).copy()
        columns[name][1 : 1 + len(places)] = getattr(places, name)
    moved = replace(plain.positions, **columns)
    return replace(plain, positions=moved, pictures=(make_picture(grid),))


READINGS = [
    make_reading(rows=3, cols=3, size=(90, 90)),
    make_reading(rows=5, cols=2, size=(60, 150)),
    make_reading(layout="crop", rows=3, cols=3, size=(161, 97)),
    make_reading(layout="pad", rows=4, cols=4, size=(160, 100)),
    make_reading(layout="tiles", rows=3, cols=4, size=(203, 60)),
    make_reading(pictures=2, rows=2, cols=3, size=(120, 70)),
    make_reading(cross=True, layout="tiles", rows=2, cols=4, size=(120, 70)),
    *map(reading_on, real_grids()),
]


def read_ones() -> list[Reading]:
    """Readings of real passes: merged patches of Qwen2.5-VL in two pictures, tiles of demo-cross in one."""
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 210, 3), np.uint8))
    qwen = Model(tiny_qwen_vl()).trace([wide, wide.resize((60, 100))], "look", max_new_tokens=1)
    cross = load("demo-cross").trace(wide.resize((280, 140)), "What is this?", max_new_tokens=1)
    return [qwen.read(top_k=3), cross.read(top_k=3)]


def scaled(box: Boxes, grid: Grid, shown: list[float]) -> Boxes:
    """Where boxes in pixels of a picture lie in a window that shows the picture as ``shown``."""
    left, top, right, bottom = shown
    scale = np.array([(right - left) / grid.width, (bottom - top) / grid.height] * 2)
    return box * scale + np.array([left, top] * 2)


def place_of(stage: Locator) -> list[float]:
    """Left, top, right and bottom of a stage in the window."""
    box = stage.bounding_box()
    assert box
    return [box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]]


def check_marks(page: Page, stage: Locator, grid: Grid) -> None:
    """Point at the middle of some patches, the first and the last among them, and see what is marked."""
    seen = boxes(grid).reshape(-1, 4)
    seen = seen[np.isfinite(seen[:, 0])]
    for box in seen[np.unique(np.linspace(0, len(seen) - 1, 5).round().astype(int))]:
        left, top, right, bottom = scaled(box, grid, place_of(stage))
        page.mouse.move((left + right) / 2, (top + bottom) / 2)
        expect_equal(page, lambda box=box: off(stage, box, grid), pytest.approx(0, abs=1))


def off(stage: Locator, box: Boxes, grid: Grid) -> float:
    """How far a side of the one mark lies from where a box of the picture has it, in CSS pixels."""
    mark, shown = stage.evaluate(MARKED)
    expected = scaled(box, grid, shown)
    expected[2:] = np.maximum(expected[2:], expected[:2] + BORDERS)
    return float(np.abs(mark - expected).max())


@pytest.fixture(scope="module")
def real_readings() -> list[Reading]:
    """One of two pictures, one of a picture in several tiles."""
    qwen, cross = read_ones()
    assert len(qwen.pictures) == 2
    assert len(cross.pictures[0].grid.tiles) > 1
    return [qwen, cross]


@pytest.mark.parametrize("zoom", [1.0, 1.5, 2.0])
def test_the_patch_under_the_pointer_is_marked_where_it_lies(
    zoom: float, open_page: Opener, real_readings: list[Reading]
) -> None:
    page = None
    for reading in [*READINGS, *real_readings]:
        page = open_page(reading, width=int(1300 / zoom), height=2600, zoom=zoom, into=page)
        for image, picture in enumerate(reading.pictures):
            check_marks(page, page.locator(f"section.pane [data-image='{image}'] .stage"), picture.grid)


def test_nothing_is_marked_where_the_model_sees_nothing(open_page: Opener) -> None:
    page = open_page(make_reading(layout="crop", rows=3, cols=3, size=(161, 97)))
    stage = page.locator(".stage")
    left, top, right, bottom = place_of(stage)
    for outside in (left + 5, right - 5):
        for x, marked in (((left + right) / 2, 1), (outside, 0)):
            page.mouse.move(x, (top + bottom) / 2)
            expect(stage.locator(".cursor.hover:not([hidden])")).to_have_count(marked)


@pytest.mark.parametrize("zoom", [1.0, 1.5, 2.0])
def test_a_patch_is_coloured_where_it_lies(zoom: float, open_page: Opener) -> None:
    reading = reading_on(real_grids()[0])
    chosen = int(np.flatnonzero(reading.positions.kind == "patch")[16])
    alone = np.full_like(reading.entropy, np.nan)
    alone[:, chosen] = 1.0
    page = open_page(replace(reading, entropy=alone), zoom=zoom)
    page.locator(".overlay-bar button", has_text="Entropy").click()
    expect(page.locator(".stage")).to_have_attribute("data-drawing", "field")
    stage = [zoom * value for value in place_of(page.locator(".stage"))]
    expected = scaled(reading.positions.box[chosen], reading.pictures[0].grid, stage)
    # Colours end on whole CSS pixels.
    wanted = pytest.approx(expected.tolist(), abs=zoom)
    expect_equal(page, lambda: coloured(page, page.locator(".stage")), wanted)


def coloured(page: Page, stage: Locator) -> list[int]:
    """Left, top, right and bottom of all that is not grey in a stage, in pixels of the screen."""
    zoom = page.evaluate("devicePixelRatio")
    left, top, right, bottom = (round(zoom * value) for value in place_of(stage))
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    pixels = np.asarray(shot.crop((left, top, right, bottom)), np.int16)
    rows, cols = np.nonzero(np.ptp(pixels, axis=-1) > 40)
    return [left + cols.min(), top + rows.min(), left + cols.max() + 1, top + rows.max() + 1]
