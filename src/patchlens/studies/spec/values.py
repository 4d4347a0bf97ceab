"""Values of a spec's entries: as they should be, or an error that says where and why not."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from patchlens.errors import StudyError


def text_of(value: Mapping[str, Any], key: str, where: str) -> str | None:
    """Text (a number is taken as it is written), or None where it is not given."""
    given = value.get(key)
    if given is None:
        return None
    if _is_number(given):
        return str(given)
    if not isinstance(given, str) or not given.strip():
        raise StudyError(f'{where}: expected "{key}" to be text, got {given!r:.60}{_hint(given)}')
    return given


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _hint(given: Any) -> str:
    return "; put it in quotes" if isinstance(given, bool) else ""


def words_of(value: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    """One text or a list of texts; empty where it is not given."""
    given = value.get(key)
    words: list[Any] = [] if given is None else given if isinstance(given, list) else [given]
    texts = [str(word) if _is_number(word) else word for word in words]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise StudyError(
            f'{where}: expected "{key}" to be text or a list of texts, got {given!r:.60}{_hint(given)}'
        )
    return tuple(texts)


def check_keys(content: Mapping[str, Any], known: Collection[str], where: str) -> None:
    """Refuse a key that is not known, with what may have been meant."""
    for key in content:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
            raise StudyError(f"{where}: there is no {key!r} here; {hint}")


def choice_of(value: Mapping[str, Any], key: str, known: Sequence[str], where: str) -> str | None:
    """One of some words, or None where it is not given."""
    given = text_of(value, key, where)
    if given is not None and given not in known:
        raise StudyError(f'{where}: "{key}" {given!r} is none of {", ".join(known)}')
    return given


def number_of(value: Mapping[str, Any], key: str, where: str, low: int, high: int | None) -> int | None:
    """A whole number within bounds, or None where it is not given."""
    given = value.get(key)
    if given is None:
        return None
    if (
        not isinstance(given, int)
        or isinstance(given, bool)
        or given < low
        or (high is not None and given > high)
    ):
        upto = f"from {low}" if high is None else f"from {low} to {high}"
        raise StudyError(f'{where}: expected "{key}" to be a whole number {upto}, got {given!r:.60}')
    return given
