"""The matrix of positions by layers: what it draws, lists and finds, and its ties to the rest of the page."""

from __future__ import annotations

import csv
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from browser.pages import Opener
from browser.patience import expect_equal, next_frame
from patchlens.reading.reading import Reading
from readings import HOSTILE, WORDS, make_reading

# As in viewer/src/matrix/layout.ts, on a wide page.
HEAD, TOP, LINE = 158, 26, 21
# Names of the pieces among the samples that cannot be shown as they are.
CODES = {"\n": "LF", "\t": "TAB", "<0xE2>": "E2", "<0x0A>": "0A"}


def cells(page: Page) -> Locator:
    return page.locator(".matrix .cells")


def data(page: Page, name: str) -> str:
    """What the matrix says it has drawn, once it has caught up with all that happened."""
    next_frame(page)
    return cells(page).get_attribute(f"data-{name}") or ""


def expect_data(page: Page, **wanted: object) -> None:
    """Wait until the matrix says that it has drawn what is wanted."""
    for name, value in wanted.items():
        expect(cells(page)).to_have_attribute(f"data-{name}", str(value))


def width(page: Page, n_layers: int) -> int:
    room = page.evaluate("document.querySelector('.matrix .cells').clientWidth")
    return min(max((room - HEAD) // n_layers, 58), 132)


def spot(page: Page, row: int, column: int, n_layers: int) -> tuple[float, float]:
    """The middle of a cell on the screen; -1 stands for the header row or the first column."""
    grid = cells(page)
    grid.scroll_into_view_if_needed()
    box = grid.bounding_box()
    assert box
    left, top = page.evaluate(
        "(({ scrollLeft, scrollTop }) => [scrollLeft, scrollTop])(document.querySelector('.cells'))"
    )
    cell = width(page, n_layers)
    x = 20 if column < 0 else HEAD + (column + 0.5) * cell - left
    y = TOP / 2 if row < 0 else TOP + (row + 0.5) * LINE - top
    return box["x"] + x, box["y"] + y


def drawn(page: Page) -> np.ndarray:
    """The pixels of the matrix as a screenshot shows them."""
    return np.asarray(Image.open(io.BytesIO(cells(page).screenshot())).convert("RGB")).astype(int)


@pytest.fixture
def reading() -> Reading:
    return make_reading(rows=6, cols=8, n_layers=8, k=6, steps=3)


def test_a_patch_under_the_pointer_lights_its_row(open_page: Opener, reading: Reading) -> None:
    page = open_page(reading, height=2600)
    box = page.locator(".stage").bounding_box()
    assert box
    next_frame(page)
    before = drawn(page)
    page.mouse.move(box["x"] + 1.5 * box["width"] / 8, box["y"] + 0.5 * box["height"] / 6)
    position = reading.patch_row(0, 1)
    expect_data(page, hovered=position)
    top = TOP + position * LINE

    def lit() -> bool:
        changed = (drawn(page) != before).any(-1)
        rows = [part.any(1).nonzero()[0] for part in (changed[:, : HEAD - 10], changed[:, HEAD + 10 :])]
        return all(
            top - 4 <= part.min() <= top + 1 and top + LINE - 2 <= part.max() <= top + LINE + 4
            for part in rows
        )

    expect_equal(page, lit, True)
    page.mouse.move(2, 2)
    expect_data(page, hovered="")
    expect_equal(page, lambda: np.array_equal(drawn(page), before), True)


def test_a_cell_under_the_pointer_lights_its_patch_and_tells_its_words(
    open_page: Opener, reading: Reading
) -> None:
    page = open_page(reading, height=2600)
    position = reading.patch_row(1, 2)
    page.mouse.move(*spot(page, position, 3, 9))
    expect(page.locator(".cursor.hover")).to_be_visible()
    expect_data(page, hovered=position)
    expect(page.locator(".panel h2")).to_have_text("Patch row 1, column 2")
    tip = page.locator(".tip")
    expect(tip).to_contain_text("row 1, col 2")
    expect(tip).to_contain_text("layer 3")
    top = reading.top(3, position)
    expect(tip.locator("li")).to_have_count(6)
    lines = tip.locator("li").all_inner_texts()
    assert len(lines) == len(top) == 6
    for line, candidate in zip(lines, top, strict=True):
        share = float(line.rsplit("\n", 1)[-1].rstrip("%")) / 100
        assert share == pytest.approx(np.exp(candidate.logprob), rel=0.06, abs=0.006)
    pieces = tip.locator("li .piece").all_inner_texts()
    assert pieces == [CODES.get(candidate.piece, candidate.piece) for candidate in top]
    page.mouse.move(2, 2)
    expect(tip).to_be_hidden()


@pytest.mark.parametrize("size", [1280, 390])
def test_the_words_of_a_cell_stay_inside_the_card(open_page: Opener, reading: Reading, size: int) -> None:
    page = open_page(reading, width=size, height=900)
    page.locator(".matrix").scroll_into_view_if_needed()
    box = cells(page).bounding_box()
    card = page.locator(".matrix").bounding_box()
    assert box
    assert card
    for x in (box["width"] - 20, 170):
        for y in (40, box["height"] - 10):
            page.mouse.move(box["x"] + x, box["y"] + y)
            expect(page.locator(".tip")).to_be_visible()
            next_frame(page)
            tip = page.locator(".tip").bounding_box()
            assert tip
            assert tip["x"] >= card["x"]
            assert tip["y"] >= card["y"]
            assert tip["x"] + tip["width"] <= card["x"] + card["width"] + 1
            assert tip["y"] + tip["height"] <= card["y"] + card["height"] + 1


def test_a_click_pins_the_position_and_goes_to_the_layer(open_page: Opener, reading: Reading) -> None:
    page = open_page(reading, height=2600)
    position = reading.patch_row(0, 3)
    page.mouse.click(*spot(page, position, 2, 9))
    expect_data(page, pinned=position, layer=2)
    expect(page.locator(".layer-bar output")).to_have_text("2")
    expect(page.locator(".cursor.pin")).to_be_visible()
    page.mouse.click(*spot(page, position, 5, 9))
    expect_data(page, pinned=position, layer=5)
    page.mouse.click(*spot(page, position, 5, 9))
    expect_data(page, pinned="", layer=5)
    page.mouse.click(*spot(page, -1, 0, 9))
    expect_data(page, pinned="", layer=0)
    page.mouse.click(*spot(page, 4, -1, 9))
    expect_data(page, pinned=4, layer=0)


def test_a_tap_pins(open_page: Opener, reading: Reading) -> None:
    page = open_page(reading, height=2600)
    x, y = spot(page, 7, 4, 9)
    touch = {"pointerType": "touch", "clientX": x, "clientY": y, "bubbles": True}
    cells(page).dispatch_event("pointermove", touch)
    expect_data(page, hovered="")
    cells(page).dispatch_event("click", touch)
    expect_data(page, pinned=7, layer=4)


def test_what_is_pinned_elsewhere_comes_into_view(open_page: Opener) -> None:
    reading = make_reading(rows=20, cols=20, n_layers=32, size=(200, 200))
    page = open_page(reading, height=2600)
    box = page.locator(".stage").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] - 4, box["y"] + box["height"] - 4)
    expect_data(page, first=0)
    page.mouse.click(box["x"] + box["width"] - 4, box["y"] + box["height"] - 4)
    position = reading.patch_row(19, 19)
    expect_data(page, pinned=position)
    expect_equal(page, lambda: position - 20 < int(data(page, "first")) < position, True)
    page.locator("input.layer").fill("0")
    expect_data(page, layer=0)
    expect_equal(page, lambda: page.evaluate("document.querySelector('.cells').scrollLeft"), 0)
    assert page.evaluate("document.querySelector('.cells').scrollTop") > 0


