"""Rank correlation of what was foretold with what came true, and whether it says more than a third thing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchlens.bench.metrics import mid_ranks

Array = NDArray[np.float64]


def spearman(first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]]) -> Array:
    """Spearman's rank correlation along the last axis, ties sharing the mean of their ranks.

    Args:
        first: ``[.., n]``.
        second: ``[.., n]``.

    Returns:
        ``[..]``, -1 to 1; NaN where one of them is the same everywhere.
    """
    return _correlated(mid_ranks(first), mid_ranks(second))


def partial_spearman(
    first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]], given: NDArray[np.floating[Any]]
) -> Array:
    """Spearman's rank correlation of two with the ranks of a third held fixed (first-order partial correlation).

    Args:
        first: ``[.., n]``.
        second: ``[.., n]``.
        given: ``[.., n]``.

    Returns:
        ``[..]``; NaN where one is the same everywhere, or ranked exactly as ``given``.
    """
    ranks = [mid_ranks(each) for each in (first, second, given)]
    together, own, other = (_correlated(ranks[a], ranks[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    left = (1 - own**2) * (1 - other**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(left > 1e-12, (together - own * other) / np.sqrt(left), np.nan)


def _correlated(first: Array, second: Array) -> Array:
    a, b = (each - each.mean(-1, keepdims=True) for each in (first, second))
    scale = np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(scale > 0, (a * b).sum(-1) / scale, np.nan)
