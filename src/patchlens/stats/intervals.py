"""Figures with 95% intervals that keep their promise for few cases: the one place that makes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

Array = NDArray[np.float64]
Bound = Literal["at least", "at most"]

LEVEL: Final = 0.95
_ALIKE: Final = 1e-12
_HALVES: Final = 500
_Z2: Final = 3.841459


@dataclass(frozen=True)
class Estimate:
    """A figure and the bounds of its 95% interval; None where they are not defined.

    ``n`` counts the independent cases (pictures, items, seeds) that the interval is over. ``bound`` says that
    some of them were cut off at a limit, so that the true figure is "at least" or "at most" this.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    bound: Bound | None = None

    def __str__(self) -> str:
        return self.text()

    def text(self, form: str = ".3f") -> str:
        """The figure as people read it, alone where it has no interval.

        Args:
            form: of each number, as ``format`` takes it.
        """
        if self.value is None:
            return "undefined"
        told = f"{self.value:{form}}" if self.bound is None else f"{self.bound} {self.value:{form}}"
        if self.low is None or self.high is None:
            return told
        return f"{told} ({self.low:{form}} to {self.high:{form}})"


@dataclass(frozen=True)
class Range:
    """What a figure can be at all; None where there is no limit."""

    low: float | None = None
    high: float | None = None

    @property
    def of_differences(self) -> Range:
        """What the difference of two such figures can be."""
        if self.low is None or self.high is None:
            return Range()
        return Range(self.low - self.high, self.high - self.low)

    def cut(self, value: float) -> float:
        """The value, or the limit that it lies beyond."""
        return max(
            -math.inf if self.low is None else self.low,
            min(math.inf if self.high is None else self.high, value),
        )


FREE: Final = Range()
SHARE: Final = Range(0.0, 1.0)
POSITIVE: Final = Range(0.0)
OF_UNIT: Final = {"share": SHARE, "AUROC": SHARE, "F1": SHARE, "Spearman": Range(-1.0, 1.0)}
"""What figures of a unit can be; others have no limit, nats being mostly changes of log-probabilities."""


def bound_of(above: Iterable[Bound | None], below: Iterable[Bound | None] = ()) -> Bound | None:
    """What a mean of figures is, less that of others: a bound if all that are cut off are so to one side."""
    turned: dict[Bound, Bound] = {"at least": "at most", "at most": "at least"}
    sides: set[Bound] = {bound for bound in above if bound is not None}
    sides |= {turned[bound] for bound in below if bound is not None}
    return sides.pop() if len(sides) == 1 else None


def quantile(freedom: float) -> float:
    """Student's t at 97.5%."""
    return float(stdtrit(freedom, (1 + LEVEL) / 2))


