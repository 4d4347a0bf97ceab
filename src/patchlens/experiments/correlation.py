"""Rank correlation, for maps whose scales have nothing in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rank correlation, ties at their middle rank.

    None where it is not defined: fewer than 3 pairs, a value that is not finite, or a side that is all alike.
    """
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.shape != other.shape:
        raise ValueError(f"expected as many values on both sides, got {one.size} and {other.size}")
    if len(one) < 3 or not (np.isfinite(one).all() and np.isfinite(other).all()):
        return None
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(np.corrcoef(_middle_ranks(one), _middle_ranks(other))[0, 1])


def _middle_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]
