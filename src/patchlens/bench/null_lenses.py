"""What a figure must beat: the same measurement where there is nothing to find.

- ``random``: the picture read by the same lens in a twin of the model whose weights are shuffled within every
  tensor, embedding, final norm and unembedding apart. So the scales are the model's, and the words a lens can
  say, but nothing that was learnt about pictures is left. Another twin for each seed.
  Not asked of false names: a twin's states point the same few ways all over, so that it names things nearly
  everywhere or nearly nowhere, by luck.
- ``shuffled``: this picture's reading held against the truth of the next one; for a KL, against the final
  distributions of the next one.
- ``blank``: a grey picture of the same size, held against this picture's truth: what a lens says of a place
  whatever is there. Not asked of false names either: on grey, any name is false.
- ``constant``: a lens that says the same everywhere, the model's mean distribution over positions of the kind
  (for KL); or all tokens alike (for bias).
- ``shift``: states of layer l read as those of layer l + k, cyclically. It does not ask whether a figure is
  real, but whether it belongs to its layer, and is marked apart. A lens that treats all layers alike would
  read the same; for it the layers' labels are shifted instead: its figure at a layer against the mean of its
  figures at the others.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.axes import FitKind
from patchlens.lens import JSON, Lens
from patchlens.models.unembed import Unembed
from patchlens.run import Model
from patchlens.scenes.truth import Labelled

Null = Literal["random", "shuffled", "blank", "constant", "shift"]
GREY: Final = 128


def twin(model: Model, seed: int) -> Model:
    """The model with the entries of every weight tensor in random order; it takes as much memory again.

    Embedding, final norm and unembedding are kept. The model given is not touched.
    """
    adapter, copied = model.adapter, copy.deepcopy(model.adapter.model)
    shuffled = type(adapter)(copied, adapter.processing, name=f"{adapter.name} with shuffled weights")
    kept = {id(p) for p in shuffled.final_norm.parameters()}
    kept |= {id(p) for p in copied.get_input_embeddings().parameters()}
    kept |= {id(shuffled.unembed.weight), id(shuffled.unembed.bias)}
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in copied.parameters():
            if id(parameter) not in kept:
                order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return Model(shuffled)


def grey(picture: Labelled) -> Labelled:
    """One grey in the place of a picture; what is asked and answered stays."""
    return replace(picture, name="grey", picture=np.full_like(picture.picture, GREY))


@dataclass(frozen=True)
class ShiftedLens(Lens):
    """Reads states of a layer as if they were of the layer ``by`` further on, the last layer apart."""

    name: str
    lens: Lens
    by: int
    n_layers: int

    def params(self) -> Mapping[str, JSON]:
        """The lens's own, and the shift."""
        return {**self.lens.params(), "shift": self.by}

    def normed(
        self, resid_layer: Float[Tensor, "pos d_model"], layer: int, unembed: Unembed
    ) -> Float[Tensor, "pos d_model"]:
        """What the lens makes of the states as those of another layer."""
        if layer < self.n_layers:
            layer = (layer + self.by) % self.n_layers
        return self.lens.normed(resid_layer, layer, unembed)

    def for_kind(self, kind: FitKind) -> ShiftedLens:
        """The shifted lens of a kind."""
        return replace(self, lens=self.lens.for_kind(kind))


def shifted(lens: Lens, n_layers: int) -> ShiftedLens:
    """A lens that takes every layer for the one half the depth away."""
    return ShiftedLens(f"{lens.name}, shifted", lens, max(1, n_layers // 2), n_layers)
