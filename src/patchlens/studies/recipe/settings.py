"""How every item of a study is read, and which values a spec may give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from patchlens.errors import StudyError
from patchlens.reading.records import CHANNELS
from patchlens.selection import POSITION_GROUPS


@dataclass(frozen=True)
class Settings:
    """How every item is read.

    Args:
        top_k: tokens kept per cell.
        max_new_tokens: length limit of the answer.
        steps: read the position of every answer token, not just of the first.
        layers: which; None for all.
        positions: a group (all, answer, text, patches) or numbers.
        chat: use the model's chat template; None where there is one.
        attention: add the shares of attention at the answer's positions, in one more pass.
        channels: contribution, attention, contextual: as `Trace.read`, of items with a picture.
        effects: ablate as many patches as a tenth where the lens shows the answer's word, beside random ones.
        readings: also keep each reading as a file.
        dictionary: file of further words for the concepts.
        batch: items per part; those that are alike go through the model together.
    """

    top_k: int = 10
    max_new_tokens: int = 20
    steps: bool = True
    layers: tuple[int, ...] | None = None
    positions: str | tuple[int, ...] = "all"
    chat: bool | None = None
    attention: bool = False
    channels: tuple[str, ...] = ()
    effects: bool = False
    readings: bool = False
    dictionary: str | None = None
    batch: int = 16


SETTINGS: Final = tuple(field.name for field in fields(Settings))


def read_settings(content: Mapping[str, Any], path: Path) -> Settings:
    """The settings that a spec gives by name, the others as they are.

    Raises:
        StudyError: one cannot have that value; says what was expected.
    """
    given = {name: content[name] for name in SETTINGS if content.get(name) is not None}
    for name in ("layers", "channels"):
        if name in given:
            given[name] = tuple(given[name]) if isinstance(given[name], list) else (given[name],)
    if isinstance(given.get("positions"), list):
        given["positions"] = tuple(given["positions"])
    for name, value in given.items():
        if not _fits(name, value):
            raise StudyError(f'{path}: "{name}" cannot be {value!r}: {_EXPECTED[name]}')
    return Settings(**given)


_EXPECTED: Final = {
    "top_k": "expected a whole number from 1",
    "max_new_tokens": "expected a whole number from 0",
    "batch": "expected a whole number from 1",
    "layers": "expected a list of whole numbers",
    "positions": "expected all, answer, text, patches or a list of whole numbers",
    "channels": "expected some of contribution, attention, contextual",
    "dictionary": "expected the path of a file",
    **dict.fromkeys(("steps", "chat", "attention", "effects", "readings"), "expected true or false"),
}


def _fits(name: str, value: Any) -> bool:
    if name in ("top_k", "max_new_tokens", "batch"):
        return _is_number(value) and value >= (0 if name == "max_new_tokens" else 1)
    if name == "layers":
        return bool(value) and all(map(_is_number, value))
    if name == "positions":
        named = isinstance(value, str) and value in POSITION_GROUPS
        return named or (isinstance(value, tuple) and bool(value) and all(map(_is_number, value)))
    if name == "channels":
        return all(one in CHANNELS for one in value)
    return isinstance(value, str if name == "dictionary" else bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
