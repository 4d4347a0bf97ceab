"""Score lenses on a model: choose on validation pictures, report on fresh ones, with intervals and nulls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from patchlens.bench.baselines import BASELINES, Baseline, best_ways, score_baseline
from patchlens.bench.board import LensScores, ModelScores, NullScore, OverSeeds, Score, clears, over_seeds
from patchlens.bench.exam import Exam
from patchlens.bench.examine import Examinee, Tallies, examine, try_lenses
from patchlens.bench.null_lenses import Null
from patchlens.bench.score import METRICS, Layered, Metric, Tally, best_thresholds, mean_elsewhere
from patchlens.errors import UnsupportedModelError
from patchlens.lens import Lens
from patchlens.progress import Progress
from patchlens.run import Model


@dataclass(frozen=True)
class SeedScores:
    """One lens on the pictures of one seed: each metric's value ``[layer]``, and the same of each null.

    ``pictures`` counts, by metric, those that it is over.
    """

    values: Mapping[str, Layered]
    nulls: Mapping[Null, Mapping[str, Layered]]
    pictures: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class ChosenRows:
    """What was chosen for a lens on validation pictures, as rows; None where it says nothing of patches."""

    thresholds: Layered | None
    words_row: int | None
    maps_row: int | None


def score_model(
    model: Model, lenses: Mapping[str, Lens], exam: Exam, progress: Progress | None = None
) -> ModelScores:
    """Score every lens on one model, and where pictures have captions, baselines that are no lenses.

    Args:
        model: afterwards it is as it was.
        lenses: by name.
        exam: pictures with truth.
        progress: called with what is being done, how many pictures are done, and of how many.

    Raises:
        PatchlensError: the model cannot take a picture or a prompt.
    """
    total = sum(len(batch.pictures) for batch in (exam.validation, *exam.seeds))

    def counting(what: str) -> Callable[[], None]:
        steps = iter(range(1, total + 1))
        return lambda: None if progress is None else progress(f"{what} {model.name}", next(steps), total)

    examinee = Examinee.of(model, exam)
    scored = score_lenses(examinee, lenses, exam, counting("reading"))
    silent = {own.lens: "it reads nothing of this model that has a truth" for own in scored if not own.scores}
    for baseline in BASELINES if exam.has_captions else ():
        try:
            scored += score_ways(examinee, baseline, exam, counting("watching"))
        except UnsupportedModelError as error:
            silent[baseline.name] = str(error)
    return ModelScores(
        model.name,
        model.revision,
        str(model.dtype).removeprefix("torch."),
        model.n_layers,
        tuple(sorted((own for own in scored if own.scores), key=_merit, reverse=True)),
        silent,
    )


def score_lenses(
    examinee: Examinee, lenses: Mapping[str, Lens], exam: Exam, tell: Callable[[], None]
) -> list[LensScores]:
    """Choose on the validation pictures, then score every lens seed by seed."""
    tried = try_lenses(examinee, lenses, exam.validation.pictures[0]())
    validated = examine(examinee, tried, exam.validation, tell, nulls=False)
    chosen = {name: choose(tallies.real) for name, tallies in validated.items()}
    alike = {name: own.shift is None for name, own in tried.items()}
    seeds: dict[str, list[SeedScores]] = {name: [] for name in lenses}
    for batch in exam.seeds:
        for name, tallies in examine(examinee, tried, batch, tell, nulls=True).items():
            seeds[name].append(seed_scores(tallies, chosen[name], layers_alike=alike[name]))
    return [
        lens_scores(
            name, dict(own.lens.params()), own.layers, chosen[name], seeds[name], layers_alike=alike[name]
        )
        for name, own in tried.items()
    ]


def score_ways(
    examinee: Examinee, baseline: Baseline, exam: Exam, tell: Callable[[], None]
) -> list[LensScores]:
    """Score the best of a baseline's ways at each layer; none where no caption names a thing.

    Raises:
        UnsupportedModelError: it can make no maps of this model.
    """
    validated = score_baseline(examinee, baseline.maps, exam.validation, None, tell, nulls=False)
    ways = best_ways(validated)
    if ways is None:
        return []
    rows = [n * validated.n_ways + way for n, way in enumerate(ways)]
    chosen = choose(validated.tallies.real.only(rows), maps_by=("auroc_others",))
    seeds = [
        seed_scores(
            score_baseline(examinee, baseline.maps, batch, ways, tell, nulls=True).tallies,
            chosen,
            layers_alike=True,
        )
        for batch in exam.seeds
    ]
    params = {f"{baseline.way}_of_layer_{n}": way for n, way in zip(validated.layers, ways, strict=True)}
    return [lens_scores(baseline.name, params, validated.layers, chosen, seeds, layers_alike=True)]


def choose(tally: Tally, maps_by: Sequence[str] = ("auroc_all", "auroc_others")) -> ChosenRows:
    """Choose the layer with the best net of readable and false words, and that with the best maps.

    Args:
        tally: sums over validation pictures.
        maps_by: metrics whose mean maps are judged by, those that there are; without a picture of several
            things there is no AUROC against others.
    """
    thresholds = best_thresholds(tally.maps) if tally.maps else None
    values = tally.values(thresholds)
    words = values.get("net_top5", values.get("readable_top5"))
    judged = [values[name] for name in maps_by if name in values]
    maps = np.mean(judged, 0) if judged else None
    return ChosenRows(thresholds, *(None if v is None else int(np.argmax(v)) for v in (words, maps)))


def seed_scores(tallies: Tallies, chosen: ChosenRows, *, layers_alike: bool) -> SeedScores:
    """Turn the sums of one seed into values.

    A null's IoU takes the thresholds that are best for it in hindsight, which favours the null.
    """
    values = tallies.real.values(chosen.thresholds)
    nulls: dict[Null, Mapping[str, Layered]] = {name: own.values(None) for name, own in tallies.nulls.items()}
    nulls["shuffled"] = {**nulls.get("shuffled", {}), **tallies.real.others()}
    nulls["constant"] = tallies.real.constants()
    if layers_alike and all(len(own) > 1 for own in values.values()):
        nulls["shift"] = mean_elsewhere(values)
    return SeedScores(values, nulls, tallies.real.pictures)


def lens_scores(
    name: str,
    params: Mapping[str, Any],
    layers: tuple[int, ...],
    chosen: ChosenRows,
    seeds: Sequence[SeedScores],
    *,
    layers_alike: bool,
) -> LensScores:
    """Put a lens's figures together: every metric at every layer, and the headlines.

    Headlines of words and maps are at the layers chosen for them; KL and bias are means over the layers
    before the last, at which most lenses are the model itself. Such a mean is the same for any order of the
    layers, so for a lens that treats all layers alike it has no layer shift.
    """
    table = {(m.name, row): _score(m, row, layers, seeds) for m in METRICS for row in range(len(layers))}
    leave_out: tuple[Null, ...] = ("shift",) if layers_alike else ()
    headlines: list[Score | None] = []
    for metric in METRICS:
        if metric.read_at == "mean":
            headlines.append(_score(metric, None, layers, seeds, leave_out))
        else:
            row = chosen.words_row if metric.read_at == "words" else chosen.maps_row
            headlines.append(None if row is None else table[metric.name, row])
    words, maps = (None if row is None else layers[row] for row in (chosen.words_row, chosen.maps_row))
    thresholds = [] if chosen.thresholds is None else chosen.thresholds.tolist()
    return LensScores(
        lens=name,
        params=params,
        layers=layers,
        layers_alike=layers_alike,
        words_layer=words,
        maps_layer=maps,
        thresholds=dict(zip(layers, thresholds, strict=False)),
        headlines=tuple(score for score in headlines if score is not None),
        scores=tuple(score for score in table.values() if score is not None),
    )


def _score(
    metric: Metric,
    row: int | None,
    layers: Sequence[int],
    seeds: Sequence[SeedScores],
    leave_out: Sequence[Null] = (),
) -> Score | None:
    """A metric at a layer, or over those before the last; None where fewer than two seeds have it."""
    pictures = sum(seed.pictures.get(metric.name, 1) for seed in seeds)

    def over(values: Sequence[Mapping[str, Layered]]) -> OverSeeds | None:
        own = [value.get(metric.name, np.full(len(layers), np.nan)) for value in values]
        found = [float(v[:-1].mean() if row is None else v[row]) for v in own]
        return over_seeds(found, metric.within, pictures)

    value = over([seed.values for seed in seeds])
    if value is None:
        return None
    nulls: dict[str, NullScore] = {}
    for name in metric.nulls:
        null = None if name in leave_out else over([seed.nulls.get(name, {}) for seed in seeds])
        if null is not None:
            nulls[name] = NullScore(null, clears(value, null, higher_is_better=metric.higher_is_better))
    return Score(metric.name, None if row is None else layers[row], value, nulls)


def _merit(scores: LensScores) -> tuple[float, float]:
    """Lenses that read patches come first, by how well; the others by how near they are to the answer."""
    net, kl = scores.headline("net_top5"), scores.headline("kl_answer")
    return (-1.0 if net is None else net.value.mean, -float("inf") if kl is None else -kl.value.mean)
