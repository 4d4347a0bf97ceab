"""Differences between items with effect sizes, and what chance alone would give: pure functions of arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from patchlens.intervals import Array, t95

DRAWS: Final = 19_999
LEVEL: Final = 0.05
"""Below this a p-value that was corrected counts as beyond chance."""
_CHUNK: Final = 1_000
_EQUAL: Final = 1 - 1e-9
_LEAST: Final = 1e-9
"""Share of the values' size below which a spread is rounding, not variation."""


@dataclass(frozen=True)
class Difference:
    """A difference of two means, in the unit of what is measured and as an effect size, beside its null.

    ``low`` and ``high`` bound the 95% interval of ``difference``; ``effect_low`` and ``effect_high`` are the
    same in units of the standard deviation that ``effect`` is in. ``null_low`` to ``null_high`` holds 95% of
    the effect sizes of relabelled items, ``p`` is two-sided. None where it is not defined.
    """

    first: float
    second: float
    first_items: int
    second_items: int
    difference: float
    low: float | None = None
    high: float | None = None
    effect: float | None = None
    effect_low: float | None = None
    effect_high: float | None = None
    null_low: float | None = None
    null_high: float | None = None
    p: float | None = None


def unpaired(first: Array, second: Array, seed: int, draws: int = DRAWS) -> list[Difference | None]:
    """First less second, per quantity, between two sets of other items.

    The interval is Welch's; the effect size is Hedges' g with the pooled standard deviation; the null
    shuffles the labels among the items.

    Args:
        first: ``[item, quantity]``, NaN where not known.
        second: ``[item, quantity]``.
        seed: of the shuffles.
        draws: how many shuffles.

    Returns:
        One per quantity; None where one side has no item.
    """
    values = np.concatenate([first, second])
    label = np.arange(len(values)) < len(first)
    null = _shuffled(values, label, seed, draws)
    return [
        _unpaired_one(_known(first[:, q]), _known(second[:, q]), null[:, q]) for q in range(values.shape[1])
    ]


def paired(first: Array, second: Array, seed: int, draws: int = DRAWS) -> list[Difference | None]:
    """First less second, per quantity, between two readings of the same items.

    The interval is Student's t over the items' differences; the effect size is d_z, their mean over their
    standard deviation; the null flips the sign of each.

    Args:
        first: ``[item, quantity]``, NaN where not known; a row of ``second`` is about the same item.
        second: ``[item, quantity]``.
        seed: of the flips.
        draws: how many flips.

    Returns:
        One per quantity; None where no item has both.
    """
    both = ~np.isnan(first - second)
    filled = np.where(both, first - second, 0.0)
    rng = np.random.default_rng(seed)
    flipped = [rng.choice([-1.0, 1.0], (size, len(filled))) @ filled for size in _chunks(draws)]
    null = np.concatenate(flipped)
    return [
        _paired_one(first[both[:, q], q], second[both[:, q], q], null[:, q]) for q in range(first.shape[1])
    ]


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Holm's (1979) p-values for all that were tested; None stays None and does not count."""
    tested = sorted((value, place) for place, value in enumerate(p) if value is not None)
    made: list[float | None] = [None] * len(p)
    worst = 0.0
    for rank, (value, place) in enumerate(tested):
        worst = max(worst, min(1.0, value * (len(tested) - rank)))
        made[place] = worst
    return made


def least_p(first_items: int, second_items: int, *, pairs: bool, draws: int = DRAWS) -> float:
    """The smallest p that a test of so many items can give, however large the difference."""
    if pairs:
        return max(2.0 ** (1 - first_items), 1 / (draws + 1))
    sides = 2 if first_items == second_items else 1
    return max(sides / math.comb(first_items + second_items, first_items), 1 / (draws + 1))


