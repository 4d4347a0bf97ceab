"""p-values: of cases against their controls, from the draws of a null, and corrected for their number."""

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
_EXACT: Final = 2**16
_TAIL: Final = 0.005
_LEAST_TAIL: Final = 20
_EQUAL: Final = 1 - 1e-9


def exchanged(cases: Sequence[Array], seed: int = 0) -> float | None:
    """Whether the first value of each case stands apart from its others: an exact test, two-sided.

    Were nothing the matter, any value of a case could as well have been the first. What is compared is the
    sum of the first less the mean of the others under every such exchange, or under `DRAWS` drawn ones where
    there are too many. Of pairs this is the sign-flip test. Where the control is the mean of several draws
    flipping signs would not do: a rare event seldom happens to the one, and often to some of the many.

    Args:
        cases: values ``[1 + control]`` of each.
        seed: of the drawn exchanges.

    Returns:
        p; None with fewer than two cases, which say nothing of others.
    """
    shifts = [case - (case.sum() - case) / (len(case) - 1) for case in cases]
    return _two_sided(sum(shift[0] for shift in shifts), [(shift, None) for shift in shifts], seed)


def against_chances(values: Sequence[float], chances: Sequence[float], seed: int = 0) -> float | None:
    """Whether shares are other than what chance would give, by case; two-sided, as `exchanged`.

    Of all that lies between 0 and 1 and is ``chance`` on average, nothing varies more than yes and no. So
    that is the null, also for shares of several things.
    """
    nulls = [(np.array([1 - chance, -chance]), np.array([chance, 1 - chance])) for chance in chances]
    return _two_sided(sum(values) - sum(chances), nulls, seed)


def _two_sided(found: float, nulls: Sequence[tuple[Array, Array | None]], seed: int) -> float | None:
    """Twice the smaller tail of a sum of independent terms, each one of some values with some weights."""
    if len(nulls) < 2:
        return None
    nulls = [(terms, weight) for terms, weight in nulls if np.ptp(terms)]
    near = 1e-9 * sum(float(np.abs(terms).max()) for terms, _ in nulls)
    if math.prod(len(terms) for terms, _ in nulls) <= _EXACT:
        sums, weights = np.zeros(1), np.ones(1)
        for terms, weight in nulls:
            each = np.full(len(terms), 1 / len(terms)) if weight is None else weight
            sums, weights = np.add.outer(sums, terms).ravel(), np.multiply.outer(weights, each).ravel()
        tails = [float(weights[side].sum()) for side in (sums >= found - near, sums <= found + near)]
        return min(1.0, 2 * min(tails))
    rng = np.random.default_rng(seed)
    drawn = np.zeros(DRAWS)
    for terms, weight in nulls:
        at = rng.integers(len(terms), size=DRAWS) if weight is None else rng.random(DRAWS) >= weight[0]
        drawn += terms[at.astype(np.intp)]
    counts = [int(side.sum()) for side in (drawn >= found - near, drawn <= found + near)]
    return min(1.0, 2 * (1 + min(counts)) / (DRAWS + 1))


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
