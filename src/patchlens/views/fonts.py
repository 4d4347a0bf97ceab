"""Glyphs for tokens: DejaVu (Latin, Cyrillic, Greek, Arabic, Hebrew) and the bundled CJK font."""

from __future__ import annotations

import unicodedata
from functools import cache
from importlib import resources
from typing import Final

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

from patchlens.views.words import visible, visible_text

DEJAVU: Final = "DejaVu Sans"
CJK: Final = "patchlens CJK"
FAMILIES: Final = (DEJAVU, CJK)


@cache
def register() -> None:
    """Tell matplotlib of the bundled font; nothing has to be installed."""
    source = resources.files("patchlens.views").joinpath("assets", "fonts", "cjk.otf")
    with resources.as_file(source) as path:
        font_manager.fontManager.addfont(path)


@cache
def _fonts() -> tuple[FT2Font, ...]:
    register()
    return tuple(font_manager.get_font(font_manager.findfont(family)) for family in FAMILIES)


def has_glyph(char: str) -> bool:
    """Whether a font at hand draws this character (0 is the glyph of a missing character)."""
    return any(font.get_char_index(ord(char)) for font in _fonts())


def drawable(text: str) -> str:
    """The text with its code point in place of every character that no font at hand can draw."""
    return "".join(c if has_glyph(c) else f"‹U+{ord(c):04X}›" for c in text)


def word(piece: str, columns: int) -> str:
    """A token piece to draw, cut to a width in columns (a wide character takes two)."""
    return cut(drawable(visible(piece)), columns)


def text(text: str, columns: int = 1_000) -> str:
    """A longer text to draw on one line, cut to a width in columns."""
    return cut(drawable(visible_text(text)), columns)


def cut(text: str, columns: int) -> str:
    """Shorten a text that is wider than so many columns, with an ellipsis."""
    widths = [2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text]
    if sum(widths) <= columns:
        return text
    kept, room = "", columns - 1
    for char, width in zip(text, widths, strict=True):
        room -= width
        if room < 0:
            break
        kept += char
    return kept + "…"