def _shuffled(values: Array, label: NDArray[np.bool_], seed: int, draws: int) -> Array:
    """Differences of means ``[draw, quantity]`` under shuffled labels; NaN where a side is left empty."""
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)
    count, total = known.sum(0), filled.sum(0)
    rng = np.random.default_rng(seed)
    parts: list[Array] = []
    for size in _chunks(draws):
        shuffled = rng.permuted(np.tile(label, (size, 1)), axis=1).astype(np.float64)
        n, own = shuffled @ known, shuffled @ filled
        with np.errstate(invalid="ignore", divide="ignore"):
            parts.append(own / n - (total - own) / (count - n))
    return np.concatenate(parts)


def _unpaired_one(first: Array, second: Array, null: Array) -> Difference | None:
    if not len(first) or not len(second):
        return None
    means = float(first.mean()), float(second.mean())
    n, m = len(first), len(second)
    difference = means[0] - means[1]
    if n < 2 or m < 2:
        return Difference(*means, n, m, difference)
    squares = float(((first - means[0]) ** 2).sum() + ((second - means[1]) ** 2).sum())
    parts = float(first.var(ddof=1)) / n, float(second.var(ddof=1)) / m
    error = sum(parts)
    freedom = error**2 / (parts[0] ** 2 / (n - 1) + parts[1] ** 2 / (m - 1)) if error else float(n + m - 2)
    half = t95(freedom) * math.sqrt(error)
    null = null[~np.isnan(null)]
    between = n * m / (n + m)
    total = squares + between * difference**2
    correction = 1 - 3 / (4 * (n + m - 2) - 1)
    sd = math.sqrt(squares / (n + m - 2))
    size = float(max(np.abs(first).max(), np.abs(second).max()))
    spread = np.sqrt(np.maximum(total - between * null**2, 0) / (n + m - 2))
    return _beside(
        Difference(*means, n, m, difference, difference - half, difference + half),
        correction / sd if sd > _LEAST * size else None,
        null,
        correction * _ratio(null, spread),
        pairs=False,
    )


def _paired_one(first: Array, second: Array, null: Array) -> Difference | None:
    n = len(first)
    if n == 0:
        return None
    means = float(first.mean()), float(second.mean())
    differences = first - second
    difference = float(differences.mean())
    if n < 2:
        return Difference(*means, n, n, difference)
    sd = float(differences.std(ddof=1))
    half = t95(n - 1) * sd / math.sqrt(n)
    null = null / n
    squares = float((differences**2).sum())
    spread = np.sqrt(np.maximum(squares - n * null**2, 0) / (n - 1))
    return _beside(
        Difference(*means, n, n, difference, difference - half, difference + half),
        1 / sd if sd > _LEAST * float(np.abs(differences).max()) else None,
        null,
        _ratio(null, spread),
        pairs=True,
    )


def _beside(
    found: Difference, scale: float | None, null: Array, effects: Array, *, pairs: bool
) -> Difference:
    """The difference with its effect size, the null's band and p, which all relabellings bound from below."""
    drawn = (1 + int((np.abs(null) >= abs(found.difference) * _EQUAL).sum())) / (len(null) + 1)
    p = max(drawn, least_p(found.first_items, found.second_items, pairs=pairs, draws=len(null)))
    bands = np.percentile(effects, [2.5, 97.5]) if len(effects) else (None, None)
    scaled = {
        name: None if scale is None or value is None else value * scale
        for name, value in (
            ("effect", found.difference),
            ("effect_low", found.low),
            ("effect_high", found.high),
        )
    }
    low, high = (None if bound is None or not np.isfinite(bound) else float(bound) for bound in bands)
    return Difference(
        *(found.first, found.second, found.first_items, found.second_items),
        *(found.difference, found.low, found.high),
        **scaled,
        null_low=low,
        null_high=high,
        p=p,
    )


def _ratio(null: Array, spread: Array) -> Array:
    """Null differences in standard deviations; those of draws without any spread are left out."""
    spreads = spread > 1e-6 * np.abs(null)
    return null[spreads] / spread[spreads]


def _known(values: Array) -> Array:
    return values[~np.isnan(values)]


def _chunks(draws: int) -> list[int]:
    return [min(_CHUNK, draws - start) for start in range(0, draws, _CHUNK)]
