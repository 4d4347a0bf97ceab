"""Attention as channels of a reading, so that it is saved with it and shown on its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from patchlens.attention.account import Account, BlockAccount
from patchlens.attention.contributions import Contributions, contributions
from patchlens.attention.queries import ANSWER, INDEX, LAST, STEPS
from patchlens.axes import CLASSES, LAYER, POSITION, VISION
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
    axis, sources = _source_axis(reading, None if inputs.vision_places is None else len(inputs.vision_places))
    made: list[Channel] = []
    if "contribution" in names:
        made.append(_contribution(reading, taken, axis, sources, token, adapter))
    if "attention" in names:
        values = _placed(reading, _by_layer(taken, [block.alpha[:, 0] for block in taken.blocks]), sources)
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
    shares = list(taken.toward([token])[:, 0, :, 0])
    piece = piece_table(adapter.tokenizer, [token])[token]
    return Channel(
        "contribution_answer",
        (LAYER, axis),
        _placed(reading, _by_layer(taken, shares), sources),
        "logits",
        f"what attending here adds to the logit of {piece} where the answer starts, all heads together",
    )


def _by_layer(taken: Contributions, values: Sequence[Tensor]) -> dict[int, NDArray[np.float32]]:
    """``[.., source]`` of each block, NaN where the query is not meant to see the sources."""
    return {
        block.layer: np.where(bool(block.seeing[0]), own.float().cpu().numpy(), np.float32(np.nan))
        for block, own in zip(taken.blocks, values, strict=True)
    }


def with_account(reading: Reading, account: Account) -> Reading:
    """Add an account's maps and shares to a reading of the same pass, in place of channels named alike.

    With ``Q`` the name of the queries (answer, last, steps, position, word), and the axis ``step`` or
    ``query`` where there are several: ``attention_Q_mean`` and ``contribution_Q_norm`` [layer, source], means
    over the heads asked for; ``attention_Q`` [layer, head, source] if heads were named, NaN at the others;
    with a generic prompt ``attention_Q_relative`` and ``attention_Q_difference``; and ``attention_Q_shares``
    [layer, head, class], of all heads. Sources are the vision states of a model that reads pictures by
    cross-attention, else the positions. NaN at layers the account has nothing of.

    Raises:
        SelectionError: the reading holds none of the account's layers.
    """
    crosses = VISION in account.sources
    blocks = [b for b in account.blocks if b.over == VISION] if crosses else list(account.blocks)
    if not any(block.layer in reading.layers for block in account.blocks):
        held = ", ".join(map(str, account.layers))
        raise SelectionError(f"the reading holds none of the layers of this account of attention: {held}")
    made = [_shares(reading, account)]
    if blocks:
        made = [*_maps(reading, account, blocks), *made]
    names = {channel.name for channel in made}
    kept = [channel for channel in reading.channels if channel.name not in names]
    notes = tuple(note for note in account.notes if note not in reading.notes)
    return replace(reading, channels=(*kept, *made), notes=(*reading.notes, *notes))


def _maps(reading: Reading, account: Account, blocks: list[BlockAccount]) -> list[Channel]:
    places = account.sources[blocks[0].over]
    axis, sources = _source_axis(reading, len(places) if blocks[0].over == VISION else None)
    middle, where = _query_axes(account), _where(account)
    over = "mean over heads" if account.heads is None else f"mean over heads {_listed(account.heads)}"

    def channel(suffix: str, of: str, unit: str, description: str) -> Channel:
        rows = {block.layer: _rows(account, account.rows(block, of)) for block in blocks}
        name = f"{'contribution' if of == 'norms' else 'attention'}_{account.queries.name}_{suffix}"
        return Channel(name, (LAYER, *middle, axis), _placed(reading, rows, sources), unit, description)

    made = [
        channel("mean", "attention", "share of attention", f"attention weights {where}, {over}"),
        channel("norm", "norms", "length", f"length of what attending here writes {where}, {over}"),
    ]
    if account.heads is not None:
        by_head = {block.layer: _rows(account, _all_heads(account, block)) for block in blocks}
        values = _placed(reading, by_head, sources)
        text = f"attention weights {where}, heads {_listed(account.heads)}"
        axes = (LAYER, "head", *middle, axis)
        made.append(Channel(f"attention_{account.queries.name}", axes, values, "share of attention", text))
    if account.relative is not None:
        generic = f"attention {where}, {over}, against that under {account.relative.prompt!r}"
        made.append(channel("relative", "relative", "times", f"{generic}: ratio"))
        made.append(channel("difference", "difference", "share of attention", f"{generic}: difference"))
    return made


def _shares(reading: Reading, account: Account) -> Channel:
    """Shares by class; the axis of classes stands where sources stand in maps."""
    by_layer = {block.layer: _rows(account, block.shares) for block in account.blocks}
    values = _placed(reading, by_layer, np.arange(len(CLASSES)))
    return Channel(
        f"attention_{account.queries.name}_shares",
        (LAYER, "head", *_query_axes(account), "class"),
        values,
        "share of attention",
        f"shares of attention {_where(account)} by class: {', '.join(CLASSES)}; {account.rule}",
    )


def _all_heads(account: Account, block: BlockAccount) -> NDArray[np.float32]:
    own = block.head_attention
    full = np.full((len(block.shares), *own.shape[1:]), np.nan, np.float32)
    full[list(account.heads or ())] = own
    return full


def _rows(account: Account, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without the axis of the queries, the last but one, where there is one query."""
    return values if len(account.queries) > 1 else values.squeeze(-2)


def _query_axes(account: Account) -> tuple[str, ...]:
    if len(account.queries) == 1:
        return ()
    return ("step",) if account.queries.name == STEPS else ("query",)


def _where(account: Account) -> str:
    queries = account.queries
    said = {ANSWER: "where the answer starts", LAST: "at the last position", STEPS: "at the answer's steps"}
    at = (
        f"at position {queries.positions[0]}"
        if queries.name == INDEX
        else f"of {queries.asked!r} in the prompt"
    )
    return said.get(queries.name, at)


def _listed(heads: tuple[int, ...]) -> str:
    return ", ".join(map(str, heads))


def _source_axis(reading: Reading, n_states: int | None) -> tuple[str, NDArray[np.integer[Any]]]:
    """The axis of a reading along which sources lie, and which of them stands at each place, -1 for none.

    Args:
        reading: through any lens; the cross lens lays the vision states before the text.
        n_states: how many vision states there are, or None where patches are positions.
    """
    if n_states is None:
        return POSITION, reading.positions.index
    if reading.vision is not None:
        return VISION, np.arange(n_states)
    index = reading.positions.index
    return POSITION, np.where(index < n_states, index, -1)


def _placed(
    reading: Reading, by_layer: Mapping[int, NDArray[np.floating[Any]]], sources: NDArray[np.integer[Any]]
) -> NDArray[np.float32]:
    """Lay ``[.., source]`` of some layers out as ``[layer, .., place]``, NaN where there is none."""
    inner = next(iter(by_layer.values())).shape[:-1]
    out = np.full((len(reading.layers), *inner, len(sources)), np.nan, np.float32)
    held = sources >= 0
    for layer, own in by_layer.items():
        if layer in reading.layers:
            out[reading.layer_row(layer)][..., held] = own[..., sources[held]]
    return out
