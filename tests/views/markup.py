"""Reading HTML back as a browser would, for the tests of pages."""

from __future__ import annotations

import base64
import hashlib
from html.parser import HTMLParser


class Outline(HTMLParser):
    """Every tag with its attributes, the text of script, style and title blocks, and the readings packed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.blocks: dict[str, str] = {}
        self.readings: list[str] = []
        self._open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        is_reading = tag == "script" and dict(attrs).get("class") == "reading"
        self._open = "reading" if is_reading else dict(attrs).get("id") or tag
        self.blocks.setdefault(self._open, "")
        if is_reading:
            self.readings.append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open:
            self.blocks[self._open] += data
        if self._open == "reading":
            self.readings[-1] += data


def policy(outline: Outline) -> dict[str, list[str]]:
    (content,) = (a["content"] for _, a in outline.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert content is not None
    parts = [part.split() for part in content.split(";")]
    return {name: sources for name, *sources in parts}


def hash_of(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
