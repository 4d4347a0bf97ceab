"""What is seen before anything is touched: what was asked and answered, and where the answer comes from."""

from __future__ import annotations

from dataclasses import replace

from playwright.sync_api import expect

from browser.pages import Opener
from readings import WORDS, make_reading

# A layer that is shown for a moment may be gone before a test looks.
RECORD = """(output) => {
  window.told = [];
  new MutationObserver(() => told.push(output.textContent)).observe(output, { childList: true });
}"""


def test_prompt_answer_model_revision_lens_and_notes_are_said(open_page: Opener) -> None:
    reading = make_reading(notes=("cropped to the middle",))
    page = open_page(reading)
    expect(page.locator("h1")).to_have_text("what is this?")
    expect(page.locator(".answer")).to_have_text(reading.answer.text)
    expect(page.locator(".model")).to_have_text("demo · revision 0123abcd · float32 · logit lens")
    expect(page.locator(".notes li")).to_have_text("cropped to the middle")
    picture = page.locator(".picture img")
    assert picture.evaluate("(image) => [image.naturalWidth, image.naturalHeight]") == [80, 60]


def test_the_chart_tells_where_the_answers_word_enters_and_leads(open_page: Opener) -> None:
    reading = make_reading(n_layers=6, k=3)
    page = open_page(reading)
    column = reading.step_row(0)
    final = reading.final_token(column)
    held = [int(layer) for layer in reading.layers if final in reading.top_ids[layer, column]]
    rows = page.locator(".chart tbody tr")
    expect(rows).to_have_count(len(reading.layers))
    entering = page.locator(".chart tr.enters")
    expect(entering).to_have_count(1)
    assert entering.evaluate("(row) => row.sectionRowIndex") == held[0]
    expect(page.locator(".chart .sub")).to_contain_text(f"enters the top 3 at layer {held[0]}")
    for layer in (0, 3, 6):
        cells = [
            cell.replace("␣", " ") for cell in rows.nth(layer).locator("td:not(.number)").all_inner_texts()
        ]
        assert len(cells) == 3
        for cell, token in zip(cells, reading.top_ids[layer, column], strict=True):
            assert cell.strip("▁") in WORDS[token] or WORDS[token].isspace() or WORDS[token].startswith("<0x")
        marked = rows.nth(layer).locator("td.final").count()
        assert marked == int(final in reading.top_ids[layer, column])


def test_the_slider_starts_where_the_answer_leads_and_names_the_embeddings(open_page: Opener) -> None:
    reading = make_reading(n_layers=6)
    page = open_page(reading)
    column = reading.step_row(0)
    leads = reading.leads_from(reading.final_token(column), column)
    slider = page.locator("input.layer")
    assert slider.input_value() == str(leads)
    slider.fill("0")
    expect(page.locator(".layer-bar output")).to_have_text("0 (embeddings)")
    expect(page.locator(".panel .sub")).to_have_text("Layer 0 (embeddings) would say")


def test_the_panel_tells_the_top_k_with_bars(open_page: Opener) -> None:
    reading = make_reading(rows=3, cols=4)
    page = open_page(reading)
    page.locator("input.layer").fill("2")
    page.locator(".stage").hover(position={"x": 5, "y": 5})
    row = reading.patch_row(0, 0)
    expect(page.locator(".panel h2")).to_have_text("Patch row 0, column 0")
    probs = [c.prob for c in reading.top(2, int(reading.positions.index[row]))]
    shown = [float(text.rstrip("%")) / 100 for text in page.locator(".bars .number").all_inner_texts()]
    assert len(shown) == len(probs)
    assert all(abs(a - b) < 0.012 for a, b in zip(shown, probs, strict=True))
    track = page.locator(".bars .track").first.bounding_box()
    fill = page.locator(".bars .fill").first.bounding_box()
    assert track and fill
    assert abs(fill["width"] / track["width"] - probs[0]) < 0.02


def test_a_reading_of_text_alone_and_one_without_answer_have_their_pages(open_page: Opener) -> None:
    page = open_page(make_reading(pictures=0))
    expect(page.locator(".picture")).to_have_count(0)
    expect(page.locator(".chart tbody tr")).to_have_count(5)
    silent = make_reading()
    silent = replace(
        silent,
        answer=replace(silent.answer, text="", ids=()),
        positions=replace(silent.positions, step=silent.positions.step * 0 - 1),
    )
    page = open_page(silent)
    expect(page.locator(".answer")).to_have_text("no answer was asked for")
    expect(page.locator(".panel h2")).to_contain_text("At")


def test_layers_play_and_stop_at_the_end(open_page: Opener) -> None:
    page = open_page(make_reading(n_layers=3))
    page.locator("input.layer").fill("1")
    output, play = page.locator(".layer-bar output"), page.get_by_role("button", name="Play the layers")
    expect(output).to_have_text("1")
    output.evaluate(RECORD)
    play.click()
    page.wait_for_function("() => told.at(-1) === '3 (last)'")
    expect(play).to_be_visible()
    page.keyboard.press("p")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.wait_for_function("() => told.filter((name) => name === '3 (last)').length === 2")
    expect(play).to_be_visible()
    told = page.evaluate("told")
    again = iter(["2", "3 (last)", "0 (embeddings)", "1", "2", "3 (last)"])
    assert all(name in again for name in told), told  # a slow machine may skip some, never turn them round
