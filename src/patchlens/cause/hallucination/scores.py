"""How well the picture backs a noun of a caption, by several scores at every layer; low: likely made up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch

from patchlens.attention.weights import weights_on_patches
from patchlens.bench.readout import read_out, states_for
from patchlens.capture import capture
from patchlens.cause.hallucination.nouns import Noun, noun_ids
from patchlens.cause.ledger import six_digits
from patchlens.data.words import ConceptIds
from patchlens.lens import Lens
from patchlens.lens.contextual import contextual_maps
from patchlens.lens.read import Pass
from patchlens.models.adapter import Adapter
from patchlens.models.inputs import Inputs
from patchlens.reading.records import Answer

LENS, CONTEXTUAL, ATTENTION, OWN = "lens", "contextual", "attention", "own probability"
SCORES: Final = (LENS, CONTEXTUAL, ATTENTION, OWN)
UNITS: Final = {LENS: "nats", CONTEXTUAL: "cosine", ATTENTION: "share", OWN: "nats"}
MEAN: Final = "mean"
"""Stands for a layer: the mean over all of them."""
_MOST_LAYERS: Final = 9

Scores = dict[str, dict[str, list[float]]]
"""By score and by layer (or pair of layers), one value per noun."""


def noun_scores(
    adapter: Adapter, lens: Lens, inputs: Inputs, caption: Sequence[int], nouns: Sequence[Noun]
) -> Scores:
    """Score the nouns of a caption that follows the prompt (teacher forcing).

    - ``lens``: the highest log-probability, over patches, that the lens gives the tokens that name the noun;
      by layer, and the mean over the layers that it reads.
    - ``contextual``: the highest cosine, over patches, of a patch's state with the mean state of the noun's
      tokens (`patchlens.lens.contextual`), by pair of layers ``noun-patch``; at most 9 layers, evenly
      spread, are paired. Left out where patches have no states beside those of words.
    - ``attention``: the share of attention on patches at the position that predicts the noun, the mean over
      heads; where patches are attended to apart from the text, the share among these.
    - ``own probability``: the model's own log-probability of the noun's tokens. It needs no look at patches.

    Args:
        adapter: the model.
        lens: any.
        inputs: the prompt with its picture.
        caption: tokens that follow it.
        nouns: one or more.

    Raises:
        SelectionError: the lens is not for this model.
    """
    told = adapter.continued(inputs, caption)
    captured = capture(adapter, told)
    keys = list(dict.fromkeys(noun.key for noun in nouns))
    concepts = ConceptIds({key: noun_ids(adapter.tokenizer, key) for key in keys}, tuple(keys))
    states = states_for(lens, Pass(adapter, told, captured, (), Answer("", ())))
    best = read_out(states, lens, concepts, keys).concepts.max(1)
    columns = [keys.index(noun.key) for noun in nouns]
    by_layer = {str(layer): row[columns] for layer, row in zip(states.layers, best, strict=True)}
    by_layer[MEAN] = np.mean(list(by_layer.values()), axis=0)
    found: Scores = {LENS: {layer: six_digits(values.tolist()) for layer, values in by_layer.items()}}
    if told.vision_places is None:
        found[CONTEXTUAL] = _contextual(captured.resid, told, nouns)
    found[ATTENTION] = _attention(adapter, told, nouns)
    found[OWN] = {"": _own(adapter, told, captured.final, caption, nouns)}
    return found


def _contextual(resid: torch.Tensor, told: Inputs, nouns: Sequence[Noun]) -> dict[str, list[float]]:
    layers = sorted({round(n) for n in np.linspace(0, len(resid) - 1, min(len(resid), _MOST_LAYERS))})
    maps = [
        contextual_maps(resid[layers], [told.n_prompt + step for step in noun.steps], told.patches).amax(-1)
        for noun in nouns
    ]
    return {
        f"{one}-{two}": six_digits([float(own[a, b]) for own in maps])
        for a, one in enumerate(layers)
        for b, two in enumerate(layers)
    }


def _attention(adapter: Adapter, told: Inputs, nouns: Sequence[Noun]) -> dict[str, list[float]]:
    predicting = [told.n_prompt + noun.steps[0] - 1 for noun in nouns]
    by_layer = weights_on_patches(adapter, told, predicting)
    return {str(layer): six_digits(weights.sum(-1).mean(0).tolist()) for layer, weights in by_layer.items()}


def _own(
    adapter: Adapter, told: Inputs, final: torch.Tensor, caption: Sequence[int], nouns: Sequence[Noun]
) -> list[float]:
    values: list[Any] = []
    with torch.inference_mode():
        for noun in nouns:
            rows = [told.n_prompt + step - 1 for step in noun.steps]
            said = adapter.unembed.logits(final[rows]).float().log_softmax(-1).cpu()
            tokens = torch.tensor([caption[step] for step in noun.steps])
            values.append(float(said.gather(1, tokens[:, None]).sum()))
    return six_digits(values)
