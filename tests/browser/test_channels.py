"""Channels the page has never heard of: shown over patches, told in the panel, chosen by their own axes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page, expect

from browser.pages import Opener
from browser.patience import expect_equal, next_frame
from patchlens.reading.reading import Reading
from patchlens.reading.records import Channel
from readings import make_reading

PAINTED = """() => {
  const canvas = document.querySelector(".stage canvas");
  const { width, height } = canvas;
  const blank = Object.assign(document.createElement("canvas"), { width, height });
  return canvas.toDataURL() !== blank.toDataURL();
}"""


def channels(axis: str, entries: int, layers: int = 5) -> tuple[Channel, ...]:
    random = np.random.default_rng(0)
    share = random.dirichlet(np.ones(entries), (layers, 3)).astype(np.float32)
    share[0] = np.nan
    effect = random.normal(0, 2, entries).astype(np.float32)
    return (
        Channel("attention_answer", ("layer", "head", axis), share, "", "Share of the answer's attention"),
        Channel("causal_effect", (axis,), effect, "nats", "Change when the patch is <b>taken</b> away"),
        Channel("depth", ("layer",), random.normal(size=layers).astype(np.float32), "", "No place to show"),
    )


@pytest.fixture
def reading() -> Reading:
    plain = make_reading(rows=3, cols=4)
    return replace(plain, channels=channels("pos", len(plain.positions)))


@pytest.fixture
def cross() -> Reading:
    plain = make_reading(rows=3, cols=4, cross=True, layout="tiles")
    assert plain.vision is not None
    return replace(plain, channels=channels("vision", len(plain.vision)))


def show(page: Page, name: str) -> None:
    page.locator(".overlay-bar .segments button", has_text=name).click()


def told(page: Page) -> float:
    """The value under the picture, of the patch pointed at."""
    return float(page.locator(".told").inner_text().split(": ")[1].split()[0])


def values(reading: Reading, number: int) -> NDArray[np.float32]:
    return reading.channels[number].values


def test_a_channel_is_offered_and_told_by_its_name_unit_and_description(
    open_page: Opener, reading: Reading
) -> None:
    page = open_page(reading)
    buttons = page.locator(".overlay-bar .segments button").all_inner_texts()
    assert "attention answer" in buttons
    assert "causal effect" in buttons
    assert "depth" not in buttons
    show(page, "causal effect")
    expect(page.locator(".legend")).to_contain_text("Change when the patch is <b>taken</b> away")
    page.locator(".stage").hover(position={"x": 5, "y": 5})
    row = reading.patch_row(0, 0)
    expect(page.locator(".told")).to_contain_text("nats")
    scale = float(np.abs(values(reading, 1)).max())
    expect_equal(page, lambda: told(page), pytest.approx(values(reading, 1)[row], abs=scale / 100))
    fact = page.locator(".facts div", has_text="causal_effect").locator("dd").inner_text()
    assert float(fact.split()[0]) == told(page)


def test_a_signed_channel_has_a_scale_with_zero_in_the_middle(open_page: Opener, reading: Reading) -> None:
    page = open_page(reading)
    show(page, "causal effect")
    expect(page.locator(".legend")).to_contain_text("nats")
    words = page.locator(".legend").inner_text().split()
    low, high = (float(words[i - 1]) for i, word in enumerate(words) if word == "nats")
    reach = np.abs(values(reading, 1)[reading.positions.kind == "patch"]).max()
    assert low == pytest.approx(-high)
    assert high == pytest.approx(reach, rel=0.02)


def test_an_axis_of_its_own_gets_a_number_to_choose(open_page: Opener, reading: Reading) -> None:
    page = open_page(reading)
    page.locator("input.layer").fill("3")
    show(page, "attention answer")
    head = page.get_by_label("head")
    assert (head.get_attribute("min"), head.get_attribute("max")) == ("0", "2")
    row = reading.patch_row(1, 2)
    for number in ("0", "2"):
        head.fill(number)
        page.locator(".stage").focus()
        page.mouse.move(1, 1)
        page.locator(".stage").hover(position={"x": 400, "y": 260})
        expect(page.locator(".told")).to_contain_text("row 1, column 2")
        value = values(reading, 0)[3, int(number), row]
        expect_equal(page, lambda: told(page), pytest.approx(value, abs=0.01))
    page.wait_for_function("() => location.hash.includes('at.head=2')")
    page.goto(page.url)
    page.reload()
    expect(page.get_by_label("head")).to_have_value("2")


def test_where_a_channel_has_no_value_nothing_is_drawn(open_page: Opener, reading: Reading) -> None:
    page = open_page(reading)
    show(page, "attention answer")
    page.locator("input.layer").fill("0")
    expect(page.locator(".layer-bar output")).to_have_text("0 (embeddings)")
    next_frame(page)
    page.wait_for_function(f"() => !({PAINTED})()")
    page.locator("input.layer").fill("1")
    page.wait_for_function(PAINTED)


def test_patches_of_a_cross_attention_model_show_its_channels(open_page: Opener, cross: Reading) -> None:
    page = open_page(cross)
    expect(page.locator(".overlay-bar [aria-pressed=true]")).to_have_text("attention answer")
    show(page, "causal effect")
    page.locator(".stage").hover(position={"x": 5, "y": 5})
    assert cross.vision is not None
    entry = int(np.flatnonzero((cross.vision.row == 0) & (cross.vision.col == 0))[0])
    expect_equal(page, lambda: told(page), pytest.approx(values(cross, 1)[entry], abs=0.06))
    page.locator(".stage").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".told")).to_contain_text("row 0, column 1")


def test_the_matrix_can_be_coloured_as_the_picture(open_page: Opener, reading: Reading) -> None:
    page = open_page(reading)
    show(page, "causal effect")
    page.locator(".matrix select").select_option("overlay")
    expect(page.locator(".matrix")).to_contain_text("causal_effect")
