"""How well the picture backs a noun of a caption, by several scores at every layer; low: likely made up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from patchlens.attention.weights import weights_on_patches
from patchlens.axes import PositionKind
from patchlens.cause.hallucination.nouns import Noun, noun_ids
from patchlens.cause.ledger import six_digits
from patchlens.errors import SelectionError
from patchlens.lens import Lens, LensLike, open_lens
from patchlens.lens.contextual import contextual_maps
from patchlens.run import Images, Model
from patchlens.trace import Trace

LENS, CONTEXTUAL, ATTENTION, OWN = "lens", "contextual", "attention", "own probability"
SCORES: Final = (LENS, CONTEXTUAL, ATTENTION, OWN)
UNITS: Final = {LENS: "nats", CONTEXTUAL: "cosine", ATTENTION: "share", OWN: "nats"}
MEAN: Final = "mean"
"""Stands for a layer: the mean over all of them."""
_MOST_LAYERS: Final = 9

Scores = dict[str, dict[str, list[float]]]
"""By score and by layer (or pair of layers), one value per noun."""


def usual_lens(model: Model, lens: LensLike | None) -> Lens:
    """A lens as it was asked for, else one that reads the model's patches without a fit."""
    return open_lens(lens or ("cross" if model.adapter.cross_blocks else "logit"), model)


def whole_caption(model: Model, pictures: Images, prompt: str, ids: Sequence[int]) -> Trace:
    """A caption as `noun_scores` takes it: with one token after it, so that its last token is passed over."""
    return model.trace(pictures, prompt, answer=[*ids, ids[-1]], steps=True)


def noun_scores(trace: Trace, lens: Lens, nouns: Sequence[Noun]) -> Scores:
    """Score the nouns of a caption.

    - ``lens``: the highest log-probability, over patches, that the lens gives the tokens that name the noun;
      by layer, and the mean over the layers that it reads.
    - ``contextual``: the highest cosine, over patches, of a patch's state with the mean state of the noun's
      tokens (`patchlens.lens.contextual`), by pair of layers ``noun-patch``; at most 9 layers, evenly
      spread, are paired. Left out where patches have no states beside those of words.
    - ``attention``: the share of attention on patches at the position that predicts the noun, the mean over
      heads; where patches are attended to apart from the text, the share among these.
    - ``own probability``: the model's own log-probability of the noun's tokens. It needs no look at patches.

    Args:
        trace: what `whole_caption` gives.
        lens: any.
        nouns: one or more.

    Raises:
        SelectionError: the lens is not for this model, or shows no patch.
    """
    first = trace.inputs.n_prompt
    found: Scores = {LENS: _lens(trace, lens, nouns)}
    if trace.inputs.vision_places is None:
        found[CONTEXTUAL] = _contextual(trace, nouns)
    weights = weights_on_patches(trace.adapter, trace.inputs, [first + noun.steps[0] - 1 for noun in nouns])
    found[ATTENTION] = {
        str(layer): six_digits(own.sum(-1).mean(0).tolist()) for layer, own in weights.items()
    }
    said = trace.answer_logprobs
    found[OWN] = {"": six_digits([float(said[list(noun.steps)].sum()) for noun in nouns])}
    return found


def _lens(trace: Trace, lens: Lens, nouns: Sequence[Noun]) -> dict[str, list[float]]:
    tokens = {noun.key: sorted(noun_ids(trace.adapter.tokenizer, noun.key)) for noun in nouns}
    targets = sorted({token for own in tokens.values() for token in own})
    reading = trace.read(lens, top_k=1, targets=targets)
    patches = reading.positions.kind == PositionKind.PATCH
    if not patches.any():
        raise SelectionError(f"the {lens.name} lens shows no patch of {trace.adapter.name}: take cross")
    read = reading.target_logprobs[:, patches]
    best = np.stack(
        [
            np.logaddexp.reduce(read[..., np.searchsorted(targets, tokens[noun.key])], -1).max(1)
            for noun in nouns
        ],
        1,
    )
    by_layer = {str(layer): six_digits(row.tolist()) for layer, row in zip(reading.layers, best, strict=True)}
    return {**by_layer, MEAN: six_digits(best.mean(0).tolist())}


def _contextual(trace: Trace, nouns: Sequence[Noun]) -> dict[str, list[float]]:
    resid, first = trace.resid, trace.inputs.n_prompt
    layers = sorted({round(n) for n in np.linspace(0, len(resid) - 1, min(len(resid), _MOST_LAYERS))})
    maps = [
        contextual_maps(resid[layers], [first + step for step in noun.steps], trace.inputs.patches).amax(-1)
        for noun in nouns
    ]
    return {
        f"{one}-{two}": six_digits([float(own[a, b]) for own in maps])
        for a, one in enumerate(layers)
        for b, two in enumerate(layers)
    }
