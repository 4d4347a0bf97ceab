"""Choose where a lens is read and how much of its map counts, on drawn scenes that nothing is reported on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from patchlens.axes import check_layers
from patchlens.causal import Ablate
from patchlens.causal.pointing import Above, Numbers, Pointing, Top
from patchlens.cause.answer_word import WordMap, word_maps
from patchlens.cause.cases import CasesLike, about_cases, as_cases, drawn_cases
from patchlens.cause.fillers import case_rng, knows_scenes, make_fillers
from patchlens.cause.finding import Finding
from patchlens.cause.patches import MAX_NEW_TOKENS, PointedAblation, ablate_pointed, one_thing
from patchlens.cause.settings import PatchesSettings
from patchlens.data.item import Item
from patchlens.data.words import concept_ids, scene_forms
from patchlens.errors import DataError, naming
from patchlens.lens import Lens, open_lens
from patchlens.progress import Progress, silent
from patchlens.run import Model
from patchlens.scenes.seeds import VALIDATION_SEEDS

SCENES: Final = 20
POINTINGS: Final[tuple[Pointing, ...]] = tuple(Above(share) for share in (0.5, 0.2, 0.1, 0.05, 0.02))
_FIRST: Final = Above(0.1)
DRAWS, DRAWS_ALONE = 3, 20
STEP, STEP_ALONE = 2, 1

Option = tuple[int, Pointing]


def cause_patches(
    model: Model,
    data: CasesLike,
    settings: PatchesSettings | None = None,
    *,
    prompt: str | None = None,
    lens: str | Path | Lens | None = None,
    about: str | None = None,
    out: Path | None = None,
    progress: Progress = silent,
) -> Finding:
    """Ablate the patches that a lens points at, and as many others, to see whether the answer needs them.

    Args:
        model: what to ask.
        data: a picture, a folder, a ``.jsonl`` file, ``scenes:N``, items, or cases.
        settings: what is ablated; what it leaves out is settled as `settle` does.
        prompt: what to ask of the picture, or of each of a folder.
        lens: as `patchlens.open_lens` takes it; left out as in `settle`.
        about: what the pictures are, in words.
        out: NAME.jsonl, a line per case; run again, it goes on from there.
        progress: told what is being done, how much is done, and of how much.

    Returns:
        Figures beside their controls, with the record of each case (`patchlens.cause.patches.measure`).

    Raises:
        PatchlensError: a picture, lens, layer or word cannot be used, or ``out`` holds another experiment.
    """
    cases = as_cases(data, prompt)
    ablation, notes = settle(model, cases, settings or PatchesSettings(), lens, progress)
    about = about or about_cases(cases)
    return ablate_pointed(ablation, cases, about=about, out=out, notes=notes, progress=progress)


def settle(
    model: Model,
    cases: Sequence[Item],
    settings: PatchesSettings,
    lens: str | Path | Lens | None = None,
    progress: Progress = silent,
) -> tuple[PointedAblation, tuple[str, ...]]:
    """Fill in what was not given, and say in words where it is from.

    The lens is the logit lens, or the cross lens where the model reads pictures by cross-attention. Layer and
    number of patches are chosen on drawn scenes for a bundled model and for cases that are drawn. For other
    models and pictures, which such scenes say little about, they are two thirds of the depth and the default
    number.

    Raises:
        SelectionError: there is no such lens or layer, or the lens is not for this model.
    """
    adapter, is_alone = model.adapter, len(cases) == 1
    known = knows_scenes(model, cases)
    given = _pointing(settings)
    ablation = PointedAblation(
        model,
        open_lens(lens or ("cross" if adapter.cross_blocks else "logit"), adapter),
        make_fillers(model, cases, settings.by, settings.seed),
        pointing=given or _FIRST,
        block=settings.block,
        step=settings.step or (STEP_ALONE if is_alone else STEP),
        draws=settings.draws or (DRAWS_ALONE if is_alone else DRAWS),
        word=settings.word,
        seed=settings.seed,
        concepts=concept_ids(model.tokenizer, *scene_forms()) if known else None,
    )
    layers = None if settings.layer is None else check_layers([settings.layer], adapter.n_layers)
    if layers is not None and given is not None:
        found, note = replace(ablation, layer=layers[0]), "layer and number of patches were given"
    elif known:
        pointings = POINTINGS if given is None else (given,)
        chosen = choose(ablation, progress, layers=layers, pointings=pointings)
        found, note = replace(ablation, layer=chosen.layer, pointing=chosen.pointing), str(chosen)
    else:
        found = replace(ablation, layer=_usual_layer(ablation) if layers is None else layers[0])
        note = "layer or number of patches were chosen on no pictures: try others with --layer and --above"
    return found, (note, *(_strangeness(model, cases[0]) if is_alone else ()))


def _pointing(settings: PatchesSettings) -> Pointing | None:
    if settings.above is not None:
        return Above(settings.above)
    return None if settings.top is None else Top(settings.top)


def _usual_layer(ablation: PointedAblation) -> int:
    adapter = ablation.model.adapter
    can = adapter.cross_blocks if ablation.lens.reads_vision else range(adapter.n_layers)
    return min((block + 1 for block in can), key=lambda one: abs(3 * one - 2 * adapter.n_layers), default=0)


def _strangeness(model: Model, case: Item) -> tuple[str, ...]:
    """What is to be known of a picture before what is said of it is believed."""
    return model.trace(case.open(), case.prompt, max_new_tokens=0, layers=[0]).notes


@dataclass(frozen=True)
class PointingChoice:
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
    ablation: PointedAblation,
    progress: Progress = silent,
    *,
    layers: Sequence[int] | None = None,
    pointings: Sequence[Pointing] = POINTINGS,
    scenes: int = SCENES,
) -> PointingChoice:
    """Choose the layer of the lens, then how many patches, by what they do on validation scenes.

    The score of a way is the share of answers that flip when the patches pointed at are ablated, less the
    share that flip when as many random ones are. Layers are compared at one number of patches, the best one's
    numbers then with each other; of equal scores the first wins.

    Args:
        ablation: model, lens and fillers; its layer, number of patches and word do not matter.
        progress: told how far it is.
        layers: to choose from; None for all that the lens reads.
        pointings: to choose from.
        scenes: how many, from `patchlens.scenes.seeds.VALIDATION_SEEDS` on.

    Raises:
        SelectionError: the lens is not for this model, or reads none of these layers.
        DataError: the model answers nothing.
    """
    ablation = replace(ablation, word=None)
    first = _FIRST if _FIRST in pointings else pointings[0]
    maps = [
        (case, found)
        for case in drawn_cases(one_thing, 1, scenes, first=VALIDATION_SEEDS)
        if (found := _maps(ablation, case, layers)) is not None
    ]
    if not maps:
        name = ablation.model.name
        raise DataError(f"{name} answers none of {scenes} drawn scenes: give --layer and --above")
    options = [(layer, first) for layer in maps[0][1]]
    by_layer = _scores(ablation, maps, options, progress, "choosing the layer")
    layer = max(by_layer, key=lambda option: by_layer[option])[0]
    options = [(layer, pointing) for pointing in pointings if pointing != first]
    scores = by_layer | _scores(ablation, maps, options, progress, "choosing how many")
    order = sorted(scores, key=lambda option: -scores[option])
    return PointingChoice(*order[0], tuple((option, scores[option]) for option in order), len(maps))


def _maps(ablation: PointedAblation, case: Item, layers: Sequence[int] | None) -> dict[int, WordMap] | None:
    """The answer's word on the patches at every layer; None where nothing is said."""
    with naming(case.name):
        trace = ablation.trace(case, layers)
        if not trace.answer.ids:
            return None
        return word_maps(trace, ablation.lens, ablation.answer_word(trace.answer.ids))


