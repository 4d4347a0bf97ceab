"""The page of a study: curves, differences, words, items, tables to keep; no way out, whatever the text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from browser.pages import SCREENSHOTS, Opener
from browser.patience import expect_equal, next_frame
from browser.watch import Watch, settle, wait_for_report
from patchlens.reading.store import save_reading
from patchlens.studies.report import make_report, write_report
from readings import HOSTILE, make_reading
from studies.made_study import write_study

GROUPS = ("plain", "one object", "collage 拼贴")
PICTURE = '() => document.querySelector(".facet canvas").toDataURL()'


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, per_group=4, groups=GROUPS, failed={"item-1-2": "no memory"}, shift={"plain": 2.0})
    readings = folder / "readings" / "demo" / "logit"
    readings.mkdir(parents=True)
    save_reading(make_reading(), readings / "item-0-1.safetensors")
    return write_report(make_report(folder, draws=499), folder).page


def pick(page: Page, label: str, value: str) -> None:
    page.get_by_label(label, exact=True).first.select_option(value)


@pytest.mark.parametrize(
    ("name", "width", "dark"), [("light", 1280, False), ("dark", 1280, True), ("narrow", 420, False)]
)
def test_the_page_shows_all_and_fits_its_window(
    study: Path, open_page: Opener, name: str, width: int, dark: bool
):
    page = open_page.file(study, width=width, dark=dark)
    names = page.locator("h2").all_inner_texts()
    assert names == [
        *("Over the layers", "When it emerges", "Top words", "What differs", "What changes did", "Answers"),
        *("Items", "Tables"),
    ]
    assert page.locator(".warnings li").first.inner_text() == "demo: 1 of 12 items failed"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator(".thumb img").first.scroll_into_view_if_needed()
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=SCREENSHOTS / f"study-{name}.png", full_page=True)


def test_a_curve_is_drawn_anew_when_another_quantity_is_chosen(study: Path, open_page: Opener):
    page = open_page.file(study)
    next_frame(page)
    before, told = page.evaluate(PICTURE), page.locator(".facet .number").first.inner_text()
    pick(page, "Quantity", "probability")
    expect_equal(page, lambda: page.evaluate(PICTURE) != before, True)
    expect(page.locator(".facet .number").first).not_to_have_text(told)
    assert page.locator(".facet .number").first.inner_text().count("%") == 3


def test_lines_may_be_groups_models_or_lenses(study: Path, open_page: Opener):
    page = open_page.file(study)
    assert page.locator(".facet figcaption").count() == 4
    assert page.locator(".facet").first.locator("bdi.word").all_inner_texts() == list(GROUPS)
    pick(page, "What the lines are", "model")
    expect(page.locator(".facet figcaption")).to_have_text(["logit lens", "tuned lens"])
    expect(page.locator(".facet").first.locator("bdi.word")).to_have_text(["demo", "lab/two"])
    told = page.locator(".facet .number").nth(1).inner_text()
    pick(page, "Whose curves", "plain")
    expect(page.locator(".facet .number").nth(1)).not_to_have_text(told)


def test_pointer_and_keys_tell_the_values_of_a_layer_in_all_charts(study: Path, open_page: Opener):
    page = open_page.file(study)
    plots = page.locator(".facet .plot")
    plots.first.focus()
    at = page.locator(".facet .at")
    expect(at.first).to_have_text("at layer 4")
    page.keyboard.press("ArrowLeft")
    expect_equal(page, lambda: set(at.all_inner_texts()), {"at layer 3"})
    plots.nth(1).hover(position={"x": 45, "y": 100})
    expect_equal(page, lambda: set(at.all_inner_texts()), {"at layer 0 (embeddings)"})
    page.mouse.move(5, 5)
    expect(at.first).to_have_text("at layer 4")


def test_differences_are_shown_whether_they_stand_or_not(study: Path, open_page: Opener):
    page = open_page.file(study)
    rows = page.locator(".differences tbody tr")
    assert rows.count() > 40
    pick(page, "pair", '["plain","one object"]')
    expect_equal(page, lambda: 10 < rows.count() < 25, True)
    pick(page, "Order", "large")
    expect(rows.first).to_contain_text("entropy")
    pick(page, "Compared", "lenses")
    expect(page.locator(".differences > p").first).to_contain_text("between lenses")
    expect(page.locator(".differences tbody td").first).to_have_text(re.compile("^logit: "))


def test_top_words_follow_what_is_chosen(study: Path, open_page: Opener):
    page = open_page.file(study)
    table = page.locator(".words table")
    before = table.inner_text()
    pick(page, "Place", "answer")
    expect_equal(page, lambda: table.inner_text() != before, True)
    expect(table.locator("tbody tr")).to_have_count(5)


def test_every_table_can_be_kept_as_the_file_beside_the_page(study: Path, open_page: Opener, tmp_path: Path):
    page = open_page.file(study)
    files = sorted((study.parent / "csv").iterdir())
    assert len(files) == page.locator(".table button").count() == 10
    for file in files:
        with page.expect_download() as started:
            page.get_by_role("button", name=f"Save {file.name}", exact=True).click()
        started.value.save_as(tmp_path / file.name)
        assert started.value.suggested_filename == file.name
        assert (tmp_path / file.name).read_bytes() == file.read_bytes()


def test_a_chart_can_be_kept_as_a_table(study: Path, open_page: Opener, tmp_path: Path):
    page = open_page.file(study)
    page.locator(".facet .save summary").first.click()
    with page.expect_download() as started:
        page.locator(".facet .kinds button", has_text="CSV").first.click()
    started.value.save_as(tmp_path / "curve.csv")
    lines = (tmp_path / "curve.csv").read_text().splitlines()
    assert lines[0] == "line,layer,mean,low,high,items"
    assert len(lines) == 1 + len(GROUPS) * 5


def test_items_are_filtered_and_lead_to_their_pages(study: Path, open_page: Opener, watch: Watch):
    page = open_page.file(study)
    cards = page.locator(".items > li")
    expect(cards).to_have_count(12)
    pick(page, "Outcome", "=failed")
    expect(cards).to_have_count(1)
    expect(cards.first).to_contain_text("no memory")
    pick(page, "Outcome", "any")
    page.get_by_label("Search items").fill("item-0-1")
    expect(cards).to_have_count(1)
    target = study.parent / "pages" / "demo" / "logit" / "item-0-1.html"
    watch.allowed.add(target.as_uri())
    cards.first.get_by_role("link", name="logit").click()
    page.wait_for_url(target.as_uri() + "*")
    expect(page.locator(".patchlens")).to_have_count(1)


def test_many_items_are_built_as_one_scrolls(open_page: Opener, tmp_path: Path):
    write_study(tmp_path, per_group=130, groups=("a",), models={"demo": 3}, lenses=("logit",))
    page = open_page.file(write_report(make_report(tmp_path, draws=9), tmp_path).page)
    cards = page.locator(".items > li")
    assert cards.count() == 60
    page.locator("footer").scroll_into_view_if_needed()
    page.wait_for_function("() => document.querySelectorAll('.items > li').length > 60")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(cards).to_have_count(130)


def test_hostile_text_stays_text(open_page: Opener, tmp_path: Path):
    bad = "".join(HOSTILE)
    texts = dict.fromkeys(("name", "prompt", "answer", "picture"), bad)
    write_study(tmp_path, per_group=2, groups=(bad, "*x"), texts=texts, failed={"item-0-0": bad})
    page = open_page.file(write_report(make_report(tmp_path, draws=9), tmp_path).page)
    page.locator(".failures summary").click()
    for table in page.locator(".table summary").all():
        table.click()
    assert page.locator("script").count() == 2
    assert page.locator("img[src=x]").count() == 0
    assert "‹RLO›" in page.locator("h1").inner_text()


def test_a_study_that_has_only_begun_has_a_page(open_page: Opener, tmp_path: Path):
    write_study(tmp_path, per_group=2, unread=6)
    page = open_page.file(write_report(make_report(tmp_path), tmp_path).page)
    assert "not read yet" in page.locator(".warnings").inner_text()
    assert "Nothing has been read" in page.locator("#curves").inner_text()


def test_the_page_can_send_nothing(study: Path, open_page: Opener, watch: Watch):
    page = open_page.file(study)
    page.evaluate("() => fetch('https://example.invalid/').catch(() => null)")
    wait_for_report(page, watch, "policy", "console")
    settle(page)
    assert [text.split()[0] for text in watch.taken("policy")] == ["connect-src"]
    assert watch.taken("console")