def test_filters_list_positions_of_their_kind(open_page: Opener, reading: Reading) -> None:
    page = open_page(reading)
    kinds, generated = reading.positions.kind, reading.positions.generated
    wanted = {
        "All": kinds.size,
        "Patches": (kinds == "patch").sum(),
        "Text": (np.isin(kinds, ("text", "special")) & ~generated).sum(),
        "Generated": generated.sum(),
    }
    for name, count in wanted.items():
        page.locator(".matrix .segments button", has_text=name).click()
        expect_data(page, rows=count)
        expect(page.locator(".matrix .count")).to_have_text(f"{count} of {kinds.size} positions")
    expect_data(page, first=np.flatnonzero(generated)[0])


def test_filters_without_rows_are_not_offered(open_page: Opener) -> None:
    page = open_page(make_reading(pictures=0))
    assert page.locator(".matrix .segments button").all_inner_texts() == ["All", "Text"]


def test_only_rows_that_hold_the_words_looked_for_are_listed(open_page: Opener, reading: Reading) -> None:
    page = open_page(reading)
    page.locator(".matrix .find").fill("katze, 猫")
    ids = [WORDS.index(word) for word in ("▁Katze", "猫")]
    held = np.isin(reading.top_ids, ids).any((0, 2)) | np.isin(reading.positions.token, ids)
    expect_data(page, rows=held.sum())
    assert 0 < held.sum() < held.size
    expect_data(page, first=np.flatnonzero(held)[0])
    page.locator(".matrix .find").fill("giraffes")
    expect(page.locator(".matrix .count")).to_contain_text("giraffes by its start “giraffe”")
    page.locator(".matrix .find").fill("zebra")
    expect(page.locator(".matrix .count")).to_have_text(f"0 of {held.size} positions; in no top 6: zebra")
    expect_data(page, rows=0)


