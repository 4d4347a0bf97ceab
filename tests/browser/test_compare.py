"""Two readings side by side: layers locked, places linked, one colour scale."""

from __future__ import annotations

from dataclasses import replace

import pytest
from playwright.sync_api import Locator, Page, expect

from browser.pages import Opener
from patchlens.reading.reading import Reading
from readings import make_reading


def panes(page: Page) -> tuple[Locator, Locator]:
    first, second = page.locator("section.pane").all()
    return first, second


def title(pane: Locator) -> Locator:
    return pane.locator(".panel h2")


def test_two_lenses_on_one_picture_share_layer_patch_and_pin(open_page: Opener) -> None:
    raw = make_reading(n_layers=4)
    tuned = replace(make_reading(n_layers=4, seed=1), lens="tuned")
    page = open_page(raw, tuned)
    left, right = panes(page)
    expect(page.locator(".model")).to_contain_text(["logit lens", "tuned lens"])
    page.locator("input.layer").fill("2")
    left.locator(".stage").hover(position={"x": 5, "y": 5})
    for pane, reading in ((left, raw), (right, tuned)):
        expect(title(pane)).to_have_text("Patch row 0, column 0")
        expect(pane.locator(".panel .sub")).to_have_text("Layer 2 would say")
        best = reading.top_logprobs[2, reading.patch_row(0, 0), 0]
        shown = float(pane.locator(".bars .number").first.inner_text().rstrip("%")) / 100
        assert shown == pytest.approx(2.718281828**best, abs=0.012)
        expect(pane.locator(".cursor.hover")).to_be_visible()
    right.locator(".stage").click(position={"x": 5, "y": 5})
    page.mouse.move(2, 2)
    for pane in (left, right):
        expect(pane.locator(".cursor.pin")).to_be_visible()
        expect(pane.locator(".chips [aria-pressed=true]")).to_contain_text("patch row 0, column 0")


def test_models_of_different_depth_go_by_relative_depth(open_page: Opener) -> None:
    page = open_page(make_reading(n_layers=4), replace(make_reading(n_layers=8), lens="tuned"))
    left, right = panes(page)
    assert page.locator("input.layer").get_attribute("max") == "8"
    for stop, shallow, deep in (
        (0, "0 (embeddings)", "0 (embeddings)"),
        (4, "2", "4"),
        (8, "4 (last)", "8 (last)"),
    ):
        page.locator("input.layer").fill(str(stop))
        expect(left.locator(".panel .sub")).to_have_text(f"Layer {shallow} would say")
        expect(right.locator(".panel .sub")).to_have_text(f"Layer {deep} would say")
    expect(page.locator(".layer-bar output")).to_have_text("A 4 (last) · B 8 (last)")
    left.locator(".chart tbody button").nth(3).click()
    expect(left.locator(".panel .sub")).to_have_text("Layer 3 would say")
    expect(right.locator(".panel .sub")).to_have_text("Layer 6 would say")


def test_a_reading_of_the_prompt_alone_stands_beside_one_with_picture(open_page: Opener) -> None:
    page = open_page(make_reading(steps=2), make_reading(pictures=0, steps=2))
    left, right = panes(page)
    expect(right.locator(".picture")).to_have_count(0)
    left.locator(".strip button.text").first.hover()
    expect(title(left)).to_contain_text("At ▁what")
    expect(title(right)).to_contain_text("At ▁what")
    left.locator(".chips button").nth(1).click()
    for pane in (left, right):
        expect(title(pane)).to_contain_text("Answer token 2")
    left.locator(".stage").hover(position={"x": 5, "y": 5})
    expect(title(left)).to_contain_text("Patch row 0")
    expect(title(right)).to_contain_text("Answer token 2")


def test_pictures_of_other_size_are_linked_by_the_point_they_show(open_page: Opener) -> None:
    page = open_page(
        make_reading(rows=3, cols=4, size=(80, 60)), make_reading(rows=6, cols=8, size=(160, 120))
    )
    left, right = panes(page)
    left.locator(".stage").click(position={"x": 5, "y": 5})
    expect(title(left)).to_have_text("Patch row 0, column 0")
    expect(title(right)).to_have_text("Patch row 1, column 1")


def entropies(reading: Reading) -> tuple[float, float]:
    values = reading.entropy[:, reading.positions.kind == "patch"]
    return float(values.min()), float(values.max())


def test_both_have_one_colour_scale(open_page: Opener) -> None:
    first, second = make_reading(seed=2), make_reading(seed=3, rows=5, cols=5)
    assert entropies(first) != pytest.approx(entropies(second), abs=0.02)
    page = open_page(first, second)
    page.locator(".overlay-bar button", has_text="Entropy").click()
    expect(page.locator(".legend")).to_contain_text("undecided")
    words = page.locator(".legend").inner_text().split()
    low, high = (float(words[i - 1]) for i, word in enumerate(words) if word == "nats")
    both = [*entropies(first), *entropies(second)]
    assert low == pytest.approx(min(both), abs=0.02)
    assert high == pytest.approx(max(both), abs=0.02)
