"""How well a score tells what is made up: AUROC and F1 over pictures, thresholds chosen elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from patchlens.stats.intervals import Jackknife, jackknife
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


def _wins(scored: Scored) -> Array:
    """How often a made-up noun of one picture scores lower than another of one, ``[picture, picture]``."""
    n = int(scored.picture.max(initial=-1)) + 1
    wins = np.zeros((n, n))
    up = np.flatnonzero(scored.made_up)
    down = np.flatnonzero(~scored.made_up)
    over = scored.values[down][None] - scored.values[up][:, None]
    np.add.at(
        wins,
        (scored.picture[up][:, None], scored.picture[down][None]),
        (over > 0) + 0.5 * (over == 0),
    )
    return wins


def jackknifed_auroc(own: Scored, controls: Sequence[Scored]) -> tuple[Jackknife, Jackknife]:
    """AUROC and the mean of that of controls, with and without each picture."""
    n = _pictures((own, *controls))
    parts = [_parts(each, n) for each in (own, *controls)]

    def of(index: int, weights: Array) -> Array:
        wins, up, down = parts[index]
        pairs = (weights @ up) * (weights @ down)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(pairs > 0, ((weights @ wins) * weights).sum(1) / pairs, np.nan)

    def control(weights: Array) -> Array:
        return _known_mean([of(1 + index, weights) for index in range(len(controls))])

    pictures = np.ones(n), [np.eye(n)]
    return jackknife(*pictures, lambda w: of(0, w[0])), jackknife(*pictures, lambda w: control(w[0]))


def jackknifed_f1(own: Scored, controls: Sequence[Scored], threshold: float) -> tuple[Jackknife, Jackknife]:
    """The same of F1 at a threshold: ``2 TP / (2 TP + FP + FN)``, a noun below it being called made up."""
    n = _pictures((own, *controls))
    sums = [_counts(each, threshold, n) for each in (own, *controls)]
    return (
        jackknife(np.ones(n), sums, lambda means: _f1(means[0])),
        jackknife(np.ones(n), sums, lambda means: _known_mean([_f1(each) for each in means[1:]])),
    )


def _pictures(sets: Sequence[Scored]) -> int:
    return 1 + max(int(each.picture.max(initial=0)) for each in sets)


def best_f1_threshold(scored: Scored) -> float:
    """The threshold with the highest F1, halfway between two scores; below all without a made-up noun."""
    if not scored.made_up.any():
        return float(np.min(scored.values, initial=0.0)) - 1.0
    known = np.unique(scored.values)
    tried = [*((known[1:] + known[:-1]) / 2).tolist(), float(known[-1]) + 1.0]
    n = int(scored.picture.max()) + 1
    found = [float(_f1(_counts(scored, one, n).sum(0)[None])[0]) for one in tried]
    return float(tried[int(np.nanargmax(found))])


def shuffles(scored: Scored, seed: int) -> list[Scored]:
    """Controls: the truth dealt anew to the same nouns, some times over."""
    rng = np.random.default_rng([seed, 19])
    return [scored.shuffled(rng) for _ in range(_SHUFFLES)]


def _parts(scored: Scored, n: int) -> tuple[Array, Array, Array]:
    wins = np.zeros((n, n))
    own = _wins(scored)
    wins[: len(own), : len(own)] = own
    up = np.bincount(scored.picture[scored.made_up], minlength=n).astype(float)
    down = np.bincount(scored.picture[~scored.made_up], minlength=n).astype(float)
    return wins, up, down


def _counts(scored: Scored, threshold: float, n: int) -> Array:
    """True positives, false positives and false negatives of each picture, ``[picture, 3]``."""
    called = scored.values < threshold
    cells = (called & scored.made_up, called & ~scored.made_up, ~called & scored.made_up)
    return np.stack([np.bincount(scored.picture, cell, n) for cell in cells], 1).astype(np.float64)


def _f1(counts: Array) -> Array:
    hit, false, missed = counts[:, 0], counts[:, 1], counts[:, 2]
    whole = 2 * hit + false + missed
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(hit + missed > 0, 2 * hit / whole, np.nan)


def _known_mean(values: Sequence[Array]) -> Array:
    """The mean over controls, those left out that are not defined in a resample; NaN where none is."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(0) / known.sum(0)
