"""95% intervals of a mean over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from patchlens.stats.intervals import t95

LEVEL: Final = "95%, Student's t over seeds"


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95% interval; ``seeds`` are the values it comes from."""

    mean: float
    low: float
    high: float
    seeds: tuple[float, ...]

    @property
    def half_width(self) -> float:
        """Half of the interval's width."""
        return (self.high - self.low) / 2


def estimate(values: Sequence[float]) -> Estimate | None:
    """Mean and 95% interval by Student's t over seeds.

    Each value is itself a mean over many scenes that no other seed has, so the values are independent and
    near normal, whatever the distribution over scenes, and however alike the patches of one scene are. The
    interval can be checked by hand from the values, and it is wide when seeds are few.

    Args:
        values: one per seed, in the seeds' order; NaN where a seed has nothing to score.

    Returns:
        None with fewer than two values, which tell nothing of how much they vary.
    """
    known = [float(v) for v in values if not math.isnan(v)]
    if len(known) < 2:
        return None
    mean = float(np.mean(known))
    spread = float(np.std(known, ddof=1)) / math.sqrt(len(known))
    half = t95(len(known) - 1) * spread
    return Estimate(mean, mean - half, mean + half, tuple(float(v) for v in values))


def clears(value: Estimate, null: Estimate, *, higher_is_better: bool) -> bool:
    """Whether a value beats a null: its whole interval lies on the better side of the null's.

    Stricter than a test of the difference: two intervals that just touch differ at about the 1% level.
    """
    return value.low > null.high if higher_is_better else value.high < null.low
