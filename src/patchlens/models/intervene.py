"""How an adapter lets a pass be changed, or parts of it be run again."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from patchlens.errors import UnsupportedModelError
from patchlens.models.change import MASKING, OnMask, masked
from patchlens.models.encode import Inputs
from patchlens.models.replay import Recorder, Recording
from patchlens.pictures.grid import joined, part, plain_places

if TYPE_CHECKING:
    from patchlens.models.adapter import Adapter


def running(adapter: Adapter, inputs: Inputs) -> tuple[int, ...]:
    """Blocks (0-based) that a pass over these inputs runs: without a picture none of `cross_blocks`."""
    skipped = () if inputs.vision_places is not None else adapter.cross_blocks
    return tuple(block for block in range(adapter.n_layers) if block not in skipped)


@contextmanager
def masking(adapter: Adapter, blocks: Sequence[int], on_mask: OnMask) -> Generator[None, None, None]:
    """`masked`, where the attention runs in a way that heeds a mask of single pairs.

    Raises:
        UnsupportedModelError: it does not, or is not built as patchlens knows it.
    """
    config: Any = adapter.model.get_decoder().config
    kind = config._attn_implementation
    if blocks and kind not in MASKING:
        raise UnsupportedModelError(
            f"{adapter.name} runs its attention by {kind!r}, which takes no mask of single pairs; load it "
            f"with one of {', '.join(MASKING)}"
        )
    with masked([adapter.heads(block) for block in blocks], on_mask):
        yield


def recorded(adapter: Adapter, inputs: Inputs) -> Recording:
    """Run a plain pass and keep what is needed to run parts of it again.

    Raises:
        IdentityCheckError: the states do not unembed to the model's logits.
        UnsupportedModelError: a block is called in a way patchlens does not know.
    """
    recorder = Recorder(adapter.blocks, adapter.cross_blocks)
    vision: list[Tensor] = []

    def on_vision(_: int, states: Tensor) -> None:
        vision.append(states.flatten(0, -2))

    with adapter.undisturbed(), recorder.listening(), adapter.watched(_ignore, on_vision=on_vision):
        output: Any = adapter.model(**inputs.tensors, use_cache=False, logits_to_keep=1)
    recording = recorder.recording(vision[0] if vision else None)
    adapter.check_pass(set(recording.arguments), recording.resid[-1][-1:], output.logits[0, -1:])
    return recording


def continued(adapter: Adapter, inputs: Inputs, answer_ids: Sequence[int]) -> Inputs:
    """The same prompt and pictures with this answer after them, in place of any other."""
    tensors = dict(inputs.tensors)
    for name in adapter.along_positions.keys() & tensors.keys():
        prompt = tensors[name][:, : inputs.n_prompt]
        filler = adapter.along_positions[name]
        last = prompt[:, -1:] if filler is None else torch.full_like(prompt[:, -1:], filler)
        tensors[name] = torch.cat([prompt, *[last] * len(answer_ids)], 1)
    tensors["input_ids"][0, inputs.n_prompt :] = torch.tensor(list(answer_ids), dtype=torch.long)
    answer = plain_places([adapter.kind_of(token) for token in answer_ids])
    return replace(
        inputs,
        tensors=tensors,
        ids=np.concatenate([inputs.ids[: inputs.n_prompt], np.array(answer_ids, np.int32)]),
        places=joined([part(inputs.places, slice(0, inputs.n_prompt)), answer]),
    )


def _ignore(_: int, __: Tensor) -> None:
    pass
