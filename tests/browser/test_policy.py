"""The page can load and send nothing, and the tests would notice if it did."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from browser.pages import Opener
from browser.watch import Kind, Watch, settle, wait_for_report
from readings import make_reading

ELEMENT = """
const element = (name, properties) => {
  const node = Object.assign(document.createElement(name), properties);
  document.body.append(node);
  return node;
};
"""
OUTSIDE = "https://example.invalid/"
# Ways to send something or to run something, and the directive that must refuse each.
ESCAPES = {
    "fetch": ("connect-src", f"await fetch('{OUTSIDE}')"),
    "beacon": ("connect-src", f"navigator.sendBeacon('{OUTSIDE}')"),
    "socket": ("connect-src", "new WebSocket('wss://example.invalid/')"),
    "image": ("img-src", f"element('img', {{ src: '{OUTSIDE}' }})"),
    "file beside": ("img-src", "element('img', { src: 'beside.png' })"),
    "frame": ("frame-src", f"element('iframe', {{ src: '{OUTSIDE}' }})"),
    "form": ("form-action", f"element('form', {{ action: '{OUTSIDE}', target: '_blank' }}).submit()"),
    "import": ("style-src-elem", f"element('style', {{ textContent: '@import \"{OUTSIDE}\"' }})"),
    "font": ("font-src", f"await new FontFace('f', 'url({OUTSIDE})').load()"),
    "script": ("require-trusted-types-for", "element('script', { text: 'window.hit = 1' })"),
    "script's node": ("require-trusted-types-for", "element('script').append('window.hit = 1')"),
    "markup": (
        "require-trusted-types-for",
        "element('p').innerHTML = '<img src=\"data:\" onerror=window.hit=1>'",
    ),
    "handler": (
        "require-trusted-types-for",
        "element('p').setAttribute('onclick', 'window.hit = 1'); document.querySelector('[onclick]').click()",
    ),
    "timer": ("require-trusted-types-for", "setTimeout('window.hit = 1')"),
    "link": ("script-src-elem", "element('a', { href: 'javascript:window.hit = 1' }).click()"),
}


def attempt(page: Page, code: str) -> bool:
    """Run code in a page, whatever comes of it; tell whether it got its script to run."""
    page.evaluate(f"async () => {{ {ELEMENT} delete window.hit; try {{ {code} }} catch {{}} }}")
    settle(page)
    return page.evaluate("'hit' in window")


def test_the_policy_refuses_every_way_out(open_page: Opener, watch: Watch) -> None:
    page = open_page(make_reading())
    for escape, (directive, code) in ESCAPES.items():
        assert not attempt(page, code), escape
        wait_for_report(page, watch, "policy", "console")
        refused = watch.taken("policy")
        assert refused, escape
        assert {text.split()[0] for text in refused} == {directive}
        assert watch.taken("console"), escape
        assert watch.seen == [], escape


def test_a_page_without_policy_would_be_noticed(open_page: Opener, watch: Watch) -> None:
    watch.ignored.add("console")  # it tells, at any time, what came of the requests
    page = open_page.text("<!doctype html><body>")
    for escape, (_, code) in ESCAPES.items():
        if not attempt(page, code):
            wait_for_report(page, watch, "request")
            assert watch.taken("request"), escape
    watch.ignored.add("request")  # some ways ask twice
    watch.taken("request")


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("request", f"location.href = '{OUTSIDE}'"),
        ("request", f"window.open('{OUTSIDE}')"),
        ("dialog", "alert('1')"),
        ("console", "console.error('1')"),
        ("console", "console.warn('1')"),
        ("error", "setTimeout(() => { throw new Error('1') })"),
    ],
)
def test_what_no_policy_can_refuse_is_noticed(kind: Kind, code: str, open_page: Opener, watch: Watch) -> None:
    page = open_page(make_reading())
    page.evaluate(f"() => {{ setTimeout(() => {{ {code} }}) }}")
    wait_for_report(page, watch, kind)
    assert [seen for seen, _ in watch.seen] == [kind]
    assert watch.taken(kind)