def test_cells_with_the_words_looked_for_are_outlined(open_page: Opener, reading: Reading) -> None:
    page = open_page(reading, height=2600)
    page.locator(".matrix .find").fill("cat")
    ids = [WORDS.index(word) for word in ("cat", "▁cat", "▁Cat")]
    held = np.isin(reading.top_ids, ids).any(-1)
    listed = np.flatnonzero(held.any(0) | np.isin(reading.positions.token, ids))
    expect_data(page, rows=len(listed))
    next_frame(page)
    looked_for = drawn(page)
    cell = width(page, 9)
    for row, position in enumerate(listed[:10]):
        for column in range(9):
            # To the right of the word; the card may stand between two pixels, so that rows are off by one.
            right, y = HEAD + (column + 1) * cell, TOP + row * LINE
            strip = looked_for[y : y + LINE, right - 18 : right - 8]
            outlined = np.abs(strip[1:4] - strip[10]).sum(-1).min(1).max() > 100
            assert outlined == held[column, position], (row, column)


@pytest.mark.parametrize("colour", ["probability", "entropy", "kl", "rank", "overlay"])
def test_colours_are_told_and_drawn(open_page: Opener, reading: Reading, colour: str) -> None:
    page = open_page(reading, height=2600)
    page.locator(".overlay-bar button", has_text="Entropy").click()
    page.get_by_label("Colour of the cells").select_option("probability" if colour != "probability" else "kl")
    data(page, "rows")
    before = drawn(page)
    page.get_by_label("Colour of the cells").select_option(colour)
    data(page, "rows")
    expect_equal(page, lambda: np.array_equal(drawn(page), before), False)
    expect(page.locator(".matrix .key .ramp")).to_be_visible()
    key = page.locator(".matrix .key").inner_text().split("\n")
    if colour == "entropy":
        assert float(key[0].split()[0]) == pytest.approx(reading.entropy.min(), abs=0.02)
        assert float(key[1].split()[0]) == pytest.approx(reading.entropy.max(), abs=0.02)
    if colour == "rank":
        assert key[1] == "rank 1"


