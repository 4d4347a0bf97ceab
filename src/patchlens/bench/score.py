"""Readings of pictures against their truth, added up to one value per seed, metric and layer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from patchlens.axes import FIT_KINDS, FitKind
from patchlens.bench.metrics import best_threshold, hits, iou, marginal_bias, pointing
from patchlens.bench.null_lenses import Null
from patchlens.bench.readout import TOP, Drift, Readout
from patchlens.data.words import ConceptIds
from patchlens.scenes.truth import Truth
from patchlens.stats.intervals import POSITIVE, SHARE, Range
from patchlens.stats.ranks import auroc

Layered = NDArray[np.float64]


ReadAt = Literal["words", "maps", "mean"]


@dataclass(frozen=True)
class Metric:
    """A figure of the scoreboard: what it is, which way is better, and which nulls can be told from it.

    ``read_at`` says where its headline stands: at the layer chosen for words or for maps, or as the mean over
    the layers before the last.
    """

    name: str
    about: str
    unit: Literal["share", "nats", "bits"]
    higher_is_better: bool
    read_at: ReadAt
    nulls: tuple[Null, ...]

    @property
    def within(self) -> Range:
        """What it can be."""
        if self.unit != "share":
            return POSITIVE
        return SHARE.of_differences if self.name.startswith("net") else SHARE


_ON_PATCHES: Final[tuple[Null, ...]] = ("random", "shuffled", "blank", "shift")
_ON_GROUND: Final[tuple[Null, ...]] = ("shuffled",)


def _words(name: str, about: str, nulls: tuple[Null, ...] = _ON_PATCHES) -> Metric:
    return Metric(name, about, "share", nulls == _ON_PATCHES, "words", nulls)


def _maps(name: str, about: str) -> Metric:
    return Metric(name, about, "share", True, "maps", _ON_PATCHES)


METRICS: Final = (
    _words("readable_top5", "patches at least half covered: a word true of what covers them in the top 5"),
    _words("readable_top1", "the same in the top 1"),
    _words("false_top5", "patches of bare ground: the word of any thing in the top 5", _ON_GROUND),
    _words("false_top1", "the same in the top 1", _ON_GROUND),
    _words("net_top5", "readable, top 5, less false names, top 5"),
    _maps("auroc_all", "map of a named thing: AUROC of its patches against all others"),
    _maps("auroc_others", "the same against the patches of things with other names only"),
    _maps("pointing", "the map's highest patch lies on the thing"),
    _maps("miou", "IoU of the thing and the map above a threshold chosen on validation pictures"),
    *(
        Metric(
            f"kl_{k}", f"KL(p_final || p_lens), {k}", "nats", False, "mean", ("shuffled", "constant", "shift")
        )
        for k in FIT_KINDS
    ),
    *(
        Metric(
            f"bias_{k}", f"KL(mean p_final || mean p_lens), {k}", "bits", False, "mean", ("constant", "shift")
        )
        for k in FIT_KINDS
    ),
)
"""All figures, in the order of the scoreboard. One of faithfulness (what becomes of the answer without the
patches that a map points at) belongs after those of maps; its further passes are for `examine` to make."""


@dataclass(frozen=True)
class ThingMap:
    """A concept's scores ``[layer, patch]``, where it is true ``[patch]``, and its weight in the mean."""

    scores: NDArray[np.float32]
    positive: NDArray[np.bool_]
    weight: float


@dataclass
class Tally:
    """Sums over pictures: of each metric ``[layer]`` with its count, the maps, and drift by kind.

    ``scored`` counts the pictures that had something for a metric to score.
    """

    totals: dict[str, tuple[Layered, float]] = field(default_factory=dict[str, "tuple[Layered, float]"])
    scored: dict[str, float] = field(default_factory=dict[str, float])
    maps: list[ThingMap] = field(default_factory=list[ThingMap])
    drift: dict[FitKind, Drift] = field(default_factory=dict[FitKind, Drift])

    def add(self, name: str, total: Layered, count: float, pictures: float = 1) -> None:
        """Add the sum ``[layer]`` of a metric over a picture, or a part of one."""
        if count:
            before, counted = self.totals.get(name, (np.zeros_like(total), 0.0))
            self.totals[name] = before + total, counted + count
            self.scored[name] = self.scored.get(name, 0.0) + pictures

    @property
    def pictures(self) -> dict[str, int]:
        """How many pictures each share is over."""
        counts = {name: round(n) for name, n in self.scored.items()}
        if {"readable_top5", "false_top5"} <= counts.keys():
            counts["net_top5"] = min(counts["readable_top5"], counts["false_top5"])
        return {**counts, "miou": round(sum(own.weight for own in self.maps))}

    def values(self, thresholds: Layered | None) -> dict[str, Layered]:
        """Each metric's value ``[layer]`` over all pictures; metrics with nothing to score are left out.

        Args:
            thresholds: of maps ``[layer]``; None takes the best in hindsight, which favours what is scored.
        """
        found = {name: total / count for name, (total, count) in self.totals.items()}
        if {"readable_top5", "false_top5"} <= found.keys():
            found["net_top5"] = found["readable_top5"] - found["false_top5"]
        if self.maps:
            chosen = best_thresholds(self.maps) if thresholds is None else thresholds
            overlaps = [iou(own.scores, own.positive, chosen) for own in self.maps]
            found["miou"] = np.average(overlaps, axis=0, weights=[own.weight for own in self.maps])
        for kind, drift in self.drift.items():
            found[f"kl_{kind}"] = drift.kl / drift.n
            mean = np.log(drift.n)
            found[f"bias_{kind}"] = marginal_bias(drift.log_final - mean, drift.log_lens - mean)
        return found

    def only(self, rows: Sequence[int]) -> Tally:
        """The sums of some layers, without drift."""
        totals = {name: (total[rows], count) for name, (total, count) in self.totals.items()}
        maps = [ThingMap(own.scores[rows], own.positive, own.weight) for own in self.maps]
        return Tally(totals, self.scored, maps)

    def constants(self) -> dict[str, Layered]:
        """KL and bias ``[layer]`` of a lens that says the same everywhere (`bench.null_lenses`)."""
        found: dict[str, Layered] = {}
        for kind, drift in self.drift.items():
            log_mean = drift.log_final - np.log(drift.n)
            marginal_entropy = -float((np.exp(log_mean) * log_mean).sum())
            layers = np.ones(len(drift.kl))
            found[f"kl_{kind}"] = layers * (marginal_entropy - drift.entropy / drift.n)
            found[f"bias_{kind}"] = layers * (np.log(len(log_mean)) - marginal_entropy) / np.log(2)
        return found

    def others(self) -> dict[str, Layered]:
        """KL ``[layer]`` from the final distributions of other pictures."""
        return {f"kl_{kind}": drift.kl_other / drift.n for kind, drift in self.drift.items()}


