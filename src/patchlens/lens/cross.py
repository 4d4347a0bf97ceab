"""The cross lens: words for the patches of a model that reads its pictures by cross-attention."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.capture import Captured
from patchlens.errors import SelectionError
from patchlens.lens.logit import LogitLens
from patchlens.models.adapter import Adapter, Heads
from patchlens.models.inputs import Inputs
from patchlens.pictures.grid import joined

_STATES_AT_ONCE = 512


@dataclass(frozen=True)
class CrossLens(LogitLens):
    """What each patch would say if a cross-attention block attended to nothing else.

    For a vision state s, a block's write is ``v = tanh(gate) * sum over heads of W_O^h W_V^{kv(h)} s``: the
    terms of `patchlens.attention.BlockTerms` without their attention weights (biases left out). It is read as
    ``unembed(v)``: the final norm is applied once, to the write alone, so that only its direction counts. It
    is not added to a residual state first: that of an answer position, or a mean over the prompt, brings
    words of its own, which then stand on patches that show nothing of them.

    Patches become positions of the reading, laid before those that predict the answer, which are read with
    the logit lens. Layers are the outputs of the cross-attention blocks. ``kl_to_final`` of a patch is from
    the model's distribution for the first token of the answer.
    """

    name = "cross"
    reads_vision = True
    has_distribution = False

    def notes(self) -> tuple[str, ...]:
        """What the positions and numbers of such a reading are."""
        return (
            "patches are read as what a cross-attention block would write of them if it attended to nothing "
            "else; their KL is from the model's answer, and the answer's own row is read with the logit lens",
        )

    def lay_out(self, adapter: Adapter, inputs: Inputs, captured: Captured) -> tuple[Inputs, Captured]:
        """Make positions of the vision states.

        Returns:
            inputs whose sequence starts with all vision states, numbered from 0, before the text; and the
            states of those that are patches and of the answer's positions, at the layers that are outputs of
            cross-attention blocks and were captured.

        Raises:
            SelectionError: there is no picture to read by cross-attention, or neither the answer's position
                nor a layer that it can read was captured.
            UnsupportedModelError: a block's attention is not built as patchlens knows it.
        """
        places, states = inputs.vision_places, captured.vision
        if places is None or states is None:
            raise SelectionError(
                "the cross lens reads pictures that a model attends to from its text: "
                + ("give a picture" if adapter.cross_blocks else f"take another lens for {adapter.name}")
            )
        layers = tuple(block + 1 for block in adapter.cross_blocks if block + 1 in captured.layers)
        first = inputs.n_prompt - 1
        if not layers or first not in captured.positions:
            wanted = ", ".join(str(block + 1) for block in adapter.cross_blocks)
            raise SelectionError(
                f"the cross lens needs position {first}, before the answer, and a layer of {wanted}: leave "
                "positions and layers out, or name them too"
            )
        patches = inputs.patches
        rows = [row for row, position in enumerate(captured.positions) if position >= first]
        wrote = [fully_attended(adapter.heads(layer - 1), states[patches]) for layer in layers]
        said = captured.resid[[captured.layers.index(layer) for layer in layers]][:, rows]
        answer = captured.final[captured.positions.index(first)]
        laid = replace(
            captured,
            resid=torch.cat([torch.stack(wrote).to(said), said], 1),
            final=torch.cat([answer.expand(len(patches), -1), captured.final[rows]]),
            layers=layers,
            positions=(*patches.tolist(), *(len(places) + captured.positions[row] for row in rows)),
            vision=None,
        )
        return _led_by_states(adapter, inputs), laid


def fully_attended(heads: Heads, states: Float[Tensor, "state d_model"]) -> Float[Tensor, "state d_model"]:
    """What a block's attention would write of each state with all its weight on that state, biases left out.

    Args:
        heads: the block's.
        states: what it attends to; no norm is applied to them, as is the way of cross-attention blocks.

    Returns:
        Writes before the final norm, in float32, or float64 in a float64 model.
    """
    exact = torch.float64 if states.dtype == torch.float64 else torch.float32
    matrix = heads.matrix.detach().to(exact).flatten(1)
    wrote = states.new_empty(states.shape, dtype=exact)
    with torch.no_grad():
        for part in torch.arange(len(states)).split(_STATES_AT_ONCE):
            values = heads.values(heads.value(states[part].to(matrix.device, heads.matrix.dtype))).to(exact)
            shared = values.repeat_interleave(heads.n_heads // heads.n_kv_heads, dim=1)
            total = shared.flatten(1) @ matrix.T
            wrote[part] = (total * heads.gain(total)).to(wrote)
    return wrote


def _led_by_states(adapter: Adapter, inputs: Inputs) -> Inputs:
    """Inputs in whose sequence the vision states stand before the text; their tensors stay the model's."""
    assert inputs.vision_places is not None
    n_states = len(inputs.vision_places)
    markers = np.full(n_states, adapter.image_token_id, np.int32)
    return replace(
        inputs,
        ids=np.concatenate([markers, inputs.ids]),
        places=joined([inputs.vision_places, inputs.places]),
        vision_places=None,
        n_prompt=inputs.n_prompt + n_states,
    )
