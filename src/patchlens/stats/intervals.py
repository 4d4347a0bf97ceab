"""95% intervals of means and shares: Student's t, Wilson's, and the bootstrap of pictures resampled whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
RESAMPLES = 1000

_Z95: Final = 1.959964
_T95: Final = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


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


def t95(freedom: float) -> float:
    """Student's t at 97.5%, for 1 degree of freedom or more; a fraction counts as the whole number below it.

    Beyond 30 degrees by the series about the normal's quantile, whose error is below 0.001 there.
    """
    if freedom < len(_T95) + 1:
        return _T95[int(freedom) - 1]
    z = _Z95
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def wilson(share: float, n: int) -> Estimate:
    """Share of n cases with Wilson's interval (1927), which has a width even where all cases agree."""
    middle = (share + _Z95**2 / (2 * n)) / (1 + _Z95**2 / n)
    reach = _Z95 * math.sqrt(share * (1 - share) / n + _Z95**2 / (4 * n**2)) / (1 + _Z95**2 / n)
    return Estimate(share, max(0.0, middle - reach), min(1.0, middle + reach))
