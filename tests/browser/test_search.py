"""Words that are searched light up exactly the patches that hold them, in the colours of their values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page, expect

from browser.heat import go_to_layer, patch_pixels, search
from browser.pages import Opener
from browser.patience import next_frame
from patchlens.reading.reading import Reading
from readings import make_reading

ROWS, COLS = 6, 8
HEAT = [
    *((20, 14, 54), (79, 18, 123), (139, 41, 129), (200, 62, 115)),
    *((242, 104, 92), (254, 166, 111), (252, 253, 191)),
]
FEW_WORDS = ("<s>", "</s>", "<image>", "▁what", "▁is", "▁this", "?", "▁cat", "▁dog")


def sample(**changes: object) -> Reading:
    options = {"rows": ROWS, "cols": COLS, "size": (160, 120), "k": 3, "n_layers": 6, "targets": ()}
    return make_reading(**{**options, **changes})  # type: ignore[arg-type]


def heat(page: Page) -> NDArray[Any]:
    return patch_pixels(page.locator(".stage canvas"), ROWS, COLS)


def legend(page: Page) -> list[str]:
    return page.locator(".legend").evaluate("(node) => [...node.childNodes].map((part) => part.textContent)")


def measured(reading: Reading, words: tuple[str, ...], measure: str) -> NDArray[np.float64]:
    """What is coloured at every layer and patch, [layer, rows, cols]: larger is brighter."""
    values = reading.ranks(words) if measure == "rank" else reading.logprobs(words)
    maps = np.stack([reading.on_grid(row) for row in values]).astype(np.float64)
    return {"rank": lambda v: -np.log(v + 1), "probability": np.exp, "logprob": lambda v: v}[measure](maps)


def colours(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    stops = np.linspace(0, 1, len(HEAT))
    return np.stack([np.interp(shares, stops, channel) for channel in np.array(HEAT, float).T], -1)


@pytest.mark.parametrize("measure", ["logprob", "probability", "rank"])
@pytest.mark.parametrize("words", [("cat",), ("cat", "Katze", "猫")])
def test_exactly_the_patches_that_hold_a_word_are_coloured(
    measure: str, words: tuple[str, ...], open_page: Opener
) -> None:
    reading = sample()
    heights = measured(reading, words, measure)
    low, high = np.nanmin(heights), np.nanmax(heights)
    page = open_page(reading)
    search(page, ", ".join(words), measure)
    for layer in (1, 6):
        go_to_layer(page, layer)
        pixels = heat(page)
        known = ~np.isnan(heights[layer])
        assert known.any()
        assert not known.all()
        np.testing.assert_array_equal(pixels[..., 3] > 0, known)
        expected = colours((heights[layer][known] - low) / (high - low))
        np.testing.assert_allclose(pixels[known][:, :3], expected, atol=10)


@pytest.mark.parametrize("measure", ["logprob", "probability", "rank"])
def test_the_key_ends_at_the_true_least_and_greatest_value(measure: str, open_page: Opener) -> None:
    reading = sample()
    heights = measured(reading, ("cat",), measure)
    page = open_page(reading)
    search(page, "cat", measure)
    expect(page.locator(".legend")).to_contain_text("same scale at all layers")
    low, _, high, note = legend(page)[:4]
    for told, true in ((low, np.nanmin(heights)), (high, np.nanmax(heights))):
        if measure == "rank":
            assert told == f"rank {round(math.exp(-true))}"
        elif measure == "probability":
            assert float(told.removesuffix("%")) == pytest.approx(100 * true, rel=0.06)
        else:
            assert float(told.removesuffix(" nats")) == pytest.approx(true, abs=0.05)
    assert "no colour: not known there" in note


def test_a_target_is_known_at_every_patch(open_page: Opener) -> None:
    page = open_page(sample(targets=("cat",)))
    search(page, "cat")
    go_to_layer(page, 3)
    assert (heat(page)[..., 3] > 0).all()
    assert "not known" not in " ".join(legend(page))


def test_a_word_that_is_no_token_is_found_by_its_start_and_says_so(open_page: Opener) -> None:
    reading = sample()
    page = open_page(reading)
    search(page, "Giraffe")
    go_to_layer(page, 2)
    known = ~np.isnan(reading.patch_map("gira", 2))
    assert known.any()
    np.testing.assert_array_equal(heat(page)[..., 3] > 0, known)
    assert "giraffe: by its start “gira”" in legend(page)


def test_a_target_of_several_tokens_says_that_its_first_one_stands_for_it(open_page: Opener) -> None:
    page = open_page(sample(targets=("giraffe",)))
    search(page, "giraffe")
    expect(page.locator(".legend")).to_contain_text("giraffe: by its start “gira”")


def test_unknown_words_are_named_and_the_others_found(open_page: Opener) -> None:
    reading = sample()
    page = open_page(reading)
    search(page, "zebra, cat, <b>x")
    go_to_layer(page, 2)
    np.testing.assert_array_equal(heat(page)[..., 3] > 0, ~np.isnan(reading.patch_map("cat", 2)))
    assert legend(page)[-1] == "in no top 3 of this reading: zebra, <b>x"
    search(page, "zebra")
    expect(page.locator(".legend")).to_have_text("in no top 3 of this reading: zebra")
    assert not heat(page)[..., 3].any()


def test_nothing_typed_asks_for_a_word(open_page: Opener) -> None:
    page = open_page(sample())
    for nothing in ("", " , "):
        search(page, nothing)
        expect(page.locator(".legend")).to_contain_text("Type a word to see where it is read")


def test_a_word_that_stands_only_in_the_prompt_is_at_no_patch(open_page: Opener) -> None:
    reading = sample(rows=1, cols=2, n_layers=1, k=1)
    patches = reading.positions.kind == "patch"
    assert np.isnan(reading.logprobs("this")[:, patches]).all()
    page = open_page(reading)
    search(page, "this")
    expect(page.locator(".legend")).to_have_text("at no patch")


def test_a_word_missing_from_one_of_two_readings_is_said_of_that_one(open_page: Opener) -> None:
    page = open_page(sample(), sample(words=FEW_WORDS, answer=(7, 1)))
    search(page, "cat, sky, zebra")
    expect(page.locator(".legend")).to_contain_text("in no top 3 of reading A: zebra")
    expect(page.locator(".legend")).to_contain_text("in no top 3 of reading B: sky, zebra")


def test_the_value_of_the_patch_pointed_at_is_told(open_page: Opener) -> None:
    reading = sample()
    page = open_page(reading)
    search(page, "cat")
    go_to_layer(page, 4)
    values = reading.patch_map("cat", 4)
    row, col = (int(index) for index in np.argwhere(~np.isnan(values))[0])
    box = page.locator(".stage").bounding_box()
    assert box is not None
    x, y = (col + 0.5) * box["width"] / COLS, (row + 0.5) * box["height"] / ROWS
    page.mouse.move(box["x"] + x, box["y"] + y)
    told = page.locator(".picture .told")
    expect(told).to_contain_text(f"row {row}, column {col}: ")
    next_frame(page)
    value = told.inner_text().split(": ")[1]
    assert float(value.removesuffix(" nats")) == pytest.approx(float(values[row, col]), abs=0.05)


def test_words_that_patches_are_sure_of_are_offered(open_page: Opener) -> None:
    reading = make_reading(rows=6, cols=8, n_layers=6)
    page = open_page(reading)
    page.locator(".overlay-bar button", has_text="Find words").click()
    offers = page.locator(".offer")
    expect(offers.first).to_be_visible()
    patches = reading.positions.kind == "patch"
    held = {
        reading.pieces[int(token)].strip("▁").lower() for token in reading.top_ids[3:, patches, 0].ravel()
    }
    words = offers.all_inner_texts()
    assert set(words) <= held
    offers.first.click()
    expect(page.locator(".query")).to_have_value(words[0])
    expect(page.locator(".legend")).to_contain_text("log scale")
