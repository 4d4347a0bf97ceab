"""Whether an answer says what was expected."""

from __future__ import annotations

import re
from collections.abc import Sequence


def says_expected(answer: str, expected: Sequence[str]) -> bool | None:
    """Whether an answer holds one of some texts, as whole words where the writing has words; case is equal.

    None where nothing was expected.
    """
    if not expected:
        return None
    return any(_holds(answer.casefold(), text.strip().casefold()) for text in expected)


def _holds(answer: str, text: str) -> bool:
    literal = re.escape(text)
    if any(_spaceless(character) for character in text):
        return text in answer
    return re.search(rf"(?<!\w){literal}(?!\w)", answer) is not None


def _spaceless(character: str) -> bool:
    """Chinese and Japanese, which put no space between words."""
    return "\u3040" <= character <= "\u30ff" or "\u3400" <= character <= "\u9fff"
