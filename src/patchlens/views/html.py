"""The page of a reading: one HTML file that opens offline and can load or send nothing."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path

from patchlens.files import write_atomically
from patchlens.reading import Reading
from patchlens.views.payload import pack
from patchlens.views.words import visible_text

SLOT = re.compile(r"\{\{(\w+)\}\}")


def page(reading: Reading) -> str:
    """The whole page as text; its policy allows just its own script and style, by hash."""
    script, style = asset("viewer.js"), asset("viewer.css")
    return fill(
        asset("page.html"),
        {
            "title": escape(f"{reading.prompt} · {reading.model.name} · patchlens"),
            "script_hash": source_hash(script),
            "style_hash": source_hash(style),
            "script": script,
            "style": style,
            "payload": pack(reading),
        },
    )


def write_page(reading: Reading, path: str | Path) -> Path:
    """Write the page, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    return write_atomically(path, page(reading))


@cache
def asset(name: str) -> str:
    """Text of a built file; the final newline goes, so that a hash covers just what is inlined."""
    return resources.files("patchlens.views").joinpath("assets", name).read_text("utf-8").rstrip("\n")


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put values into a template's slots in one pass, so that no value is read as a slot."""
    return SLOT.sub(lambda slot: values[slot[1]], template)


def escape(text: str) -> str:
    """Untrusted text for HTML text and quoted attributes: markup escaped, the invisible named."""
    return html.escape(visible_text(text), quote=True)


def source_hash(source: str) -> str:
    """Content-Security-Policy source of an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode("ascii")
