"""What is shown can be saved: a picture that looks the same, SVG with real text, a table of the numbers."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from browser.pages import Opener
from patchlens.reading.reading import Reading
from readings import HOSTILE, WORDS, make_reading


def saved(page: Page, part: str, kind: str, folder: Path) -> Path:
    """Save a part of the page through its menu; return the file."""
    page.locator(f'summary[aria-label="Save {part}"]').first.click()
    with page.expect_download() as waiting:
        page.locator("details[open] .kinds button", has_text=kind).click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8"), newline="")))


@pytest.fixture
def reading() -> Reading:
    return make_reading(rows=6, cols=8, size=(160, 120), words=WORDS + HOSTILE + ("=1+1", "a,b", 'say "x"'))


def test_the_table_of_the_picture_holds_the_readings_numbers(
    open_page: Opener, reading: Reading, tmp_path: Path
) -> None:
    page = open_page(reading)
    page.locator("input.layer").fill("2")
    rows = table(saved(page, "the picture", "CSV", tmp_path))
    assert len(rows) == 48
    for row in rows:
        column = reading.patch_row(int(row["row"]), int(row["column"]))
        token = int(row["token"])
        assert token == reading.top_ids[2, column, 0]
        piece = reading.pieces[token]
        assert row["piece"] == ("'" + piece if piece[:1] in tuple("=+-@\t\r") and piece else piece)
        assert float(row["probability"]) == pytest.approx(
            np.exp(reading.top_logprobs[2, column, 0]), abs=0.012
        )
        box = [float(row[side]) for side in ("left", "top", "right", "bottom")]
        assert box == pytest.approx(reading.positions.box[column], abs=0.01)


def test_the_table_of_a_field_follows_what_is_shown(
    open_page: Opener, reading: Reading, tmp_path: Path
) -> None:
    page = open_page(reading)
    page.locator("input.layer").fill("1")
    page.locator(".overlay-bar button", has_text="Entropy").click()
    expect(page.locator(".legend")).to_contain_text("undecided")
    path = saved(page, "the picture", "CSV", tmp_path)
    assert path.name == "scene-logit-layer1-picture.csv"
    for row in table(path):
        column = reading.patch_row(int(row["row"]), int(row["column"]))
        assert row["layer"] == "1"
        assert float(row["entropy"]) == pytest.approx(reading.entropy[1, column], abs=0.02)


def test_the_table_of_the_chart_holds_every_rank_of_every_layer(
    open_page: Opener, reading: Reading, tmp_path: Path
) -> None:
    rows = table(saved(open_page(reading), "the layers", "CSV", tmp_path))
    column = reading.step_row(0)
    assert len(rows) == reading.top_ids[:, column].size
    for row in rows:
        at = (int(row["layer"]), column, int(row["rank"]) - 1)
        assert int(row["token"]) == reading.top_ids[at]
        assert float(row["probability"]) == pytest.approx(np.exp(reading.top_logprobs[at]), abs=0.012)


def test_the_png_shows_the_picture_with_its_overlay(
    open_page: Opener, reading: Reading, tmp_path: Path
) -> None:
    page = open_page(reading)
    page.locator(".overlay-bar button", has_text="Entropy").click()
    expect(page.locator(".legend")).to_contain_text("undecided")
    with Image.open(saved(page, "the picture", "PNG", tmp_path)) as image:
        made = image.convert("RGB")
    shown = Image.open(io.BytesIO(page.locator(".stage").screenshot())).convert("RGB")
    assert made.width / made.height == pytest.approx(160 / 120, abs=0.01)
    size = (80, 60)
    difference = np.abs(
        np.asarray(made.resize(size, Image.Resampling.BOX), float)
        - np.asarray(shown.resize(size, Image.Resampling.BOX), float)
    )
    assert np.median(difference) < 3
    assert difference.mean() < 8


@pytest.mark.parametrize("part", ["the picture", "the layers"])
def test_the_svg_is_well_formed_and_its_text_is_text(
    part: str, open_page: Opener, reading: Reading, tmp_path: Path
) -> None:
    path = saved(open_page(reading), part, "SVG", tmp_path)
    root = ElementTree.fromstring(path.read_text("utf-8"))
    names = {node.tag.split("}")[1] for node in root.iter()}
    assert "text" in names
    assert names <= {"svg", "rect", "text", "image", "polyline", "circle"}
    assert not [node for node in root.iter() if any(name.startswith("on") for name in node.attrib)]
    if part == "the picture":
        words = [node.text for node in root.iter() if node.tag.endswith("text")]
        assert len(words) > 20


def test_a_saved_menu_closes_by_escape_and_by_leaving(open_page: Opener, reading: Reading) -> None:
    page = open_page(reading)
    menu = page.locator(".picture details.save")
    menu.locator("summary").click()
    expect(menu).to_have_attribute("open", "")
    page.keyboard.press("Escape")
    expect(menu).not_to_have_attribute("open", "")
    menu.locator("summary").click()
    page.locator(".stage").focus()
    expect(menu).not_to_have_attribute("open", "")