def best_thresholds(maps: Sequence[ThingMap]) -> Layered:
    """The threshold of each layer with the best mean IoU over some maps."""
    layers = range(len(maps[0].scores))
    weights = [own.weight for own in maps]
    return np.array(
        [best_threshold([m.scores[r] for m in maps], [m.positive for m in maps], weights) for r in layers]
    )


def score_patches(tally: Tally, readout: Readout, truth: Truth, concepts: ConceptIds) -> None:
    """Add what a reading says at the patches of one picture, held against a truth of those patches.

    Shares of patches are pooled over pictures; map metrics are averaged over the names in a picture, then
    over pictures. A thing that covers no patch by half has no map metrics, and one without other things
    beside it no AUROC against them.
    """
    if not len(truth.empty):
        return
    _score_words(tally, readout, truth, concepts)
    score_maps(tally, readout, truth, concepts)


def _score_words(tally: Tally, readout: Readout, truth: Truth, concepts: ConceptIds) -> None:
    named = [patch for patch, keys in enumerate(truth.true_keys) if keys]
    false = concepts.thing_ids - concepts.named(truth.ground)
    for k in (TOP, 1):
        found = [hits(readout.top_ids[:, p], concepts.named(truth.true_keys[p]), k) for p in named]
        if named:
            tally.add(f"readable_top{k}", np.sum(found, 0, dtype=float), len(named))
        wrong = hits(readout.top_ids[:, truth.empty], false, k)
        tally.add(f"false_top{k}", wrong.sum(-1, dtype=float), int(truth.empty.sum()))


def score_maps(
    tally: Tally, readout: Readout, truth: Truth, concepts: ConceptIds, named: Collection[str] | None = None
) -> None:
    """Add the map metrics of one picture; of ``named`` things only, the others still being other things."""
    rows = [
        n for n, name in enumerate(truth.names) if truth.covered[n].any() and (named is None or name in named)
    ]
    against_others: list[Layered] = []
    for n in rows:
        positive = truth.covered[n]
        scores = readout.concepts[..., concepts.keys.index(truth.names[n])].copy()
        tally.maps.append(ThingMap(scores, positive, 1 / len(rows)))
        tally.add("auroc_all", auroc(scores, positive) / len(rows), *(1 / len(rows),) * 2)
        tally.add("pointing", pointing(scores, positive) / len(rows), *(1 / len(rows),) * 2)
        others = truth.covered[np.arange(len(truth.names)) != n].any(0) & ~positive
        if others.any():
            either = positive | others
            against_others.append(auroc(scores[:, either], positive[either]))
    if against_others:
        tally.add("auroc_others", np.mean(against_others, 0), 1)


def score_drift(tally: Tally, readout: Readout) -> None:
    """Add how far a reading of one picture is from the model's own final distributions."""
    for kind, drift in readout.drift.items():
        tally.drift[kind] = add_drift(tally.drift[kind], drift) if kind in tally.drift else drift


def add_drift(one: Drift, two: Drift) -> Drift:
    """Sums over the positions of both."""
    return Drift(
        one.n + two.n,
        one.kl + two.kl,
        one.kl_other + two.kl_other,
        one.entropy + two.entropy,
        np.logaddexp(one.log_final, two.log_final),
        np.logaddexp(one.log_lens, two.log_lens),
    )


def mean_elsewhere(values: Mapping[str, Layered]) -> dict[str, Layered]:
    """For each layer the mean over the other layers: what a figure would be if its layer did not matter."""
    return {name: (own.sum() - own) / (len(own) - 1) for name, own in values.items()}
