"""One forward pass that accounts for attention: each block is summed up as it runs, and let go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.attention.account import Account, BlockAccount, relative_to, sinks_among
from patchlens.attention.contributions import each_block
from patchlens.attention.queries import ANSWER, Queries, find_queries
from patchlens.attention.shares import class_numbers, entropy, mean_position, shares, unit_rows
from patchlens.attention.sinks import SinkRule
from patchlens.attention.terms import BlockTerms
from patchlens.axes import POSITION, VISION, PositionKind, check_layers
from patchlens.errors import NumericsError, SelectionError
from patchlens.models.adapter import Adapter, Attended
from patchlens.models.inputs import Inputs
from patchlens.pictures.grid import Places
from patchlens.reading.records import Answer


def account(
    adapter: Adapter,
    inputs: Inputs,
    answer: Answer,
    query: str = ANSWER,
    *,
    layers: Iterable[int] | None = None,
    heads: Iterable[int] | None = None,
    rule: SinkRule | None = None,
    generic: Inputs | None = None,
) -> Account:
    """Run the model once, its decoder attending eagerly, and account for where attention goes.

    Transformers' eager attention makes the weights of one block at a time; of these the rows of the queries
    are taken, summed up, and gone before the next block runs. What stays is, per block, a few numbers for
    each head and query and one row of sources for each query, with further rows for heads that are named.

    Args:
        adapter: the model.
        inputs: what `patchlens.models.inputs.prepare` made.
        answer: the model's answer, of which some ids may stand behind the prompt.
        query: whose attention, as `find_queries` takes it.
        layers: outputs of blocks, 1 to ``n_layers``, negative from the end; None for all. Layer 0 attends
            to nothing and is passed over.
        heads: over which maps are averaged; their own maps are kept too. None for all, averaged.
        rule: what is a sink; None for `SinkRule()`.
        generic: the same picture under a generic prompt, to compare with; one more pass.

    Raises:
        SelectionError: a layer, head or word does not exist, or a comparison has no picture or more than
            the one query where the answer starts.
        UnsupportedModelError: a block's attention is not built as patchlens knows it.
        IdentityCheckError: a block's terms do not sum to what it adds.
        NumericsError: weights or states are not finite, or weights do not sum to 1.
    """
    queries = find_queries(adapter, inputs, answer.ids, query)
    if generic is not None:
        _check_comparable(queries, inputs)
    wanted = _blocks(layers, adapter.n_layers)
    named = _check_heads(heads, adapter.heads(wanted[0]).n_heads)
    ledger = _Ledger(inputs, queries.positions, named, rule or SinkRule())
    each_block(adapter, inputs, queries.positions, wanted, ledger.enter, on_vision=ledger.keep_vision)
    if not ledger.blocks:
        raise SelectionError(
            f"{adapter.name} attends to nothing at these layers without a picture: they are the outputs of "
            "cross-attention blocks"
        )
    relative = None
    if generic is not None:
        blank = Answer("", ())
        other = account(adapter, generic, blank, ANSWER, layers=layers, heads=named, rule=ledger.rule)
        relative = relative_to(ledger.blocks, other, ledger.sources)
    return Account(
        model=adapter.name,
        prompt=inputs.prompt,
        answer=answer,
        queries=queries,
        heads=named,
        rule=ledger.rule,
        blocks=tuple(ledger.blocks),
        sources=ledger.sources,
        grids=inputs.grids,
        relative=relative,
        notes=_notes(adapter, inputs, queries.positions, wanted, ledger.blocks),
    )


@dataclass
class _Ledger:
    """What one pass leaves of each block."""

    inputs: Inputs
    queries: tuple[int, ...]
    heads: tuple[int, ...] | None
    rule: SinkRule
    blocks: list[BlockAccount] = field(default_factory=list[BlockAccount])
    _vision: Tensor | None = None

    @property
    def sources(self) -> dict[str, Places]:
        vision = self.inputs.vision_places
        return {POSITION: self.inputs.places} | ({} if vision is None else {VISION: vision})

    def keep_vision(self, _: int, states: Tensor) -> None:
        self._vision = states.flatten(0, -2)

    def enter(self, attended: Attended, terms: BlockTerms) -> None:
        states = attended.before if terms.over == POSITION else self._vision
        assert states is not None
        places = self.sources[terms.over]
        sink = sinks_among(self.rule, states, places, self.inputs.grids, terms.over)
        classes = class_numbers(places.kind, sink)
        rows, norms = unit_rows(terms.alpha, terms.block), terms.norms()
        at = torch.tensor(self.queries, device=attended.before.device)
        before = torch.linalg.vector_norm(attended.before[at], dim=-1, dtype=torch.float32)
        added = (attended.after - attended.before.to(attended.after.device))[at]
        write = torch.linalg.vector_norm(added, dim=-1, dtype=torch.float32).to(before.device) / before
        if not (norms.isfinite().all() and write.isfinite().all()):
            raise NumericsError(
                f"block {terms.block}'s attention has states that are not finite: load the model with "
                "another dtype, bfloat16 or float32"
            )
        chosen = list(range(len(rows)) if self.heads is None else self.heads)
        own = BlockAccount(
            block=terms.block,
            over=terms.over,
            shares=self._seen(shares(rows, classes), terms),
            norm_shares=self._seen(shares(norms, classes), terms),
            entropy=self._seen(entropy(rows), terms),
            mean_position=self._seen(
                mean_position(rows) if terms.over == POSITION else rows.new_full(rows.shape[:2], torch.nan),
                terms,
            ),
            write=write.cpu(),
            attention=self._seen(rows[chosen], terms).mean(0),
            norms=self._seen(norms[chosen], terms).mean(0),
            head_attention=self._seen(terms.alpha[list(self.heads or ())], terms),
            sink=sink,
        )
        self.blocks.append(own)

    def _seen(self, values: Float[Tensor, "head query ..."], terms: BlockTerms) -> Tensor:
        """On the CPU in float32, NaN at queries that are not meant to see the sources."""
        own = values.float().cpu()
        blind = ~terms.seeing.cpu()
        return own if not blind.any() else own.index_fill(1, blind.nonzero()[:, 0], torch.nan)


def _blocks(layers: Iterable[int] | None, n_layers: int) -> list[int]:
    wanted = [layer - 1 for layer in check_layers(layers, n_layers) if layer > 0]
    if not wanted:
        raise SelectionError(f"no block puts out layer 0: choose of layers 1 to {n_layers}")
    return wanted


def _check_comparable(queries: Queries, inputs: Inputs) -> None:
    if queries.name != ANSWER or not inputs.grids:
        raise SelectionError(
            "attention relative to a generic prompt is that of the position where the answer starts to the "
            "patches of a picture: " + ("choose the query answer" if inputs.grids else "give a picture")
        )


def _check_heads(heads: Iterable[int] | None, n_heads: int) -> tuple[int, ...] | None:
    if heads is None:
        return None
    wanted = tuple(dict.fromkeys(heads))
    for head in wanted:
        if not 0 <= head < n_heads:
            raise SelectionError(f"head {head} does not exist: this model has heads 0 to {n_heads - 1}")
    if not wanted:
        raise SelectionError(f"no head was chosen: name some of 0 to {n_heads - 1}, or leave it out for all")
    return wanted


def _notes(
    adapter: Adapter,
    inputs: Inputs,
    queries: tuple[int, ...],
    wanted: list[int],
    blocks: list[BlockAccount],
) -> tuple[str, ...]:
    notes: list[str] = []
    if not inputs.grids:
        notes.append("no picture was given, so nothing can fall on patches")
    crosses = any(block.over == VISION for block in blocks)
    if len(blocks) < len(wanted):
        notes.append("cross-attention blocks do not run without a picture and are left out")
    patches = np.flatnonzero(inputs.places.kind == PositionKind.PATCH)
    blind = (
        np.flatnonzero(~adapter.sees(inputs)[list(queries)])
        if crosses
        else np.flatnonzero(np.array(queries) < (patches[0] if patches.size else 0))
    )
    if blind.size:
        which = ", ".join(str(queries[row]) for row in blind[:5]) + (", ..." if blind.size > 5 else "")
        notes.append(
            f"position {which} stands before the picture and cannot see it"
            + ("; what cross-attention does there is left out (NaN)" if crosses else "")
        )
    if crosses:
        notes.append(
            "cross-attention can fall on nothing but the picture: its shares tell where in it, and how much "
            "it moves the state is told by what it writes"
        )
    return tuple(notes)
