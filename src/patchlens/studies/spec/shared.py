"""What the items of one source share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

COMMON: Final = ("prompt", "group", "expected", "concepts")
TRUTH: Final = "truth"
"""As ``concepts``: what is known to be in the picture, of drawn scenes and annotated pictures."""


@dataclass(frozen=True)
class Defaults:
    """Of items that give none of their own."""

    prompt: str | None = None
    group: str | None = None
    expected: tuple[str, ...] = ()
    concepts: tuple[str, ...] = ()


def with_truth(concepts: Sequence[str], there: Sequence[str]) -> tuple[str, ...]:
    """Concepts, with what is there in the place of `TRUTH`."""
    named = [word for concept in concepts for word in (there if concept == TRUTH else (concept,))]
    return tuple(dict.fromkeys(named))