def test_the_key_says_whether_something_lies_over_the_picture_to_colour_by(open_page: Opener) -> None:
    page = open_page(make_reading())
    page.get_by_label("Colour of the cells").select_option("overlay")
    expect(page.locator(".matrix .key")).to_have_text("nothing but words lies over the picture")
    page.locator(".overlay-bar button", has_text="Entropy").click()
    expect(page.locator(".matrix .key")).to_contain_text("entropy, coloured as over the picture")


def test_keys_move_a_cell_that_is_told_and_pin_it(open_page: Opener, reading: Reading) -> None:
    page = open_page(reading)
    page.locator(".matrix select").focus()
    page.keyboard.press("Tab")
    grid = page.get_by_role("grid", name="The likeliest word by position and layer")
    expect(grid).to_be_focused()
    assert grid.get_attribute("aria-rowcount") == str(len(reading.positions.kind) + 1)
    assert grid.get_attribute("aria-colcount") == "10"
    layer = page.locator(".layer-bar output").inner_text()
    for key in (
        "Control+Home",
        "ArrowDown",
        "ArrowRight",
        "ArrowRight",
        "ArrowLeft",
        "PageDown",
        "PageUp",
        "End",
        "ArrowRight",
    ):
        page.keyboard.press(key)
    expect_data(page, hovered=1)
    assert page.locator(".layer-bar output").inner_text() == layer
    told = page.locator(f"#{grid.get_attribute('aria-activedescendant')}")
    top = reading.top(8, 1)[0]
    expect(told).to_have_text(
        f"patch row 0, column 0, layer 8 (last): {top.piece} {100 * np.exp(top.logprob):.0f}%"
    )
    assert told.get_attribute("aria-colindex") == "10"
    assert told.locator("..").get_attribute("aria-rowindex") == "3"
    expect(page.locator(".tip")).to_contain_text("layer 8")
    page.keyboard.press("Enter")
    expect_data(page, pinned=1, layer=8)
    page.keyboard.press("Escape")
    expect_data(page, pinned="")
    page.keyboard.press("Tab")
    expect(page.locator(".tip")).to_be_hidden()
    expect(grid).not_to_have_attribute("aria-activedescendant", re.compile(""))


def test_the_active_cell_is_kept_in_view_whatever_the_pointer_rests_on(open_page: Opener) -> None:
    reading = make_reading(rows=20, cols=20, n_layers=32, size=(200, 200))
    page = open_page(reading)
    page.mouse.click(*spot(page, 3, 31, 33))
    for _ in range(40):
        page.keyboard.press("ArrowDown")
    expect_data(page, hovered=43)
    expect_equal(page, lambda: 43 - 20 < int(data(page, "first")) <= 43, True)


def test_scrolling_turns_to_what_comes_under_the_pointer(open_page: Opener) -> None:
    page = open_page(make_reading(rows=20, cols=20, size=(200, 200)))
    page.mouse.move(*spot(page, 5, 1, 5))
    expect_data(page, hovered=5)
    page.mouse.wheel(0, 50 * LINE)
    page.wait_for_function("() => document.querySelector('.cells').scrollTop > 40")
    expect_equal(page, lambda: int(data(page, "hovered")) - int(data(page, "first")), 5)
    expect(page.locator(".tip small").first).to_have_text("layer 1")