def _scores(
    ablation: PointedAblation,
    maps: Sequence[tuple[Item, Mapping[int, WordMap]]],
    options: Sequence[Option],
    progress: Progress,
    what: str,
) -> dict[Option, float]:
    """Share of flips of each option beyond those of random patches."""
    gains: list[NDArray[np.float64]] = []
    if not options:
        return {}
    for number, (case, own) in enumerate(maps):
        progress(what, number, len(maps))
        rng, by = case_rng(case, ablation.seed), ablation.fillers.by(case)
        chosen = [pointing.chosen(own[layer]) for layer, pointing in options]
        n = len(own[options[0][0]])
        drawn: list[Numbers] = [rng.choice(n, len(numbers), replace=False) for numbers in chosen]
        trace = ablation.model.trace(case.open(), case.prompt, max_new_tokens=0, layers=[0])
        runs = [(), *(Ablate(numbers.tolist(), by) for numbers in (*chosen, *drawn))]
        plain, *changed = trace.answers(runs, MAX_NEW_TOKENS)
        flips = np.array([answer.ids != plain.ids for answer in changed], np.float64)
        gains.append(flips[: len(options)] - flips[len(options) :])
    progress(what, len(maps), len(maps))
    return dict(zip(options, np.mean(gains, 0).tolist(), strict=True))
