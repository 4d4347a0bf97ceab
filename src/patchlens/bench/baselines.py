"""Baselines that are no lenses: where a model looks, or what is like, while it names the things of a picture.

The model is given the caption that names every thing of a picture as its answer (teacher forcing). Of each
layer the way (an attention head, say) is taken whose maps tell things from other things best on validation
pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from patchlens.attention.weights import weights_on_patches
from patchlens.bench.exam import PictureBatch
from patchlens.bench.examine import Examinee, Tallies, moved_truth
from patchlens.bench.null_lenses import Null, grey, twin
from patchlens.bench.readout import Readout
from patchlens.bench.score import score_maps
from patchlens.data.words import ConceptIds
from patchlens.errors import UnsupportedModelError
from patchlens.lens.contextual import contextual_maps
from patchlens.models.tokens import content_ids
from patchlens.pictures.grid import boxes_of
from patchlens.run import Model
from patchlens.scenes.truth import Labelled, Truth, patch_truth
from patchlens.trace import Trace


@dataclass(frozen=True)
class ThingMaps:
    """Maps ``[layer, way, name, patch]`` of each of ``names``, in several ways at every layer.

    ``layers`` are numbers of layers, ``boxes`` ``[patch, 4]`` in pixels of the original.
    """

    names: tuple[str, ...]
    maps: NDArray[np.float32]
    layers: tuple[int, ...]
    boxes: NDArray[np.float64]

    def readout(self, concepts: ConceptIds, ways: Sequence[int] | None) -> Readout:
        """As if ways were layers: all of them, those of one layer after another, or one of each layer."""
        if ways is None:
            chosen = self.maps.reshape(-1, *self.maps.shape[2:])
        else:
            chosen = self.maps[np.arange(len(self.layers)), list(ways)]
        maps = np.full((len(chosen), chosen.shape[2], len(concepts.keys)), np.nan, np.float32)
        for column, name in enumerate(self.names):
            maps[..., concepts.keys.index(name)] = chosen[:, column]
        return Readout(np.empty((*maps.shape[:2], 0), np.int64), maps, {})


MakeMaps = Callable[[Model, Labelled, ConceptIds], ThingMaps | None]
"""Runs a model on a picture with its caption; None where the caption names no thing of the picture."""


@dataclass(frozen=True)
class Baseline:
    """A way to make maps that is no lens: its name on the scoreboard, and what its ways are."""

    name: str
    way: str
    maps: MakeMaps


def attention_maps(model: Model, picture: Labelled, concepts: ConceptIds) -> ThingMaps | None:
    """Attention on patches from the position that predicts the first token of a thing's name; ways are heads.

    Raises:
        UnsupportedModelError: the model's attention is not built as patchlens knows it.
    """
    captioned = _captioned(model, picture, concepts)
    if captioned is None:
        return None
    names, trace, named = captioned
    found = weights_on_patches(model.adapter, trace.inputs, [position - 1 for position in named])
    return ThingMaps(names, torch.stack([*found.values()]).numpy(), tuple(found), _boxes(trace))


def likeness_maps(model: Model, picture: Labelled, concepts: ConceptIds) -> ThingMaps | None:
    """Likeness of patches to the state where a thing's name stands (`patchlens.lens.contextual`).

    The way is the layer that the name's state is taken from.

    Raises:
        UnsupportedModelError: pictures have no positions of their own, so no states to be alike.
    """
    captioned = _captioned(model, picture, concepts)
    if captioned is None:
        return None
    names, trace, named = captioned
    if trace.inputs.vision_places is not None:
        raise UnsupportedModelError(
            f"{model.name} reads pictures by cross-attention: no patch has a state beside those of words"
        )
    patches = trace.inputs.patches
    maps = [contextual_maps(trace.resid, [position], patches).transpose(0, 1) for position in named]
    return ThingMaps(names, torch.stack(maps, 2).numpy(), trace.layers, _boxes(trace))


BASELINES: Final = (
    Baseline("attention", "head", attention_maps),
    Baseline("contextual", "answer_layer", likeness_maps),
)


def _captioned(
    model: Model, picture: Labelled, concepts: ConceptIds
) -> tuple[tuple[str, ...], Trace, list[int]] | None:
    """Names of things in a picture's caption, its trace, and where the first token of each name stands."""
    if picture.caption is None:
        return None
    caption = content_ids(model.tokenizer, f" {picture.caption.answer}")
    steps = {
        name: next((step for step, token in enumerate(caption) if token in concepts.ids[name]), None)
        for name in dict.fromkeys(thing.name for thing in picture.things)
    }
    named = {name: step for name, step in steps.items() if step is not None}
    if not named:
        return None
    # A trace ends before the last token of the answer; with one more, any, it holds the whole caption.
    answer = (*caption, caption[-1])
    trace = model.trace(picture.picture, picture.caption.prompt, answer=answer, steps=True)
    return tuple(named), trace, [trace.inputs.n_prompt + step for step in named.values()]


