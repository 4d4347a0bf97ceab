"""Token pieces made visible, as the page does: what has no shape of its own is named, never printed raw."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Final

from patchlens.reading.records import Target

NAMES: Final = {
    **{0x09: "TAB", 0x0A: "LF", 0x0D: "CR", 0xA0: "NBSP", 0xAD: "SHY", 0x200B: "ZWSP", 0x200C: "ZWNJ"},
    **{0x200D: "ZWJ", 0x200E: "LRM", 0x200F: "RLM", 0x2028: "LS", 0x2029: "PS", 0x202A: "LRE", 0x202B: "RLE"},
    **{0x202C: "PDF", 0x202D: "LRO", 0x202E: "RLO", 0x2060: "WJ", 0x2066: "LRI", 0x2067: "RLI"},
    **{0x2068: "FSI", 0x2069: "PDI", 0xFEFF: "BOM"},
}
JOINERS: Final = "\u200c\u200d"
SHAPELESS: Final = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs")
BYTES: Final = re.compile(r"(?:<0x[0-9A-F]{2}>)+")


def visible(piece: str) -> str:
    """A piece on one line: spaces marked, bytes and what cannot be seen named."""
    if not piece:
        return "‹empty›"
    if BYTES.fullmatch(piece):
        return piece.replace("<0x", "‹").replace(">", "›")
    shown = [_shape(piece, i) for i in range(len(piece))]
    return "".join(shown)


def visible_text(text: str) -> str:
    """Longer text on one line (prompt, answer, names): spaces stay, what cannot be seen is named."""
    return "".join(c if c in " \ufffd" else _shape(text, i) for i, c in enumerate(text))


def target_name(target: Target) -> str:
    """A target's word; where a first token stands for it, that token is said too."""
    name = visible_text(target.word)
    return name if target.is_whole else f"{name} ({visible(target.pieces[0])}…)"


def percent(prob: float) -> str:
    """A probability with two telling digits."""
    value = 100 * prob
    if math.isnan(value):
        return "–"
    if value >= 9.95:
        return f"{value:.0f}%"
    if value >= 0.95:
        return f"{value:.1f}%"
    if value >= 0.0095:
        return f"{value:.2f}%"
    return f"{value:.3f}%" if value >= 0.00095 else f"{value:.0e}%" if value else "0%"


def _shape(text: str, i: int) -> str:
    char = text[i]
    if char == " ":
        return "␣"
    if char in JOINERS and 0 < i < len(text) - 1 and not _shapeless(text[i - 1]):
        return char
    return f"‹{code_name(char)}›" if _shapeless(char) else char


def _shapeless(char: str) -> bool:
    return char == "\ufffd" or (char != " " and unicodedata.category(char) in SHAPELESS)


def code_name(char: str) -> str:
    """Name of a character that cannot be seen or drawn."""
    return NAMES.get(ord(char), f"U+{ord(char):04X}")