def mean(values: Sequence[float | None] | Array, within: Range = FREE) -> Estimate:
    """Mean over independent cases with its interval; cases without a value are left out.

    A share of yes and no (0 and 1, where ``within`` is `SHARE`) gets Wilson's interval (1927), any other that
    of `spread`.
    """
    known = np.array([value for value in values if value is not None], np.float64)
    n = len(known)
    if not n:
        return Estimate(None)
    if within == SHARE and np.isin(known, (0.0, 1.0)).all():
        return share(int(known.sum()), n)
    error = float(known.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return spread(float(known.mean()), error, n, within, skewness(known))


@cache
def share(cases: int, n: int) -> Estimate:
    """How many of ``n`` cases, with Wilson's interval, which has a width even where all cases agree."""
    from scipy.stats import binomtest

    if n < 2:
        return Estimate(cases / n, n=n)
    found = binomtest(cases, n).proportion_ci(LEVEL, method="wilson")
    return Estimate(cases / n, float(found.low), float(found.high), n)


def differing(values: Array, within: Range) -> Estimate:
    """Mean of differences ``[case]`` of yes-and-no shares.

    Where few cases differ, differences say little of how often others would. So the interval is over these
    cases and one more at either end of the range: after Agresti and Min (2005), who add half of that, with
    Student's t in place of the normal's quantile.
    """
    n = len(values)
    if n < 2 or within.low is None or within.high is None:
        return mean(values, within)
    every = np.append(values, (within.low, within.high))
    half = quantile(n - 1) * float(every.std()) / math.sqrt(len(every))
    middle = float(every.mean())
    return Estimate(float(values.mean()), within.cut(middle - half), within.cut(middle + half), n)


@dataclass(frozen=True)
class Jackknife:
    """A figure over ``n`` cases, and over parts of them: ``parts`` ``[part]``, each of ``kept`` cases.

    NaN where it is not defined.
    """

    value: float
    parts: Array
    n: int
    kept: int

    def __sub__(self, control: Jackknife) -> Jackknife:
        return replace(self, value=self.value - control.value, parts=self.parts - control.parts)

    @property
    def error(self) -> float:
        """Standard error by the jackknife (Tukey 1958; Shao and Wu 1989); NaN where it is not defined."""
        if self.n < 2:
            return math.nan
        return float(self.parts.std()) * math.sqrt(self.kept / (self.n - self.kept))

    def estimate(self, within: Range = FREE) -> Estimate:
        """The figure with the interval of `spread`."""
        if math.isnan(self.value):
            return Estimate(None)
        skew = -skewness(self.parts) if self.kept == self.n - 1 else 0.0
        return spread(self.value, self.error, self.n, within, skew)

    @property
    def p(self) -> float | None:
        """Of the figure being 0, by Student's t, two-sided; no less than what as many signs could give."""
        error = self.error
        if math.isnan(self.value) or math.isnan(error):
            return None
        if abs(self.value) <= _ALIKE:
            return 1.0
        t = abs(self.value) / error if error else math.inf
        return max(2 * float(stdtr(self.n - 1, -t)), 2.0 ** (1 - self.n))


def jackknife(
    count: Array, sums: Sequence[Array], statistic: Callable[[Sequence[Array]], Array]
) -> Jackknife:
    """Something found from means over positions, and without each picture (or group of them), whole.

    Of a mean over cases the interval is Student's t itself; of an AUROC the variance is that of DeLong et al.
    (1988).

    Args:
        count: positions of each group ``[group]``; those without any are no cases.
        sums: sums over the positions of each group, ``[group, layer]`` each.
        statistic: turns the means of ``sums``, one array ``[case, layer]`` each, into ``[case]`` values; NaN
            where it is not defined.
    """
    present = count > 0
    kept = count[present, None]
    own = [one[present] for one in sums]
    n = len(kept)
    if not n:
        return Jackknife(math.nan, np.empty(0), 0, 0)
    value = float(statistic([one.sum(0, keepdims=True) / kept.sum() for one in own])[0])
    if n < 2:
        return Jackknife(value, np.empty(0), n, 0)
    return Jackknife(value, statistic([(one.sum(0) - one) / (kept.sum() - kept) for one in own]), n, n - 1)


def halves(n: int, seed: int) -> Array:
    """Weights ``[1 + half, n]`` of all cases, then of halves of them, for figures that are not smooth.

    Ranks change in jumps: leaving out one case at a time moves too few of them, and makes errors too large.
    """
    kept = n // 2
    rng = np.random.default_rng(seed)
    drawn = np.argsort(rng.random((_HALVES if kept else 0, n)), axis=1) < kept
    return np.concatenate([np.full((1, n), 1 / n), drawn / max(kept, 1)])


def skewness(values: Array) -> float:
    """Of a sample, unbiased for a normal's; 0 where it is not defined."""
    n = len(values)
    sd = float(values.std()) if n else 0.0
    if n < 3 or sd <= _ALIKE * float(np.abs(values).max()):
        return 0.0
    return float((((values - values.mean()) / sd) ** 3).mean()) * math.sqrt(n * (n - 1)) / (n - 2)


def spread(value: float, error: float, n: int, within: Range = FREE, skew: float = 0.0) -> Estimate:
    """A figure over cases with its 95% interval, from its standard error.

    Student's t, on a scale that fits what the figure can be: the logit between two limits, the logarithm from
    one. Skewed values few in number make t too short on their long side. There it gives way, where it is the
    nearer, to t of Hall's (1992) transformation, which takes the skew off. Where there are two limits the
    logit does as much. Cases that are all alike tell nothing of how much others vary but this: Wilson's bound
    on how many others lie at a limit. Without two limits they have no interval, nor have fewer than two
    cases.

    Args:
        value: the figure.
        error: its standard error.
        n: cases.
        within: what it can be.
        skew: sample skewness of the cases.
    """
    value, low, high = within.cut(value), within.low, within.high
    if n < 2 or not math.isfinite(error):
        return Estimate(value, n=n)
    if error <= _ALIKE * max(1.0, abs(value)):
        if low is None or high is None:
            return Estimate(value, n=n)
        part = _Z2 / (n + _Z2)
        return Estimate(value, value - part * (value - low), value + part * (high - value), n)
    half = quantile(n - 1) * error
    ends = value - half, value + half
    inside = [abs(value - limit) for limit in (low, high) if limit is not None]
    if inside and all(inside):
        factor = math.exp(min(sum(half / distance for distance in inside), 700.0))
        ends = _scaled(value, factor, within)
    if len(inside) < 2:
        bent = _hall(value, error, n, skew)
        ends = (
            (ends[0] if low is not None else min(ends[0], bent[0])),
            (ends[1] if high is not None else max(ends[1], bent[1])),
        )
    return Estimate(value, within.cut(ends[0]), within.cut(ends[1]), n)


def _scaled(value: float, factor: float, within: Range) -> tuple[float, float]:
    """Ends of an interval that is a factor to either side: of the odds, or of the distance from one limit."""
    low, high = within.low, within.high
    if low is not None and high is not None:
        odds = (value - low) / (high - value)
        below, above = ((low + high * each) / (1 + each) for each in (odds / factor, odds * factor))
        return below, above
    if low is not None:
        return low + (value - low) / factor, low + (value - low) * factor
    assert high is not None
    return high - (high - value) * factor, high - (high - value) / factor


def _hall(value: float, error: float, n: int, skew: float) -> tuple[float, float]:
    """Ends by t of Hall's cubic transformation, whose inverse is exact."""
    root, t = math.sqrt(n), quantile(n - 1)
    if not abs(skew) >= 1e-6:
        return value - t * error, value + t * error
    below, above = (np.cbrt(1 + skew * (x / root - skew / (6 * n))) - 1 for x in (t, -t))
    return value - root * error * 3 / skew * float(below), value - root * error * 3 / skew * float(above)
