"""Means and shares with 95% bootstrap intervals, pictures resampled whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
RESAMPLES = 1000


@dataclass(frozen=True)
class Estimate:
    """A value and the bounds of its 95% interval; None where it is not defined (for every resample)."""

    value: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.value is None:
            return "undefined"
        if self.low is None or self.high is None:
            return f"{self.value:.3f} (interval undefined)"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def bootstrap(
    count: Array, sums: Sequence[Array], statistic: Callable[[Sequence[Array]], Array], seed: int
) -> Estimate:
    """Estimate something from means over positions, pictures (or their groups) drawn with replacement.

    Args:
        count: positions of each group ``[group]``.
        sums: sums over the positions of each group by layer, ``[group, layer]`` each.
        statistic: turns the means of ``sums``, one array ``[resample, layer]`` each, into ``[resample]``
            values; NaN where it is not defined.
        seed: of the resampling.
    """
    present = count > 0
    n = int(present.sum())
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(np.float64)
    weights = np.concatenate([np.ones((1, n)), weights])
    total = weights @ count[present]
    values = statistic([weights @ one[present] / total[:, None] for one in sums])
    if np.isnan(values[0]):
        return Estimate(None, None, None)
    if np.isnan(values).any():
        return Estimate(float(values[0]), None, None)
    low, high = np.percentile(values[1:], [2.5, 97.5])
    return Estimate(float(values[0]), float(low), float(high))