def _boxes(trace: Trace) -> NDArray[np.float64]:
    return boxes_of(trace.inputs.patch_places, trace.inputs.grids)


@dataclass(frozen=True)
class BaselineTallies:
    """Sums over a batch, at ``layers`` in ``n_ways`` ways each."""

    tallies: Tallies
    layers: tuple[int, ...]
    n_ways: int


def score_baseline(
    examinee: Examinee,
    make: MakeMaps,
    batch: PictureBatch,
    ways: Sequence[int] | None,
    tell: Callable[[], None],
    *,
    nulls: bool,
) -> BaselineTallies:
    """Score a batch's maps.

    Args:
        examinee: the model.
        make: makes the maps of a picture; pictures without are passed over.
        batch: pictures with captions.
        ways: one of each layer; None scores every way, those of one layer after another.
        tell: called after each picture.
        nulls: also measure the nulls.

    Raises:
        UnsupportedModelError: no such maps can be made of this model.
    """
    model, concepts = examinee.model, examinee.concepts
    tallies, layers, n_ways = Tallies(), (), 0
    shuffled = twin(model, batch.seed) if nulls else None
    before: Labelled | None = None
    for draw in batch.pictures:
        picture = draw()
        own = make(model, picture, concepts)
        if own is not None:
            layers, n_ways = own.layers, own.maps.shape[1]
            truth = patch_truth(picture.things, picture.ground, own.boxes)
            score_maps(tallies.real, own.readout(concepts, ways), truth, concepts, own.names)
            if shuffled is not None:
                elsewhere: dict[Null, ThingMaps | None] = {
                    "random": make(shuffled, picture, concepts),
                    "blank": make(model, grey(picture), concepts),
                }
                for null, other in elsewhere.items():
                    if other is not None:
                        score_maps(
                            tallies.null(null), other.readout(concepts, ways), truth, concepts, own.names
                        )
                if before is not None:
                    strange = _renamed(moved_truth(before, picture, own.boxes), own.names)
                    score_maps(tallies.null("shuffled"), own.readout(concepts, ways), strange, concepts)
        before = picture
        tell()
    return BaselineTallies(tallies, layers, n_ways)


def best_ways(scored: BaselineTallies) -> tuple[int, ...] | None:
    """The way of each layer whose maps tell things from other things best, of all ways' scores."""
    values = scored.tallies.real.values(None)
    wanted = values.get("auroc_others", values.get("auroc_all"))
    if wanted is None:
        return None
    return tuple(int(way) for way in wanted.reshape(-1, scored.n_ways).argmax(1))


def _renamed(truth: Truth, names: Sequence[str]) -> Truth:
    """The truth of another picture under this one's names, as far as both go."""
    common = min(len(names), len(truth.names))
    return replace(truth, names=tuple(names[:common]), covered=truth.covered[:common])
