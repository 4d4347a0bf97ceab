"""Choose where a lens is read and how much of its map counts, on drawn scenes that nothing is reported on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from patchlens.axes import check_layers
from patchlens.causal import Ablate, rerun
from patchlens.causal.pointing import Above, Numbers, Pointing
from patchlens.cause.cases import Case, drawn_cases
from patchlens.cause.patches.measure import MAX_NEW_TOKENS, Settings, Subject, one_thing
from patchlens.cause.patches.pointing import LensMaps, answer_word, lens_maps
from patchlens.cause.patches.replacing import case_rng
from patchlens.demo import bundled_models
from patchlens.errors import DataError, naming
from patchlens.models.inputs import prepare
from patchlens.progress import Progress
from patchlens.scenes.seeds import VALIDATION_SEEDS

SCENES: Final = 20
POINTINGS: Final[tuple[Pointing, ...]] = tuple(Above(share) for share in (0.5, 0.2, 0.1, 0.05, 0.02))
_FIRST: Final = Above(0.1)

Option = tuple[int, Pointing]


@dataclass(frozen=True)
class Chosen:
    """The layer and the number of patches chosen, and the scores they were chosen by, best first."""

    layer: int
    pointing: Pointing
    scores: tuple[tuple[Option, float], ...]
    scenes: int

    def __str__(self) -> str:
        best = self.scores[0][1]
        return (
            f"layer and number of patches were chosen on {self.scenes} other drawn scenes, of "
            f"{len(self.scores)} ways tried, for the most flips beyond those of random patches ({best:+.2f})"
        )


def choose(
    subject: Subject,
    settings: Settings,
    tell: Progress,
    *,
    layers: Sequence[int] | None = None,
    pointings: Sequence[Pointing] = POINTINGS,
    scenes: int = SCENES,
) -> Chosen:
    """Choose the layer of the lens, then how many patches, by what they do on validation scenes.

    The score of a way is the share of answers that flip when the patches pointed at are ablated, less the
    share that flip when as many random ones are. Layers are compared at one number of patches, the best one's
    numbers then with each other; of equal scores the first wins.

    Args:
        subject: model, lens and replacement.
        settings: what is not chosen here.
        tell: told how far it is.
        layers: to choose from; None for all that the lens reads.
        pointings: to choose from.
        scenes: how many, from `patchlens.bench.exam.VALIDATION_SEEDS` on.

    Raises:
        SelectionError: the lens is not for this model, or reads none of these layers.
        DataError: the model answers nothing.
    """
    settings = replace(settings, word=None)
    cases = drawn_cases(one_thing, 1, scenes, first=VALIDATION_SEEDS)
    first = _FIRST if _FIRST in pointings else pointings[0]
    sights = [_sight(subject, case, settings, layers) for case in cases]
    known = [sight for sight in sights if sight is not None]
    if not known:
        raise DataError(
            f"{subject.adapter.name} answers none of {scenes} drawn scenes: give --layer and --above"
        )
    read = known[0].maps.layers
    by_layer = _scores(
        subject, known, [(layer, first) for layer in read], settings, tell, "choosing the layer"
    )
    layer = max(by_layer, key=lambda option: by_layer[option])[0]
    others = [(layer, pointing) for pointing in pointings if pointing != first]
    scores = by_layer | _scores(subject, known, others, settings, tell, "choosing how many")
    order = sorted(scores, key=lambda option: -scores[option])
    best = order[0]
    return Chosen(best[0], best[1], tuple((option, scores[option]) for option in order), len(known))


def settle(
    subject: Subject,
    cases: Sequence[Case],
    settings: Settings,
    layer: int | None,
    pointing: Pointing | None,
    tell: Progress,
) -> tuple[Settings, str]:
    """Fill in the layer and the number of patches that were not given, and say in words where they are from.

    They are chosen on drawn scenes for a bundled model and for cases that are drawn. For other models and
    pictures, which such scenes say little about, they are two thirds of the depth and the default number.

    Raises:
        SelectionError: there is no such layer.
    """
    adapter = subject.adapter
    if layer is not None:
        (layer,) = check_layers([layer], adapter.n_layers)
    if layer is not None and pointing is not None:
        return replace(settings, layer=layer, pointing=pointing), "layer and number of patches were given"
    if adapter.name in bundled_models() or any(case.truth is not None for case in cases):
        layers = None if layer is None else [layer]
        pointings = POINTINGS if pointing is None else (pointing,)
        chosen = choose(subject, settings, tell, layers=layers, pointings=pointings)
        return replace(settings, layer=chosen.layer, pointing=chosen.pointing), str(chosen)
    can = adapter.cross_blocks if subject.lens.reads_vision else range(adapter.n_layers)
    usual = min((block + 1 for block in can), key=lambda one: abs(3 * one - 2 * adapter.n_layers), default=0)
    made = replace(settings, layer=usual if layer is None else layer, pointing=pointing or settings.pointing)
    return made, "layer or number of patches were chosen on no pictures: try others with --layer and --above"


@dataclass(frozen=True)
class _Sight:
    """A case with the answer's word on its patches at every layer."""

    case: Case
    maps: LensMaps


def _sight(subject: Subject, case: Case, settings: Settings, layers: Sequence[int] | None) -> _Sight | None:
    adapter = subject.adapter
    with naming(case.name):
        inputs = prepare(adapter, case.prompt, case.open())
        (answer,) = rerun(adapter, inputs).answers([()], MAX_NEW_TOKENS)
        if not answer:
            return None
        word = answer_word(adapter, answer, subject.concepts, settings.word)
        return _Sight(case, lens_maps(subject.lens, adapter, inputs, word, layers))


def _scores(
    subject: Subject,
    sights: Sequence[_Sight],
    options: Sequence[Option],
    settings: Settings,
    tell: Progress,
    what: str,
) -> dict[Option, float]:
    """Share of flips of each option beyond those of random patches."""
    gains: list[NDArray[np.float64]] = []
    if not options:
        return {}
    for number, sight in enumerate(sights):
        tell(what, number, len(sights))
        adapter, case = subject.adapter, sight.case
        rng, by = case_rng(case, settings.seed), subject.replacing.by(case)
        chosen = [pointing.chosen(sight.maps.at(layer)) for layer, pointing in options]
        n = sight.maps.values.shape[1]
        drawn: list[Numbers] = [rng.choice(n, len(numbers), replace=False) for numbers in chosen]
        runs = rerun(adapter, prepare(adapter, case.prompt, case.open()))
        plain, *changed = runs.answers(
            [(), *(Ablate(numbers.tolist(), by) for numbers in (*chosen, *drawn))], MAX_NEW_TOKENS
        )
        flips = np.array([ids != plain for ids in changed], np.float64).reshape(2, len(options))
        gains.append(flips[0] - flips[1])
    tell(what, len(sights), len(sights))
    return dict(zip(options, np.mean(gains, 0).tolist(), strict=True))
