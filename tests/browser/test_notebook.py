"""The page in a notebook: in a frame that a saved notebook keeps, and as a widget beside a running kernel."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Frame, Page, expect

from browser.pages import Opener
from patchlens.reading.reading import Reading
from patchlens.views.html import asset
from patchlens.views.payload import pack
from readings import make_reading

# As a notebook does it: import the script, hand it a model and an element, keep what takes it away again.
START = """
async ([script, payload, state]) => {
  const bytes = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const values = { ...state, payload: payload.map(bytes) };
  const listeners = {};
  window.sent = [];
  let unsaved = {};
  window.model = {
    get: (name) => values[name],
    set: (name, value) => { values[name] = unsaved[name] = value; },
    save_changes: () => { sent.push(unsaved); unsaved = {}; },
    on: (event, act) => (listeners[event] ??= new Set()).add(act),
    off: (event, act) => listeners[event].delete(act),
    hear: (name, value) => { values[name] = value; listeners[`change:${name}`].forEach((act) => act()); },
    heard: () => Object.values(listeners).reduce((count, acts) => count + acts.size, 0),
  };
  const module = await import(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
  window.close_widget = await module.default.render({ model, el: document.body });
}
"""


def framed(open_page: Opener, reading: Reading) -> Frame:
    page = open_page.text(f"<!doctype html><body>{reading._repr_html_()}")
    (frame,) = page.frames[1:]
    frame.wait_for_function("() => performance.getEntriesByName('patchlens:ready').length")
    return frame


def widget(open_page: Opener, *readings: Reading, **state: Any) -> Page:
    page = open_page.text("<!doctype html><style>h1 { display: none } .layer { color: red }</style><body>")
    held = {"layer": None, "position": None, "query": ""} | state
    page.evaluate(START, [asset("widget.js"), [pack(reading) for reading in readings], held])
    return page


def test_a_frame_shows_the_whole_page_and_sees_nothing_outside_it(open_page: Opener) -> None:
    frame = framed(open_page, make_reading(prompt="<b>what</b> is \"this\" & 'that'?"))
    assert frame.locator("h1").inner_text() == "<b>what</b> is \"this\" & 'that'?"
    assert frame.evaluate("() => { try { return !parent.document } catch (e) { return e.name } }") == (
        "SecurityError"
    )
    slider = frame.get_by_role("slider", name="Layer")
    slider.press("Home")
    expect(slider).to_have_attribute("aria-valuetext", "layer 0 (embeddings)")


def test_a_frame_lets_what_is_saved_out(open_page: Opener) -> None:
    frame = framed(open_page, make_reading())
    frame.locator("summary", has_text="Save").first.click()
    with frame.page.expect_download() as saved:
        frame.get_by_role("button", name="CSV").first.click()
    assert saved.value.suggested_filename.endswith(".csv")


def test_the_widget_and_the_kernel_move_each_other(open_page: Opener) -> None:
    reading = make_reading(layers=(0, 2, 4))
    page = widget(open_page, reading, layer=2)
    slider, words = page.get_by_role("slider", name="Layer"), page.locator("input.query")
    assert slider.input_value() == "1"
    assert page.evaluate("sent") == []
    slider.press("End")
    page.wait_for_function("() => sent.length === 1")
    page.evaluate("model.hear('layer', 0)")
    page.evaluate("model.hear('position', 4)")
    page.evaluate("model.hear('query', 'Katze')")
    page.wait_for_function(
        "() => document.querySelector('div').shadowRoot.querySelector('input.query').value"
    )
    assert (slider.input_value(), words.input_value()) == ("0", "Katze")
    page.get_by_role("button", name="Words", exact=True).press("Escape")
    page.wait_for_function("() => sent.length === 2")
    words.fill("cat")
    page.wait_for_function("() => sent.length === 3")
    assert page.evaluate("sent") == [{"layer": 4}, {"position": None}, {"query": "cat"}]


def test_the_widget_keeps_its_style_apart_and_leaves_nothing_behind(open_page: Opener) -> None:
    page = widget(open_page, make_reading(), make_reading(cross=True, n_layers=7))
    assert page.locator("h1").all_inner_texts() == ["what is this?"] * 2
    assert all(heading.is_visible() for heading in page.locator("h1").all())
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgba(0, 0, 0, 0)"
    assert page.evaluate("model.heard()") == 3
    page.evaluate("close_widget()")
    assert page.evaluate("[document.body.childElementCount, model.heard()]") == [0, 0]
