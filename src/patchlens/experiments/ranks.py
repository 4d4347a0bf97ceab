"""Rank correlation of what was foretold with what came true, and whether it says more than a third thing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchlens.bench.metrics import mid_ranks

Array = NDArray[np.float64]
Numbers = NDArray[np.floating[Any]]


def spearman(first: Numbers, second: Numbers) -> Array:
    """Spearman's rank correlation along the last axis, ties sharing the mean of their ranks.

    Args:
        first: ``[.., n]``.
        second: ``[.., n]``.

    Returns:
        ``[..]``, -1 to 1; NaN where one of them is the same everywhere.
    """
    return correlated(mid_ranks(first), mid_ranks(second))


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """`spearman` of two maps.

    None where it is not defined: fewer than 3 pairs, a value that is not finite, or a side that is all alike.
    """
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.shape != other.shape:
        raise ValueError(f"expected as many values on both sides, got {one.size} and {other.size}")
    if len(one) < 3 or not (np.isfinite(one).all() and np.isfinite(other).all()):
        return None
    found = float(spearman(one, other))
    return None if np.isnan(found) else found


def partial_spearman(first: Numbers, second: Numbers, given: Numbers) -> Array:
    """Rank correlation of two with the ranks of a third held fixed (partial correlation of first order).

    Args:
        first: ``[.., n]``.
        second: ``[.., n]``.
        given: ``[.., n]``.

    Returns:
        ``[..]``; NaN where one is the same everywhere, or ranked exactly as ``given``.
    """
    return partial(spearman(first, second), spearman(first, given), spearman(second, given))


def partial(together: Array, first_given: Array, second_given: Array) -> Array:
    """The correlation of two with a third held fixed, from the three plain ones."""
    left = (1 - first_given**2) * (1 - second_given**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(left > 1e-12, (together - first_given * second_given) / np.sqrt(left), np.nan)


def correlated(first: Array, second: Array) -> Array:
    """Pearson's correlation along the last axis; of ranks it is Spearman's. NaN where one is constant."""
    a, b = (each - each.mean(-1, keepdims=True) for each in (first, second))
    scale = np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(scale > 0, (a * b).sum(-1) / scale, np.nan)
