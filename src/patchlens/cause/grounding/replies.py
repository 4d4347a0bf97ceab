"""What a model makes of one answer under several pictures of the same size, in few passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.axes import PositionKind
from patchlens.causal import Knockout, intervening, rerun
from patchlens.causal.protocol import Interventions
from patchlens.errors import NumericsError, PromptError
from patchlens.models.adapter import Adapter
from patchlens.models.encode import Inputs
from patchlens.models.generate import generate_greedy
from patchlens.models.tokens import content_ids

AT_ONCE: Final = 4096
"""Positions that go through the model together, or one prompt if it has more."""


@dataclass(frozen=True)
class Reply:
    """Log-probabilities [nats] of an answer's tokens, each after those before it, and what is said instead.

    ``kept`` says of each token whether the model says it there; ``ended``, whether it would stop after them.
    """

    logprobs: tuple[float, ...]
    kept: tuple[bool, ...]
    ended: bool


def blinded(inputs: Inputs) -> Interventions:
    """The knockout after which no position can take anything from the picture, in any block.

    It also holds for positions that are newly generated.

    Raises:
        SelectionError: there is no picture.
    """
    shown = np.isin(inputs.places.kind, (PositionKind.PATCH, PositionKind.IMAGE_OTHER))
    return Knockout(np.flatnonzero(~shown).tolist(), "image") + Knockout("answer", "image")


def begun(adapter: Adapter, inputs: Inputs, text: str) -> Inputs:
    """The prompt with the beginning of an answer as already said, so that answers go on from there.

    Raises:
        PromptError: there is no token in it, or the prompt gets too long.
    """
    before = "" if inputs.text[-1:].isspace() else " "
    ids = content_ids(adapter.tokenizer, before + text.strip()) if text.strip() else []
    if not ids:
        raise PromptError(f"the beginning of an answer {text!r} has no token: give a word or a part of one")
    longer = adapter.continued(inputs, ids)
    return replace(longer, n_prompt=len(longer))


def said(adapter: Adapter, inputs: Inputs, max_new_tokens: int, *, blind: bool) -> list[int]:
    """Token ids of the greedy answer, of the model as it is or with its pictures hidden from it."""
    if not blind:
        return generate_greedy(adapter, inputs, max_new_tokens)
    (ids,) = rerun(adapter, inputs).answers([blinded(inputs)], max_new_tokens)
    return list(ids)


def replies(
    adapter: Adapter, prompts: Sequence[Inputs], answer_ids: Sequence[int], *, blind: bool
) -> list[Reply]:
    """What the model makes of an answer after each of some prompts of the same length.

    Raises:
        NumericsError: the model's logits are not finite.
    """
    told = [adapter.continued(inputs, answer_ids) for inputs in prompts]
    most = max(1, AT_ONCE // len(told[0]))
    return [
        _reply(adapter, logits, answer_ids)
        for first in range(0, len(told), most)
        for logits in _logits(adapter, told[first : first + most], len(answer_ids) + 1, blind)
    ]


def _logits(
    adapter: Adapter, told: Sequence[Inputs], keep: int, blind: bool
) -> Float[Tensor, "prompt step vocab"]:
    tensors = {name: torch.cat([inputs.tensors[name] for inputs in told]) for name in told[0].tensors}
    hidden: Interventions = blinded(told[0]) if blind else ()
    with torch.inference_mode(), adapter.undisturbed(), intervening(adapter, told[0], hidden):
        output = adapter.model(**tensors, use_cache=False, logits_to_keep=keep)
    logits = output.logits.float().cpu()
    if not torch.isfinite(logits).all():
        raise NumericsError(
            f"{adapter.name} in {adapter.dtype} gives logits that are not finite: load it in float32"
        )
    return logits


def _reply(adapter: Adapter, logits: Float[Tensor, "step vocab"], answer_ids: Sequence[int]) -> Reply:
    wanted = torch.tensor(list(answer_ids))
    logprobs = logits[:-1].log_softmax(-1).gather(1, wanted[:, None])[:, 0]
    never = torch.tensor(adapter.unspeakable, dtype=torch.long)
    first = logits.index_fill(1, never, -torch.inf).argmax(-1)
    return Reply(
        tuple(logprobs.tolist()), tuple((first[:-1] == wanted).tolist()), int(first[-1]) in adapter.ends
    )
