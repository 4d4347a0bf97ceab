"""Words over the layers as a chart, and what lies over the picture at all layers as small maps."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Locator, Page, expect

from browser.heat import go_to_layer, patch_pixels, search
from browser.pages import Opener
from browser.patience import expect_equal, next_frame
from patchlens.reading.reading import Reading
from patchlens.reading.records import Channel
from readings import make_reading

ROWS, COLS, LAYERS = 4, 5, 8


def sample(**changes: Any) -> Reading:
    options: dict[str, Any] = {"rows": ROWS, "cols": COLS, "size": (100, 80), "n_layers": LAYERS}
    return make_reading(**{**options, "k": 3, "steps": 2, "targets": (), **changes})


def chart(page: Page, pane: int = 0) -> Locator:
    return page.locator(".trajectory").nth(pane)


def told(part: Locator) -> dict[str, str]:
    """Words and values of the legend."""
    items = part.locator(".series li:not(.at)")
    words, values = (items.locator(part).all_inner_texts() for part in (".word", ".number"))
    return dict(zip(words, values, strict=True))


def number(text: str) -> float:
    return math.nan if text == "–" else float(re.sub(r"rank | nats|%|,", "", text))


def layer(page: Page) -> int:
    return int(page.locator("input.layer").input_value())


def middle_of_layer(page: Page, wanted: int) -> tuple[float, float]:
    """A place on the chart nearest to a layer, found by trying."""
    plot = chart(page).locator(".plot")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    for x in np.linspace(box["x"] + 30, box["x"] + box["width"] - 5, 60):
        page.mouse.move(x, y)
        next_frame(page)
        if chart(page).locator(".at").inner_text().split()[2] == str(wanted):
            return float(x), y
    raise AssertionError(f"layer {wanted} is nowhere on the chart")


@pytest.mark.parametrize("measure", ["logprob", "probability", "rank"])
def test_the_legend_tells_each_words_value_at_every_layer(measure: str, open_page: Opener) -> None:
    reading = sample(targets=("dog",))
    page = open_page(reading)
    search(page, "cat, sky")
    chart(page).locator("select").select_option(measure)
    expect(page.locator(".overlay-bar select")).to_have_value(measure)
    at = reading.step_row(0)
    for row in range(LAYERS + 1):
        go_to_layer(page, row)
        values = told(chart(page))
        assert list(values) == ["cat", "sky", "dog"]
        for word, text in values.items():
            logprob, rank = (float(v[row, at]) for v in (reading.logprobs(word), reading.ranks(word)))
            if measure == "rank":
                assert number(text) == pytest.approx(rank + 1, nan_ok=True)
            elif measure == "logprob":
                assert number(text) == pytest.approx(logprob, abs=0.06, nan_ok=True)
            else:
                assert number(text) == pytest.approx(100 * math.exp(logprob), rel=0.1, nan_ok=True)


def test_the_chart_says_where_each_word_is_best(open_page: Opener) -> None:
    reading = sample()
    page = open_page(reading)
    search(page, "cat, zebra")
    values = reading.trajectory("cat")
    said = chart(page).locator("canvas[role=img]").get_attribute("aria-label") or ""
    best = int(np.nanargmax(values))
    assert said.startswith(f"cat: best at layer {best}")
    assert number(said.split(", ")[1]) == pytest.approx(float(values[best]), abs=0.06)
    assert "zebra" not in said


def test_without_words_the_final_word_and_the_best_of_the_last_layer_are_drawn(open_page: Opener) -> None:
    reading = sample()
    page = open_page(reading)
    last = [reading.pieces[int(token)] for token in reading.top_ids[-1, reading.step_row(0)]]
    assert list(told(chart(page))) == [piece.replace(" ", "␣") for piece in last]


def test_a_click_in_the_layers_follows_a_word_and_the_cross_lets_it_go(open_page: Opener) -> None:
    reading = sample(targets=("dog",))
    page = open_page(reading)
    assert list(told(chart(page))) == ["dog"]
    row, rank = 3, 1
    piece = reading.pieces[int(reading.top_ids[row, reading.step_row(0), rank])]
    assert piece.strip("▁").isalpha()
    page.locator(".chart tbody tr").nth(row).locator("td:not(.number)").nth(rank).click()
    expect_equal(page, lambda: list(told(chart(page))), [piece, "dog"])
    chart(page).get_by_role("button", name=f"Stop following {piece}").click()
    expect(chart(page).locator(".remove")).to_have_count(0)
    expect_equal(page, lambda: list(told(chart(page))), ["dog"])


def test_pointing_tells_a_layer_and_a_click_goes_there(open_page: Opener) -> None:
    reading = sample(targets=("dog",))
    page = open_page(reading)
    before = layer(page)
    x, y = middle_of_layer(page, 3)
    expect(chart(page).locator(".hair")).to_be_visible()
    assert number(told(chart(page))["dog"]) == pytest.approx(float(reading.trajectory("dog")[3]), abs=0.06)
    assert layer(page) == before
    page.mouse.click(x, y)
    expect(page.locator("input.layer")).to_have_value("3")
    page.mouse.move(2, 2)
    expect(chart(page).locator(".hair")).to_be_hidden()
    expect(chart(page).locator(".at")).to_have_text("at layer 3")


def test_arrow_keys_move_the_readout(open_page: Opener) -> None:
    page = open_page(sample())
    page.locator("input.layer").fill("4")
    middle_of_layer(page, 7)
    chart(page).locator(".plot").focus()
    page.keyboard.press("ArrowLeft")
    expect(chart(page).locator(".at")).to_have_text("at layer 3")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(chart(page).locator(".at")).to_have_text("at layer 5")


def test_a_pinned_patch_is_charted_and_its_gaps_are_explained(open_page: Opener) -> None:
    reading = sample()
    page = open_page(reading)
    search(page, "cat")
    page.locator(".stage").click(position={"x": 5, "y": 5})
    expect(chart(page).locator(".sub").first).to_have_text("At patch row 0, column 0")
    values = reading.logprobs("cat")[:, reading.patch_row(0, 0)]
    assert np.isnan(values).any()
    expect(chart(page).locator(".sub").last).to_contain_text("below the 3 best (grey)")
    best = re.compile(f"^cat: best at layer {np.nanargmax(values)}")
    expect(chart(page).locator("canvas[role=img]")).to_have_attribute("aria-label", best)


def test_a_word_of_the_legend_is_shown_on_the_picture(open_page: Opener) -> None:
    page = open_page(sample(targets=("dog",)))
    chart(page).get_by_role("button", name="dog").click()
    expect(page.locator(".query")).to_have_value("dog")
    expect(page.locator(".stage")).to_have_attribute("data-drawing", "field")


def saved_svg(page: Page, part: Locator) -> str:
    part.locator("summary").click()
    with page.expect_download() as download:
        part.get_by_role("button", name="SVG").click()
    return download.value.path().read_text("utf-8")


def test_two_readings_share_one_scale_and_one_colour_per_word(open_page: Opener) -> None:
    page = open_page(sample(targets=("sky", "dog")), sample(targets=("dog", "sky"), seed=3), width=1500)
    drawings = [saved_svg(page, chart(page, pane)) for pane in range(2)]
    ticks = [re.findall(r'text-anchor="end"[^>]*>([^<]+)<', drawing) for drawing in drawings]
    assert ticks[0] == ticks[1] != []
    label = r'font-weight="600" fill="([^"]+)"[^>]*>(sky|dog)<'
    first, second = ({word: colour for colour, word in re.findall(label, drawing)} for drawing in drawings)
    assert first == second
    assert first["sky"] != first["dog"]


# -- small maps ----------------------------------------------------------------------------------------


def maps(page: Page) -> Locator:
    return page.locator(".maps button")


def open_maps(page: Page) -> None:
    page.get_by_role("button", name="All layers").click()
    expect(maps(page).first).to_be_visible()
    page.wait_for_function("() => performance.getEntriesByName('patchlens:maps').length")
    next_frame(page)


def last_drawn(page: Page) -> float | None:
    """When the maps were last drawn, in ms."""
    return page.evaluate("performance.getEntriesByName('patchlens:maps')[0]?.startTime")


def drawn_for_layer(page: Page, row: int) -> bool:
    """Whether the maps are drawn anew when a layer is gone to."""
    before = last_drawn(page)
    go_to_layer(page, row)
    return last_drawn(page) != before


def coloured(page: Page, row: int) -> NDArray[np.bool_]:
    """Which patches of a map are not grey as the picture is."""
    pixels = patch_pixels(maps(page).nth(row).locator("canvas"), ROWS, COLS)[..., :3]
    return np.ptp(pixels, axis=-1) > 15


def test_maps_are_offered_only_where_values_lie_over_the_picture(open_page: Opener) -> None:
    page = open_page(sample())
    opener = page.get_by_role("button", name="All layers")
    expect(opener).to_be_hidden()
    page.locator(".overlay-bar").get_by_role("button", name="Entropy").click()
    expect(opener).to_have_attribute("aria-expanded", "false")
    expect(maps(page).first).to_be_hidden()
    opener.click()
    expect(opener).to_have_attribute("aria-expanded", "true")
    expect(maps(page)).to_have_count(LAYERS + 1)
    page.locator(".overlay-bar").get_by_role("button", name="Words").first.click()
    expect(maps(page).first).to_be_hidden()


@pytest.mark.parametrize("layout", ["squash", "crop"])
def test_every_map_colours_exactly_the_patches_that_hold_the_word(layout: str, open_page: Opener) -> None:
    size = (100, 80) if layout == "squash" else (80, 80)
    reading = sample(size=size, layout=layout)
    page = open_page(reading)
    search(page, "cat")
    open_maps(page)
    for row in range(LAYERS + 1):
        known = ~np.isnan(reading.patch_map("cat", row))
        expect_equal(page, lambda row=row: coloured(page, row).tolist(), known.tolist())


def test_a_map_says_its_layer_and_its_brightest_patch(open_page: Opener) -> None:
    reading = sample(targets=("cat",))
    page = open_page(reading)
    search(page, "cat")
    open_maps(page)
    values = reading.patch_map("cat", 3)
    row, col = np.unravel_index(np.argmax(values), values.shape)
    label = maps(page).nth(3).get_attribute("aria-label") or ""
    assert label.startswith(f"layer 3, brightest at row {row}, column {col}: ")
    assert number(label.split(": ")[1]) == pytest.approx(float(values[row, col]), abs=0.06)
    assert (maps(page).first.get_attribute("aria-label") or "").startswith("layer 0 (embeddings), ")


def test_a_map_goes_to_its_layer_and_arrow_keys_from_map_to_map(open_page: Opener) -> None:
    page = open_page(sample())
    search(page, "cat")
    open_maps(page)
    maps(page).nth(2).click()
    expect(page.locator(".layer-bar output")).to_have_text("2")
    expect(maps(page).nth(2)).to_have_attribute("aria-current", "true")
    page.keyboard.press("ArrowRight")
    expect(maps(page).nth(3)).to_be_focused()
    expect(page.locator("input.layer")).to_have_value("3")
    maps(page).nth(6).focus()
    page.keyboard.press("Enter")
    expect(page.locator(".maps [aria-current=true]")).to_have_text("6")


def test_maps_are_drawn_anew_for_other_words_and_not_for_another_layer(open_page: Opener) -> None:
    page = open_page(sample())
    search(page, "cat")
    open_maps(page)
    # They are drawn once more when the picture under them has been made small and grey.
    expect_equal(page, lambda: drawn_for_layer(page, 1) or drawn_for_layer(page, 2), False)
    first = last_drawn(page)
    search(page, "dog")
    expect_equal(page, lambda: last_drawn(page) != first, True)


def test_channels_over_vision_states_have_maps_too(open_page: Opener) -> None:
    reading = sample(cross=True, rows=ROWS, cols=COLS)
    values = np.full((LAYERS + 1, ROWS * COLS), np.nan, np.float32)
    values[3, 7], values[5, 2] = 0.5, 0.9
    looked = Channel("attention", ("layer", "vision"), values, "", "how much is looked at each patch")
    still = Channel("effect", ("vision",), values[5], "nats", "the same at all layers")
    page = open_page(replace(reading, channels=(looked, still)))
    page.get_by_role("button", name="attention").click()
    open_maps(page)
    for row in range(LAYERS + 1):
        known = ~np.isnan(values[row])
        expect_equal(page, lambda row=row: coloured(page, row).ravel().tolist(), known.tolist())
    page.get_by_role("button", name="effect").click()
    expect(maps(page).first).to_be_hidden()


def test_all_maps_are_saved_with_their_key(open_page: Opener) -> None:
    reading = sample()
    page = open_page(reading)
    search(page, "cat")
    open_maps(page)
    drawing = saved_svg(page, page.locator(".multiples"))
    assert "log-probability of cat" in drawing
    assert drawing.count("<image") == LAYERS + 1
    known = int((~np.isnan(np.stack([reading.patch_map("cat", row) for row in range(LAYERS + 1)]))).sum())
    assert len(re.findall(r'fill-opacity="0.78"', drawing)) == known
