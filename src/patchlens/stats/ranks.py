"""The area under the ROC curve, and rank correlation with and without a third thing held fixed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Array = NDArray[np.float64]
Numbers = NDArray[np.floating[Any]]


def auroc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Area under the ROC curve: how often a positive outscores a negative, a tie counting half.

    The Mann-Whitney statistic from ranks, divided by the number of pairs. 0.5 is chance.

    Args:
        scores: ``[.., n]``.
        positive: ``[n]``; the others are negative.

    Returns:
        ``[..]``; NaN where there is no positive or no negative.
    """
    n_positive = int(positive.sum())
    n_pairs = n_positive * (len(positive) - n_positive)
    if not n_pairs:
        return np.full(scores.shape[:-1], np.nan)
    above = rankdata(scores, axis=-1)[..., positive].sum(-1) - n_positive * (n_positive + 1) / 2
    return above / n_pairs


def spearman(first: Numbers, second: Numbers) -> Array:
    """Spearman's rank correlation along the last axis, ties sharing the mean of their ranks.

    Args:
        first: ``[.., n]``.
        second: ``[.., n]``.

    Returns:
        ``[..]``, -1 to 1; NaN where one of them is the same everywhere.
    """
    return correlated(rankdata(first, axis=-1), rankdata(second, axis=-1))


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
