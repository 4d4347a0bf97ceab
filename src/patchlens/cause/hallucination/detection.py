"""How well a score tells what is made up: AUROC and F1 over pictures, thresholds chosen elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from patchlens.stats.intervals import Jackknife
from patchlens.stats.ranks import auroc

Array = NDArray[np.float64]
_SHUFFLES: Final = 20


@dataclass(frozen=True)
class Scored:
    """One score of nouns, ``[n]`` each: ``values`` (low: made up), ``made_up``, number of its ``picture``."""

    values: NDArray[np.floating[Any]]
    made_up: NDArray[np.bool_]
    picture: NDArray[np.intp]

    def shuffled(self, rng: np.random.Generator) -> Scored:
        """The same scores held against the truth of nouns drawn at random."""
        return Scored(self.values, rng.permutation(self.made_up), self.picture)

    @property
    def auroc(self) -> float:
        """How often a noun that is made up scores lower than one that is not, ties counting half."""
        return float(auroc(-np.asarray(self.values, float), self.made_up))

    def aurocs(self, kept: Array) -> Array:
        """`auroc` of some of the nouns at a time, ``kept`` ``[part, n]`` of 0 and 1: ``[part]``."""
        up, down = self.made_up, ~self.made_up
        over = self.values[down] - self.values[up, None]
        wins = (kept[:, up] @ ((over > 0) + 0.5 * (over == 0)) * kept[:, down]).sum(1)
        return _part(wins, kept[:, up].sum(1) * kept[:, down].sum(1))

    def f1s(self, kept: Array, threshold: float) -> Array:
        """``2 TP / (2 TP + FP + FN)`` of the same, a noun below the threshold being called made up."""
        called = self.values < threshold
        hit, up = (kept[:, which].sum(1) for which in (called & self.made_up, self.made_up))
        return np.where(up > 0, _part(2 * hit, up + kept[:, called].sum(1)), np.nan)


def jackknifed_auroc(own: Scored, controls: Sequence[Scored]) -> tuple[Jackknife, Jackknife]:
    """AUROC and the mean of that of controls, with and without each picture."""
    return _jackknifed(own, controls, Scored.aurocs)


def jackknifed_f1(own: Scored, controls: Sequence[Scored], threshold: float) -> tuple[Jackknife, Jackknife]:
    """The same of F1 at a threshold."""
    return _jackknifed(own, controls, partial(Scored.f1s, threshold=threshold))


def _jackknifed(
    own: Scored, controls: Sequence[Scored], figures: Callable[[Scored, Array], Array]
) -> tuple[Jackknife, Jackknife]:
    n = 1 + max(int(each.picture.max(initial=0)) for each in (own, *controls))
    left_out = range(-1, n if n > 1 else 0)
    found = [
        figures(each, np.array([each.picture != picture for picture in left_out], float))
        for each in (own, *controls)
    ]
    known = ~np.isnan(found[1:])
    both = found[0], _part(np.where(known, found[1:], 0).sum(0), known.sum(0))
    first, second = (Jackknife(float(each[0]), each[1:], n, n - 1) for each in both)
    return first, second


def best_f1_threshold(scored: Scored) -> float:
    """The threshold with the highest F1, halfway between two scores; below all without a made-up noun."""
    if not scored.made_up.any():
        return float(np.min(scored.values, initial=0.0)) - 1.0
    known = np.unique(scored.values)
    tried = [*((known[1:] + known[:-1]) / 2).tolist(), float(known[-1]) + 1.0]
    whole = np.ones((1, len(scored.values)))
    return max(tried, key=lambda threshold: scored.f1s(whole, threshold)[0])


def shuffles(scored: Scored, seed: int) -> list[Scored]:
    """Controls: the truth dealt anew to the same nouns, some times over."""
    rng = np.random.default_rng([seed, 19])
    return [scored.shuffled(rng) for _ in range(_SHUFFLES)]


def _part(some: Array, whole: NDArray[Any]) -> Array:
    """One divided by the other, NaN where that is 0."""
    return np.divide(some, whole, out=np.full(len(some), np.nan), where=whole > 0)
