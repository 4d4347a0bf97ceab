"""Attention and contributions where the answer starts, as channels of a reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from patchlens.attention.contributions import Contributions, contributions
from patchlens.attention.layout import placed, source_axis
from patchlens.axes import LAYER
from patchlens.errors import SelectionError
from patchlens.models.adapter import Adapter
from patchlens.models.inputs import Inputs
from patchlens.models.tokens import piece_table
from patchlens.reading.reading import Reading
from patchlens.reading.records import Channel

CHANNELS: Final = ("contribution", "attention")
"""What `with_answer_channels` can add."""


def with_answer_channels(
    reading: Reading, adapter: Adapter, inputs: Inputs, names: Sequence[str], token: int
) -> Reading:
    """Add what the position before the answer takes from every source, in one more forward pass.

    Sources are the vision states of a model that reads pictures by cross-attention, else the positions.
    ``contribution_answer`` [layer, source], in logits: how much attending to the source raises the logit of
    ``token``, summed over heads (`Contributions.toward`: the final norm is linearised). ``attention_answer``
    [layer, head, source]: the weights. Both are NaN at layers that are not the output of a block that attends
    to these sources, where no source stands, and where the position is not meant to see any.

    Args:
        reading: of these inputs, through any lens.
        adapter: the model that was read.
        inputs: what it was given.
        names: of `CHANNELS`; none gives the reading back as it is.
        token: whose logit is meant.

    Raises:
        SelectionError: an unknown name, or a reading with no layer that is a block's output.
        UnsupportedModelError: a block's attention is not built as patchlens knows it.
    """
    unknown = [name for name in names if name not in CHANNELS]
    if unknown:
        raise SelectionError(f"there is no channel {unknown[0]!r}: choose of {', '.join(CHANNELS)}")
    if not names:
        return reading
    crosses = inputs.vision_places is not None
    able = adapter.cross_blocks if crosses else range(adapter.n_layers)
    blocks = [layer - 1 for layer in reading.layers.tolist() if layer - 1 in able]
    if not blocks:
        raise SelectionError(
            "channels of attention need a layer that is the output of a block that attends: choose of "
            + ", ".join(str(block + 1) for block in able)
        )
    taken = contributions(adapter, inputs, queries=[inputs.n_prompt - 1], blocks=blocks)
    axis, sources = source_axis(reading, None if inputs.vision_places is None else len(inputs.vision_places))
    made: list[Channel] = []
    if "contribution" in names:
        made.append(_contribution(reading, taken, axis, sources, token, adapter))
    if "attention" in names:
        values = _placed(reading, taken, [block.alpha[:, 0] for block in taken.blocks], sources)
        description = "attention weights where the answer starts"
        made.append(
            Channel("attention_answer", (LAYER, "head", axis), values, "share of attention", description)
        )
    return replace(reading, channels=(*reading.channels, *made))


def _contribution(
    reading: Reading,
    taken: Contributions,
    axis: str,
    sources: NDArray[np.integer[Any]],
    token: int,
    adapter: Adapter,
) -> Channel:
    directions = taken.directions([token])
    shares = [block.along(directions.to(block.values.device))[0, :, 0] for block in taken.blocks]
    piece = piece_table(adapter.tokenizer, [token])[token]
    return Channel(
        "contribution_answer",
        (LAYER, axis),
        _placed(reading, taken, shares, sources),
        "logits",
        f"what attending here adds to the logit of {piece} where the answer starts, all heads together",
    )


def _placed(
    reading: Reading, taken: Contributions, values: Sequence[Tensor], sources: NDArray[np.integer[Any]]
) -> NDArray[np.float32]:
    """Lay ``[.., source]`` of each block out, NaN where the query is not meant to see the sources."""
    by_layer = {
        block.layer: own if bool(block.seeing[0]) else own.new_full(own.shape, np.nan)
        for block, own in zip(taken.blocks, values, strict=True)
    }
    return placed(reading, by_layer, sources)
