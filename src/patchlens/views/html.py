"""The page of one or two readings: one HTML file that opens offline and can load or send nothing."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

from patchlens.files import output_path, write_atomically
from patchlens.reading.reading import Reading, check_reading
from patchlens.views.payload import pack
from patchlens.views.words import visible_text

SLOT = re.compile(r"\{\{(\w+)\}\}")
TITLE_PART: Final = 60


def page(reading: Reading, beside: Reading | None = None) -> str:
    """The whole page as text; its policy allows just its own script and style, by hash.

    Args:
        reading: what to show.
        beside: any other reading, of whatever model, lens or picture, to compare it with.
    """
    shown = [check_reading(own) for own in ([reading] if beside is None else [reading, beside])]
    script, style = asset("viewer.js"), asset("viewer.css")
    return fill(
        asset("page.html"),
        {
            "title": escape(title(shown)),
            "script_hash": source_hash(script),
            "style_hash": source_hash(style),
            "script": script,
            "style": style,
            "readings": "\n".join(fill(asset("reading-block.html"), {"payload": pack(r)}) for r in shown),
        },
    )


def write_page(reading: Reading, path: str | Path, *, beside: Reading | None = None) -> Path:
    """Write the page of a reading, or of two side by side, whole or not at all.

    Raises:
        SelectionError: what came is no reading.
        OutputError: the file cannot be written, or its name does not end in .html.
    """
    return write_atomically(output_path(path, ".html"), page(reading, beside))


def frame(reading: Reading) -> str:
    """The page inside a frame that other HTML can hold: its scripts run, but see nothing outside it."""
    return fill(
        asset("frame.html"),
        {"title": escape(title([reading])), "page": html.escape(page(reading), quote=True)},
    )


def title(readings: Sequence[Reading]) -> str:
    """Prompts, then models, each said once and none too long for the title of a window."""
    prompts = dict.fromkeys(reading.prompt for reading in readings)
    models = dict.fromkeys(reading.model.name for reading in readings)
    return " · ".join([" | ".join(map(_cut, prompts)), " | ".join(map(_cut, models)), "patchlens"])


def _cut(text: str) -> str:
    """The beginning and the end, which tell long prompts and paths apart."""
    return text if len(text) <= TITLE_PART else f"{text[: TITLE_PART - 20]}…{text[-19:]}"


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
