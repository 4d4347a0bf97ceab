"""Differences between items with effect sizes, and what chance alone would give: pure functions of arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from patchlens.stats.chance import DRAWS, least_p, p_beside
from patchlens.stats.intervals import FREE, SHARE, Array, Range, differing, mean, quantile

_CHUNK: Final = 1_000
_GROUPS_AT_ONCE: Final = 32
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


Ranges = Sequence[Range] | None
"""What each quantity can be; None where nothing is known of it."""


def unpaired(
    first: Array, second: Array, seed: int, draws: int = DRAWS, within: Ranges = None
) -> list[Difference | None]:
    """First less second, per quantity, between two sets of other items.

    The interval is Welch's, of yes and no over one more item of either kind on either side (Agresti and
    Caffo 2000), and within what is possible; the effect size is Hedges' g with the pooled standard deviation;
    the null shuffles the labels among the items.

    Args:
        first: ``[item, quantity]``, NaN where not known.
        second: ``[item, quantity]``.
        seed: of the shuffles.
        draws: how many shuffles.
        within: what each quantity can be.

    Returns:
        One per quantity; None where one side has no item.
    """
    values = np.concatenate([first, second])
    label = np.arange(len(values)) < len(first)
    null = _shuffled(values, label, seed, draws)
    return [
        _unpaired_one(_known(first[:, q]), _known(second[:, q]), null[:, q], _range(within, q))
        for q in range(values.shape[1])
    ]


def paired(
    first: Array, second: Array, seed: int, draws: int = DRAWS, within: Ranges = None
) -> list[Difference | None]:
    """First less second, per quantity, between two readings of the same items.

    The interval is that of a mean of the items' differences (`mean`, `differing`); the effect size is d_z,
    their mean over their standard deviation; the null flips the sign of each.

    Args:
        first: ``[item, quantity]``, NaN where not known; a row of ``second`` is about the same item.
        second: ``[item, quantity]``.
        seed: of the flips.
        draws: how many flips.
        within: what each quantity can be.

    Returns:
        One per quantity; None where no item has both.
    """
    both = ~np.isnan(first - second)
    filled = np.where(both, first - second, 0.0)
    rng = np.random.default_rng(seed)
    flipped = [rng.choice([-1.0, 1.0], (size, len(filled))) @ filled for size in _chunks(draws)]
    null = np.concatenate(flipped)
    return [
        _paired_one(first[both[:, q], q], second[both[:, q], q], null[:, q], _range(within, q))
        for q in range(first.shape[1])
    ]


def against_rest(
    groups: Sequence[Array],
    seed: int,
    draws: int = DRAWS,
    drawn: Callable[[int], None] | None = None,
    within: Ranges = None,
) -> list[list[Difference | None]]:
    """Each group less all others together, per quantity, as ``unpaired`` but with one shuffle for all.

    Each draw shuffles the labels of all groups among all items. So many tests want a p below what draws can
    count: where no draw goes as far as the difference and there are items enough, p follows an exponential
    tail through the outermost draws, which lies above that of a mean of many items.

    Args:
        groups: ``[item, quantity]`` each, NaN where not known.
        seed: of the shuffles.
        draws: how many shuffles.
        drawn: told how many are made.
        within: what each quantity can be.

    Returns:
        By group, one per quantity; None where one side has no item.
    """
    values = np.concatenate(groups)
    bounds = np.cumsum([0, *map(len, groups)])
    found: list[list[Difference | None]] = []
    for start in range(0, len(groups), _GROUPS_AT_ONCE):
        own = bounds[start : start + _GROUPS_AT_ONCE + 1]
        null = _shuffled_groups(values, own, seed, draws)
        for place, (low, high) in enumerate(pairwise(own)):
            rest = np.concatenate([values[:low], values[high:]])
            found.append(
                [
                    _unpaired_one(
                        _known(values[low:high, q]),
                        _known(rest[:, q]),
                        null[:, q, place],
                        _range(within, q),
                        tail=True,
                    )
                    for q in range(values.shape[1])
                ]
            )
        if drawn:
            drawn(draws * len(found) // len(groups))
    return found


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


def _shuffled_groups(values: Array, bounds: NDArray[np.int64], seed: int, draws: int) -> Array:
    """Differences ``[draw, quantity, group]`` of a group's mean and that of the rest, under shuffled labels.

    A group holds the shuffled items from one of ``bounds`` to the next. NaN where a side is left empty.
    """
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0).T.copy()
    count, total = known.sum(0)[:, None], filled.sum(1)[:, None]
    weight = known.T.astype(np.float64)
    sizes, starts, whole = np.diff(bounds), bounds[:-1] - bounds[0], known.all()
    null = np.empty((draws, len(filled), len(sizes)))
    rng = np.random.default_rng(seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        for draw in null:
            items = rng.permutation(len(values))[bounds[0] : bounds[-1]]
            own = np.add.reduceat(filled.take(items, axis=1), starts, axis=1)
            n = sizes if whole else np.add.reduceat(weight.take(items, axis=1), starts, axis=1)
            draw[:] = own / n - (total - own) / (count - n)
    return null


def _unpaired_one(
    first: Array, second: Array, null: Array, within: Range, *, tail: bool = False
) -> Difference | None:
    if not len(first) or not len(second):
        return None
    means = float(first.mean()), float(second.mean())
    n, m = len(first), len(second)
    difference = means[0] - means[1]
    if n < 2 or m < 2:
        return Difference(*means, n, m, difference)
    squares = float(((first - means[0]) ** 2).sum() + ((second - means[1]) ** 2).sum())
    null = null[~np.isnan(null)]
    between = n * m / (n + m)
    total = squares + between * difference**2
    correction = 1 - 3 / (4 * (n + m - 2) - 1)
    sd = math.sqrt(squares / (n + m - 2))
    size = float(max(np.abs(first).max(), np.abs(second).max()))
    spread = np.sqrt(np.maximum(total - between * null**2, 0) / (n + m - 2))
    return _beside(
        Difference(*means, n, m, difference, *_welch(first, second, within)),
        correction / sd if sd > _LEAST * size else None,
        null,
        correction * _ratio(null, spread),
        p_beside(null, difference, least_p(n, m, pairs=False, draws=len(null), tail=tail)),
    )


def _welch(first: Array, second: Array, within: Range) -> tuple[float | None, float | None]:
    """Bounds of a difference; None where neither side varies and what it can be has no limits."""
    yes_or_no = within == SHARE and bool(np.isin(np.concatenate([first, second]), (0.0, 1.0)).all())
    sides = [np.append(side, (0.0, 1.0)) if yes_or_no else side for side in (first, second)]
    parts = [float(side.var(ddof=1)) / len(side) for side in sides]
    error = sum(parts)
    if not error:
        return None, None
    freedom = error**2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, sides, strict=True))
    middle, half = float(sides[0].mean() - sides[1].mean()), quantile(freedom) * math.sqrt(error)
    possible = within.of_differences
    return possible.cut(middle - half), possible.cut(middle + half)


def _paired_one(first: Array, second: Array, null: Array, within: Range) -> Difference | None:
    n = len(first)
    if n == 0:
        return None
    means = float(first.mean()), float(second.mean())
    differences = first - second
    difference = float(differences.mean())
    if n < 2:
        return Difference(*means, n, n, difference)
    sd = float(differences.std(ddof=1))
    yes_or_no = within == SHARE and bool(np.isin(differences, (-1.0, 0.0, 1.0)).all())
    bounds = (differing if yes_or_no else mean)(differences, within.of_differences)
    null = null / n
    squares = float((differences**2).sum())
    spread = np.sqrt(np.maximum(squares - n * null**2, 0) / (n - 1))
    return _beside(
        Difference(*means, n, n, difference, bounds.low, bounds.high),
        1 / sd if sd > _LEAST * float(np.abs(differences).max()) else None,
        null,
        _ratio(null, spread),
        p_beside(null, difference, least_p(n, n, pairs=True, draws=len(null))),
    )


def _beside(found: Difference, scale: float | None, null: Array, effects: Array, p: float) -> Difference:
    """The difference with its effect size, the null's band and p."""
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


def _range(within: Ranges, quantity: int) -> Range:
    return FREE if within is None else within[quantity]


def _known(values: Array) -> Array:
    return values[~np.isnan(values)]


def _chunks(draws: int) -> list[int]:
    return [min(_CHUNK, draws - start) for start in range(0, draws, _CHUNK)]
