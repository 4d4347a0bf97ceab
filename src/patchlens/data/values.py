"""Values of an entry that people write: as they should be, or an error that says what was expected."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from patchlens.errors import DataError


def json_object(text: str) -> dict[str, Any]:
    """An object of JSON, no key of which is there twice.

    Raises:
        DataError: it is no JSON, or something else.
    """
    try:
        content: Any = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise DataError(f"this is not JSON: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise DataError(f"expected an object with values by name, got {type(content).__name__}")
    return cast("dict[str, Any]", content)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = next((key for key, count in Counter(key for key, _ in pairs).items() if count > 1), None)
    if twice is not None:
        raise DataError(f"{twice!r} is there twice")
    return dict(pairs)


def text_in(path: Path) -> str:
    """The text of a file.

    Raises:
        DataError: it cannot be read as UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"it cannot be read as text: {error}") from error


def text_of(value: Mapping[str, Any], key: str) -> str | None:
    """Text (a number is taken as it is written), or None where it is not given.

    Raises:
        DataError: it is something else.
    """
    given = value.get(key)
    if given is None:
        return None
    if _is_number(given):
        return str(given)
    if not isinstance(given, str) or not given.strip():
        raise DataError(f'expected "{key}" to be text, got {given!r:.60}{_hint(given)}')
    return given


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _hint(given: Any) -> str:
    return "; put it in quotes" if isinstance(given, bool) else ""


def words_of(value: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """One text or a list of texts; empty where it is not given.

    Raises:
        DataError: it is something else.
    """
    given = value.get(key)
    words: list[Any] = [] if given is None else given if isinstance(given, list) else [given]
    texts = [str(word) if _is_number(word) else word for word in words]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise DataError(f'expected "{key}" to be text or a list of texts, got {given!r:.60}{_hint(given)}')
    return tuple(texts)


def check_keys(content: Collection[str], known: Collection[str], *, others: bool = False) -> None:
    """Refuse a key that is not known, with what may have been meant.

    Args:
        content: the keys.
        known: those that mean something.
        others: let others be, unless they look like a known one misspelt.

    Raises:
        DataError: naming the key.
    """
    for key in content:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
            if close or not others:
                raise DataError(f"there is no {key!r} here; {hint}")


def choice_of(value: Mapping[str, Any], key: str, known: Sequence[str]) -> str | None:
    """One of some words, or None where it is not given.

    Raises:
        DataError: it is another.
    """
    given = text_of(value, key)
    if given is not None and given not in known:
        raise DataError(f'"{key}" {given!r} is none of {", ".join(known)}')
    return given


def number_of(value: Mapping[str, Any], key: str, low: int, high: int | None) -> int | None:
    """A whole number within bounds, or None where it is not given.

    Raises:
        DataError: it is something else.
    """
    given = value.get(key)
    if given is None:
        return None
    whole = isinstance(given, int) and not isinstance(given, bool)
    if not whole or given < low or (high is not None and given > high):
        upto = f"from {low}" if high is None else f"from {low} to {high}"
        raise DataError(f'expected "{key}" to be a whole number {upto}, got {given!r:.60}')
    return given