def test_a_large_matrix_is_drawn_in_parts(open_page: Opener) -> None:
    page = open_page(make_reading(rows=48, cols=60, n_layers=32, size=(600, 480)))
    sizes = page.evaluate("""() => {
      const grid = document.querySelector('.matrix .cells');
      const { width, height } = grid.querySelector('canvas');
      return [width, height, grid.clientWidth, grid.clientHeight, grid.scrollWidth, grid.scrollHeight];
    }""")
    assert sizes[0] <= sizes[2]
    assert sizes[1] <= sizes[3]
    assert sizes[4:] == [HEAD + 33 * 58, TOP + 2886 * LINE]
    times = page.evaluate("""async () => {
      const times = [], grid = document.querySelector('.matrix .cells');
      for (let i = 0; i < 30; i++) {
        grid.scrollTop += 1999;
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
        times.push(performance.getEntriesByName('patchlens:matrix')[0].duration);
      }
      return times.sort((a, b) => a - b);
    }""")
    print(f"a redraw after scrolling: median {times[15]:.1f} ms, longest {times[-1]:.1f} ms")
    expect_data(page, first=30 * 1999 // LINE)
    assert int(data(page, "drawn")) <= 20 * 20
    assert len(np.unique(drawn(page).reshape(-1, 3), axis=0)) > 50


def test_the_canvas_is_as_sharp_as_the_screen_and_follows_the_size(
    open_page: Opener, reading: Reading
) -> None:
    page = open_page(reading, zoom=2)
    measure = """(() => {
      const { width, clientWidth, clientHeight } = document.querySelector('.cells canvas');
      return [width / clientWidth, clientHeight];
    })()"""
    expect_equal(page, lambda: page.evaluate(measure), [2, 420])
    page.evaluate("document.querySelector('.cells').style.height = '300px'")
    page.wait_for_function("() => document.querySelector('.cells canvas').clientHeight === 300")
    page.set_viewport_size({"width": 800, "height": 900})
    page.wait_for_function("() => document.body.scrollWidth <= document.body.clientWidth")


def test_the_theme_of_the_page_is_that_of_the_matrix(open_page: Opener, reading: Reading) -> None:
    page = open_page(reading)
    expect_equal(page, lambda: drawn(page)[5, 5].min() > 200, True)
    page.emulate_media(color_scheme="dark")
    expect_equal(page, lambda: drawn(page)[5, 5].max() < 60, True)


def test_strange_text_is_drawn_and_told_as_text(open_page: Opener) -> None:
    page = open_page(make_reading(words=WORDS + HOSTILE, steps=2), height=2600)
    cells(page).focus()
    for column in range(5):
        page.mouse.move(*spot(page, 3, column, 5))
        expect(page.locator(".tip")).to_be_visible()
    assert page.locator(".matrix script, .matrix img").count() == 0


def test_what_is_listed_can_be_saved(open_page: Opener, reading: Reading) -> None:
    page = open_page(reading)
    page.locator(".matrix .segments button", has_text="Generated").click()
    page.locator(".matrix summary").click()
    with page.expect_download() as waiting:
        page.locator(".matrix details[open] button", has_text="CSV").click()
    lines = list(csv.DictReader(io.StringIO(waiting.value.path().read_text("utf-8"), newline="")))
    generated = np.flatnonzero(reading.positions.generated)
    assert len(lines) == len(generated) * 9
    for line in lines:
        row, position = int(line["layer"]), int(line["position"])
        assert position in generated
        assert int(line["top token"]) == reading.top_ids[row, position, 0]
        assert float(line["entropy"]) == pytest.approx(reading.entropy[row, position], abs=0.02)


def test_the_drawing_that_is_saved_shows_what_is_in_view(open_page: Opener, reading: Reading) -> None:
    page = open_page(reading, dark=True)
    page.locator(".matrix summary").click()
    with page.expect_download() as waiting:
        page.locator(".matrix details[open] button", has_text="SVG").click()
    texts = [text.text for text in ElementTree.parse(waiting.value.path()).iter() if text.text]
    assert {"0 emb.", "8 last", "position", "▦ row 0, col 0", "▦ row 2, col 1"} <= set(texts)
    assert "▦ row 2, col 3" not in texts
    for row in range(9):
        for position in range(5):
            piece = reading.pieces[int(reading.top_ids[row, position, 0])]
            assert (f"‹{CODES[piece]}›" if piece in CODES else piece) in texts
