"""The model's own answer, greedily, with nothing of its generation settings mixed in."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from patchlens.models.adapter import Adapter
from patchlens.models.encode import Inputs


def generate_greedy(adapter: Adapter, inputs: Inputs, max_new_tokens: int) -> list[int]:
    """Token ids of the greedy continuation, without the token that ends it.

    Penalties, suppressions and sampling from the model's generation config are left out, so that every id
    is the arg max of the model's logits; only placeholder tokens of pictures cannot be said.
    """
    return generate_together(adapter, inputs.tensors, len(inputs), max_new_tokens)[0]


def generate_together(
    adapter: Adapter, tensors: Mapping[str, Tensor], length: int, max_new_tokens: int
) -> list[list[int]]:
    """`generate_greedy` of every row of a batch whose prompts are all ``length`` positions long."""
    room = max_new_tokens
    if adapter.max_positions is not None:
        room = min(room, adapter.max_positions - length)
    if room < 1:
        return [[] for _ in range(tensors["input_ids"].shape[0])]
    ends = adapter.ends
    with adapter.undisturbed(), _plain_generation(adapter, ends), torch.inference_mode():
        model: Any = adapter.model
        output = model.generate(**tensors, max_new_tokens=room, do_sample=False)
    return [_up_to_end(row, ends) for row in output[:, length:].tolist()]


def _up_to_end(ids: list[int], ends: tuple[int, ...]) -> list[int]:
    """Tokens before the first that ends the answer; what follows it fills up the batch."""
    return ids[: next((place for place, token in enumerate(ids) if token in ends), len(ids))]


@contextmanager
def _plain_generation(adapter: Adapter, ends: tuple[int, ...]) -> Generator[None, None, None]:
    model: Any = adapter.model
    kept = model.generation_config
    pad = adapter.tokenizer.pad_token_id
    model.generation_config = GenerationConfig(
        eos_token_id=list(ends) or None,
        pad_token_id=ends[0] if pad is None and ends else pad,
        suppress_tokens=list(adapter.unspeakable) or None,
    )
    try:
        yield
    finally:
        model.generation_config = kept
