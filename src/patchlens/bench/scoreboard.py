"""Score lenses on a model: choose on validation pictures, report on fresh ones, with intervals and nulls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from patchlens.bench.board import LensScores, ModelScores, NullScore, Score
from patchlens.bench.exam import Exam
from patchlens.bench.examine import Candidate, Subject, Tallies, examine, find_candidates
from patchlens.bench.intervals import Estimate, clears, estimate
from patchlens.bench.nulls import Null
from patchlens.bench.probe import AnyLens
from patchlens.bench.score import METRICS, Layered, Metric, Tally, best_thresholds, mean_elsewhere
from patchlens.models.adapter import Adapter

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class SeedScores:
    """One lens on the pictures of one seed: each metric's value ``[layer]``, and the same of each null."""

    values: Mapping[str, Layered]
    nulls: Mapping[Null, Mapping[str, Layered]]


@dataclass(frozen=True)
class Chosen:
    """What was chosen for a lens on validation pictures; None where it says nothing of patches."""

    thresholds: Layered | None
    words_layer: int | None
    maps_layer: int | None


def score_model(
    adapter: Adapter, lenses: Mapping[str, AnyLens], exam: Exam, progress: Progress | None = None
) -> ModelScores:
    """Score every lens on one model.

    Args:
        adapter: the model; afterwards it is as it was.
        lenses: by name.
        exam: pictures with truth.
        progress: called with what is being done, how many pictures are done, and of how many.

    Raises:
        PatchlensError: the model cannot take a picture or a prompt.
    """
    total = sum(len(batch.pictures) for batch in (exam.validation, *exam.seeds))
    steps = iter(range(1, total + 1))

    def tell() -> None:
        done = next(steps)
        if progress is not None:
            progress(f"scoring {adapter.name}", done, total)

    adapter.prove()
    subject = Subject.of(adapter, exam)
    candidates = find_candidates(subject, lenses, exam.validation.pictures[0]())
    validated = examine(subject, candidates, exam.validation, tell, nulls=False)
    chosen = {name: choose(tallies.real) for name, tallies in validated.items()}
    seeds: dict[str, list[SeedScores]] = {name: [] for name in lenses}
    for batch in exam.seeds:
        for name, tallies in examine(subject, candidates, batch, tell, nulls=True).items():
            seeds[name].append(seed_scores(tallies, candidates[name], chosen[name]))
    scored = [
        lens_scores(name, adapter.n_layers, candidates[name], chosen[name], seeds[name]) for name in lenses
    ]
    return ModelScores(
        adapter.name,
        adapter.revision,
        str(adapter.dtype).removeprefix("torch."),
        adapter.n_layers,
        tuple(sorted(scored, key=_merit, reverse=True)),
    )


def choose(tally: Tally) -> Chosen:
    """Choose the layer with the best net of readable and false words, that whose maps best tell things apart.

    Without a picture of several things, maps are chosen by AUROC against everything else.
    """
    thresholds = best_thresholds(tally.maps) if tally.maps else None
    values = tally.values(thresholds)
    words = values.get("net_top5", values.get("readable_top5"))
    maps = values.get("auroc_others", values.get("auroc_all"))
    return Chosen(thresholds, *(None if v is None else int(np.argmax(v)) for v in (words, maps)))


def seed_scores(tallies: Tallies, candidate: Candidate, chosen: Chosen) -> SeedScores:
    """Turn the sums of one seed into values.

    A null's IoU takes the thresholds that are best for it in hindsight, which favours the null.
    """
    values = tallies.real.values(chosen.thresholds)
    nulls: dict[Null, Mapping[str, Layered]] = {name: own.values(None) for name, own in tallies.nulls.items()}
    nulls["shuffled"] = {**nulls.get("shuffled", {}), **tallies.real.others()}
    nulls["constant"] = tallies.real.constants()
    if candidate.shift is None:
        nulls["shift"] = mean_elsewhere(values)
    return SeedScores(values, nulls)


def lens_scores(
    name: str, n_layers: int, candidate: Candidate, chosen: Chosen, seeds: Sequence[SeedScores]
) -> LensScores:
    """Put a lens's figures together: every metric at every layer, and the headlines.

    Headlines of words and maps are at the layers chosen for them; KL and bias are means over the layers
    before the last, at which most lenses are the model itself. Such a mean is the same for any order of the
    layers, so for a lens that treats all layers alike it has no layer shift.
    """
    layers = tuple(range(n_layers + 1))
    found = (_score(metric, layer, seeds) for metric in METRICS for layer in layers)
    scores = tuple(score for score in found if score is not None)
    leave_out: tuple[Null, ...] = ("shift",) if candidate.shift is None else ()
    headlines: list[Score | None] = []
    for metric in METRICS:
        if metric.read_at == "mean":
            headlines.append(_score(metric, None, seeds, leave_out))
        else:
            layer = chosen.words_layer if metric.read_at == "words" else chosen.maps_layer
            headlines += [s for s in scores if (s.metric, s.layer) == (metric.name, layer)]
    return LensScores(
        lens=name,
        params=dict(candidate.lens.params()),
        layers=layers,
        layers_alike=candidate.shift is None,
        words_layer=chosen.words_layer,
        maps_layer=chosen.maps_layer,
        thresholds={} if chosen.thresholds is None else dict(enumerate(chosen.thresholds.tolist())),
        headlines=tuple(score for score in headlines if score is not None),
        scores=scores,
    )


def _score(
    metric: Metric, layer: int | None, seeds: Sequence[SeedScores], leave_out: Sequence[Null] = ()
) -> Score | None:
    """A metric at a layer, or over those before the last; None where fewer than two seeds have it."""

    def over(values: Sequence[Mapping[str, Layered]]) -> Estimate | None:
        own = [value.get(metric.name) for value in values]
        return estimate(
            [float("nan") if v is None else float(v[:-1].mean() if layer is None else v[layer]) for v in own]
        )

    value = over([seed.values for seed in seeds])
    if value is None:
        return None
    nulls: dict[str, NullScore] = {}
    for name in metric.nulls:
        null = None if name in leave_out else over([seed.nulls.get(name, {}) for seed in seeds])
        if null is not None:
            nulls[name] = NullScore(null, clears(value, null, higher_is_better=metric.higher_is_better))
    return Score(metric.name, layer, value, nulls)


def _merit(scores: LensScores) -> tuple[float, float]:
    """Lenses that read patches come first, by how well; the others by how near they are to the answer."""
    net, kl = scores.headline("net_top5"), scores.headline("kl_answer")
    return (-1.0 if net is None else net.value.mean, -float("inf") if kl is None else -kl.value.mean)
