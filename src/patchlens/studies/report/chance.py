"""p-values: from the draws of a null, and corrected for their number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from patchlens.stats.intervals import Array

DRAWS: Final = 19_999
"""How many relabelled studies make a null."""
LEVEL: Final = 0.05
"""Below this a p-value that was corrected counts as beyond chance."""
TAIL_ITEMS: Final = 20
"""On either side; with fewer, no p is carried beyond what draws can count."""
_TAIL: Final = 0.005
_LEAST_TAIL: Final = 20
_EQUAL: Final = 1 - 1e-9


def p_beside(null: Array, difference: float, least: float) -> float:
    """Share of a null as far from 0 as a difference, two-sided.

    Args:
        null: differences ``[draw]`` under relabelling.
        difference: what was found.
        least: by ``least_p``. Where it is below what draws can count and no draw goes as far, p follows an
            exponential tail through the outermost draws, which lies above that of a mean of many items.
    """
    far = np.abs(null)
    p = (1 + int((far >= abs(difference) * _EQUAL).sum())) / (len(null) + 1)
    if least < p <= 1 / (len(null) + 1):
        outer = np.sort(far)[-int(len(far) * _TAIL) :]
        beyond = outer - outer[0]
        if beyond.any():
            p *= min(1.0, len(outer) * math.exp(-(abs(difference) - outer[0]) / beyond.mean()))
    return max(p, least)


def least_p(
    first_items: int, second_items: int, *, pairs: bool, draws: int = DRAWS, tail: bool = False
) -> float:
    """The smallest p that a test of so many items can give, however large the difference.

    Args:
        first_items: of one side.
        second_items: of the other.
        pairs: whether they are the same items.
        draws: how many make the null.
        tail: whether p may be carried beyond them, as ``against_rest`` does.
    """
    counted = 1 / (draws + 1)
    if tail and min(first_items, second_items) >= TAIL_ITEMS and draws * _TAIL >= _LEAST_TAIL:
        counted **= 2
    if pairs:
        return max(2.0 ** (1 - first_items), counted)
    sides = 2 if first_items == second_items else 1
    return max(sides / math.comb(first_items + second_items, first_items), counted)


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Holm's (1979) p-values for all that were tested; None stays None and does not count."""
    tested = sorted((value, place) for place, value in enumerate(p) if value is not None)
    made: list[float | None] = [None] * len(p)
    worst = 0.0
    for rank, (value, place) in enumerate(tested):
        worst = max(worst, min(1.0, value * (len(tested) - rank)))
        made[place] = worst
    return made
