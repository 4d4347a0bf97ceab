"""Ranks, the area under the ROC curve, and rank correlation with and without a third thing held fixed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Numbers = NDArray[np.floating[Any]]


def auroc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Area under the ROC curve: how often a positive outscores a negative, a tie counting half.

    The Mann-Whitney statistic from mid-ranks, divided by the number of pairs. 0.5 is chance.

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
    above = mid_ranks(scores)[..., positive].sum(-1) - n_positive * (n_positive + 1) / 2
    return above / n_pairs


def mid_ranks(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rank from 1 of each score ``[.., n]`` along the last axis; equal ones share the mean of their ranks."""
    order = np.argsort(scores, -1, kind="stable")
    ranked = np.take_along_axis(scores, order, -1)
    place = np.broadcast_to(np.arange(1.0, scores.shape[-1] + 1), scores.shape)
    new = np.concatenate([np.ones_like(ranked[..., :1], bool), ranked[..., 1:] != ranked[..., :-1]], -1)
    last = np.concatenate([new[..., 1:], np.ones_like(new[..., :1])], -1)
    first_of_run = np.maximum.accumulate(np.where(new, place, 0), -1)
    last_of_run = np.minimum.accumulate(np.where(last, place, np.inf)[..., ::-1], -1)[..., ::-1]
    ranks = np.empty(scores.shape)
    np.put_along_axis(ranks, order, (first_of_run + last_of_run) / 2, -1)
    return ranks


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
