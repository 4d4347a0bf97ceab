"""Where a model looks for a thing while it describes the picture: by attention, or by likeness of states.

The model is given the caption that names every thing of a picture as its answer (teacher forcing).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from patchlens.attention.weights import weights_on_patches
from patchlens.bench.probe import Seen
from patchlens.capture import capture
from patchlens.data.words import ConceptIds
from patchlens.errors import UnsupportedModelError
from patchlens.lens.contextual import contextual_maps
from patchlens.models.adapter import Adapter
from patchlens.models.encode import Inputs
from patchlens.models.inputs import prepare
from patchlens.models.tokens import content_ids
from patchlens.pictures.grid import boxes_of
from patchlens.scenes.truth import Labelled


@dataclass(frozen=True)
class Gaze:
    """Maps ``[layer, way, name, patch]`` of each of ``names``, in several ways at every layer.

    ``layers`` are numbers of layers, ``boxes`` ``[patch, 4]`` in pixels of the original.
    """

    names: tuple[str, ...]
    maps: NDArray[np.float32]
    layers: tuple[int, ...]
    boxes: NDArray[np.float64]

    def seen(self, concepts: ConceptIds, ways: Sequence[int] | None) -> Seen:
        """As if ways were layers: all of them, those of one layer after another, or one of each layer."""
        if ways is None:
            chosen = self.maps.reshape(-1, *self.maps.shape[2:])
        else:
            chosen = self.maps[np.arange(len(self.layers)), list(ways)]
        maps = np.full((len(chosen), chosen.shape[2], len(concepts.keys)), np.nan, np.float32)
        for column, name in enumerate(self.names):
            maps[..., concepts.keys.index(name)] = chosen[:, column]
        return Seen(np.empty((*maps.shape[:2], 0), np.int64), maps, {})


Look = Callable[[Adapter, Labelled, ConceptIds], Gaze | None]
"""Runs the model on a picture with its caption; None where the caption names no thing of the picture."""


@dataclass(frozen=True)
class Looker:
    """A way to make maps that is no lens: its name on the scoreboard, what its ways are, and how it looks."""

    name: str
    way: str
    look: Look


def attention_gaze(adapter: Adapter, picture: Labelled, concepts: ConceptIds) -> Gaze | None:
    """Attention on patches from the position that predicts the first token of a thing's name; ways are heads.

    Raises:
        UnsupportedModelError: the model's attention is not built as patchlens knows it.
    """
    told = _told(adapter, picture, concepts)
    if told is None:
        return None
    inputs = told.inputs
    found = weights_on_patches(adapter, inputs, (told.named - 1).tolist())
    maps = torch.stack([*found.values()]).numpy()
    return Gaze(told.names, maps, tuple(found), boxes_of(inputs.patch_places, inputs.grids))


def contextual_gaze(adapter: Adapter, picture: Labelled, concepts: ConceptIds) -> Gaze | None:
    """Likeness of patches to the state where a thing's name stands (`patchlens.lens.contextual`).

    The way is the layer that the name's state is taken from.

    Raises:
        UnsupportedModelError: pictures have no positions of their own, so no states to be alike.
    """
    told = _told(adapter, picture, concepts)
    if told is None:
        return None
    inputs = told.inputs
    if inputs.vision_places is not None:
        raise UnsupportedModelError(
            f"{adapter.name} reads pictures by cross-attention: no patch has a state beside those of words"
        )
    captured = capture(adapter, inputs)
    maps = [
        contextual_maps(captured.resid, [row], inputs.patches).transpose(0, 1) for row in told.named.tolist()
    ]
    boxes = boxes_of(inputs.patch_places, inputs.grids)
    return Gaze(told.names, torch.stack(maps, 2).numpy(), captured.layers, boxes)


LOOKERS: Final = (
    Looker("attention", "head", attention_gaze),
    Looker("contextual", "answer_layer", contextual_gaze),
)


@dataclass(frozen=True)
class _Told:
    """A picture with its caption; ``named`` is the position at which each name's first token stands."""

    inputs: Inputs
    names: tuple[str, ...]
    named: NDArray[np.int64]


def _told(adapter: Adapter, picture: Labelled, concepts: ConceptIds) -> _Told | None:
    if picture.caption is None:
        return None
    caption = content_ids(adapter.tokenizer, f" {picture.caption.answer}")
    said = [
        (name, _first(caption, concepts.ids[name])) for name in dict.fromkeys(t.name for t in picture.things)
    ]
    named = {name: step for name, step in said if step is not None}
    if not named:
        return None
    inputs = prepare(adapter, picture.caption.prompt, [picture.picture], answer_ids=caption)
    return _Told(inputs, tuple(named), np.array([inputs.n_prompt + step for step in named.values()]))


def _first(ids: Sequence[int], wanted: frozenset[int]) -> int | None:
    return next((step for step, token in enumerate(ids) if token in wanted), None)
