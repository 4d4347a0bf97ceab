"""An account of attention as channels of a reading, so that it is saved with it and shown on its page."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from patchlens.attention.account import Account, BlockAccount
from patchlens.attention.layout import placed, source_axis
from patchlens.attention.queries import ANSWER, LAST, STEPS
from patchlens.axes import CLASSES, LAYER, VISION
from patchlens.errors import SelectionError
from patchlens.reading.reading import Reading
from patchlens.reading.records import Channel


def with_account(reading: Reading, account: Account) -> Reading:
    """Add an account's maps and shares to a reading of the same pass, in place of channels named alike.

    With ``Q`` the name of the queries (answer, last, steps, word), and the axis ``step`` or ``query`` where
    there are several: ``attention_Q_mean`` and ``contribution_Q_norm`` [layer, source], means over the heads
    asked for; ``attention_Q`` [layer, head, source] if heads were named, NaN at the others; with a generic
    prompt ``attention_Q_relative`` and ``attention_Q_difference``; and ``attention_Q_shares`` [layer, head,
    class], of all heads. Sources are the vision states of a model that reads pictures by cross-attention,
    else the positions. NaN at layers the account has nothing of.

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
    axis, sources = source_axis(reading, len(places) if blocks[0].over == VISION else None)
    middle, where = _query_axes(account), _where(account)
    over = "mean over heads" if account.heads is None else f"mean over heads {_listed(account.heads)}"

    def channel(suffix: str, of: str, unit: str, description: str) -> Channel:
        rows = {block.layer: _rows(account, account.rows(block, of)) for block in blocks}
        name = f"{'contribution' if of == 'norms' else 'attention'}_{account.queries.name}_{suffix}"
        return Channel(name, (LAYER, *middle, axis), placed(reading, rows, sources), unit, description)

    made = [
        channel("mean", "attention", "share of attention", f"attention weights {where}, {over}"),
        channel("norm", "norms", "length", f"length of what attending here writes {where}, {over}"),
    ]
    if account.heads is not None:
        by_head = {block.layer: _rows(account, _all_heads(account, block)) for block in blocks}
        values = placed(reading, by_head, sources)
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
    values = placed(reading, by_layer, np.arange(len(CLASSES)))
    return Channel(
        f"attention_{account.queries.name}_shares",
        (LAYER, "head", *_query_axes(account), "class"),
        values,
        "share of attention",
        f"shares of attention {_where(account)} by class: {', '.join(CLASSES)}; {account.rule}",
    )


def _all_heads(account: Account, block: BlockAccount) -> Tensor:
    own = block.head_attention
    full = own.new_full((len(block.shares), *own.shape[1:]), torch.nan)
    full[list(account.heads or ())] = own
    return full


def _rows(account: Account, values: Tensor) -> Tensor:
    """Without the axis of the queries, the last but one, where there is one query."""
    return values if len(account.queries) > 1 else values.squeeze(-2)


def _query_axes(account: Account) -> tuple[str, ...]:
    if len(account.queries) == 1:
        return ()
    return ("step",) if account.queries.name == STEPS else ("query",)


def _where(account: Account) -> str:
    queries = account.queries
    said = {ANSWER: "where the answer starts", LAST: "at the last position", STEPS: "at the answer's steps"}
    return said.get(queries.name, f"of {queries.asked!r} in the prompt")


def _listed(heads: tuple[int, ...]) -> str:
    return ", ".join(map(str, heads))
