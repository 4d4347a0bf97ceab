"""One forward pass that accounts for attention: each block is summed up as it runs, and let go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from patchlens.attention.account import Account, BlockAccount, Relative, padding_of, patches_of
from patchlens.attention.contributions import each_block
from patchlens.attention.queries import ANSWER, Queries, find_queries
from patchlens.attention.sinks import SinkRule
from patchlens.attention.terms import BlockTerms
from patchlens.axes import CLASSES, POSITION, VISION, PositionKind, check_layers, whole_numbers
from patchlens.errors import NumericsError, SelectionError
from patchlens.models.adapter import Adapter, Attended
from patchlens.models.inputs import Inputs
from patchlens.pictures.grid import Places
from patchlens.reading.records import Answer


def account(
    adapter: Adapter,
    inputs: Inputs,
    answer: Answer,
    query: int | str = ANSWER,
    *,
    layers: int | Iterable[int] | None = None,
    heads: int | Iterable[int] | None = None,
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
        relative = _relative_to(ledger.blocks, other, ledger.sources)
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
        sink = self._sinks(states, places, terms.over)
        own = torch.tensor([CLASSES.index(str(name)) for name in places.kind], dtype=torch.long)
        classes = torch.where(sink, len(CLASSES) - 1, own)
        rows, norms = _unit_rows(terms.alpha, terms.block), terms.norms()
        at = torch.tensor(self.queries, device=attended.before.device)
        before = torch.linalg.vector_norm(attended.before[at], dim=-1, dtype=torch.float32)
        added = (attended.after - attended.before.to(attended.after.device))[at]
        write = torch.linalg.vector_norm(added, dim=-1, dtype=torch.float32).to(before.device) / before
        if not (norms.isfinite().all() and write.isfinite().all()):
            raise NumericsError(
                f"block {terms.block}'s attention has states that are not finite: load the model with "
                "another dtype, bfloat16 or float32"
            )
        index = torch.arange(rows.shape[-1], device=rows.device, dtype=rows.dtype)
        if terms.over == VISION:
            index = torch.full_like(index, torch.nan)
        chosen = list(range(len(rows)) if self.heads is None else self.heads)
        own = BlockAccount(
            block=terms.block,
            over=terms.over,
            shares=self._seen(_shares(rows, classes), terms),
            norm_shares=self._seen(_shares(norms, classes), terms),
            entropy=self._seen(-torch.xlogy(rows, rows).sum(-1), terms),
            mean_position=self._seen((rows * index).sum(-1), terms),
            write=write.cpu().numpy(),
            attention=self._seen(rows[chosen].mean(0, keepdim=True), terms)[0],
            norms=self._seen(norms[chosen].mean(0, keepdim=True), terms)[0],
            head_attention=self._seen(terms.alpha[list(self.heads or ())], terms),
            sink=sink.numpy(),
        )
        self.blocks.append(own)

    def _sinks(
        self, states: Float[Tensor, "source d_model"], places: Places, over: str
    ) -> Bool[Tensor, " source"]:
        """Sinks among the sources; padding of vision states is held against nothing."""
        n = len(places)
        real = ~padding_of(places, self.inputs.grids) if over == VISION else np.ones(n, np.bool_)
        kept, is_patch = torch.from_numpy(real), torch.from_numpy(places.kind == PositionKind.PATCH)
        found = torch.zeros(n, dtype=torch.bool)
        found[kept] = self.rule.find(states[kept.to(states.device)][None], is_patch[kept])[0]
        return found

    def _seen(self, values: Float[Tensor, "head query ..."], terms: BlockTerms) -> NDArray[np.float32]:
        """In float32, NaN at queries that are not meant to see the sources."""
        own = values.float().cpu().numpy().copy()
        own[:, ~terms.seeing.cpu().numpy()] = np.nan
        return own


def _unit_rows(weights: Float[Tensor, "*row source"], block: int) -> Float[Tensor, "*row source"]:
    """Weights whose rows sum to 1 once the rounding of their dtype is out.

    A sum that rounding does not explain, as where a part of the attention goes nowhere, is an error.
    """
    rows = weights.to(torch.float64 if weights.dtype == torch.float64 else torch.float32)
    total = rows.sum(-1, keepdim=True)
    allowed = max(1e-5, 4 * torch.finfo(weights.dtype).eps)
    worst = (total - 1).abs().max().item()
    if not worst <= allowed:
        raise NumericsError(
            f"the attention weights of block {block} were expected to sum to 1 within {allowed:.0e}, but a "
            f"sum is off by {worst:.2g}: shares of them would mean nothing"
        )
    return rows / total


def _shares(
    amounts: Float[Tensor, "*row source"], classes: Int[Tensor, " source"]
) -> Float[Tensor, "*row class"]:
    """How much of each row falls on each of `CLASSES`; NaN in a row that is 0 throughout."""
    own = classes.to(amounts.device)
    sums = torch.stack([amounts[..., own == number].sum(-1) for number in range(len(CLASSES))], -1)
    return sums / sums.sum(-1, keepdim=True)


def _relative_to(own: Sequence[BlockAccount], generic: Account, places: Mapping[str, Places]) -> Relative:
    """Compare blocks at the one query where the answer starts with those under a generic prompt."""
    made: list[NDArray[np.float32]] = []
    for block, other in zip(own, generic.blocks, strict=True):
        mine, theirs = places[block.over], generic.sources[other.over]
        here, there = patches_of(mine), patches_of(theirs)
        if not all(
            np.array_equal(getattr(mine, name)[here], getattr(theirs, name)[there])
            for name in ("image", "tile", "row", "col")
        ):
            raise SelectionError("the generic prompt puts other patches before the model than the question")
        a, b = block.attention[:, here], other.attention[:, there]
        rows = np.full((2, *block.attention.shape), np.nan, np.float32)
        rows[0][:, here] = np.divide(a, b, out=np.full_like(a, np.nan), where=b > 0)
        rows[1][:, here] = a - b
        made.append(rows)
    return Relative(generic.prompt, tuple(own[0] for own in made), tuple(own[1] for own in made))


def _blocks(layers: int | Iterable[int] | None, n_layers: int) -> list[int]:
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


def _check_heads(heads: int | Iterable[int] | None, n_heads: int) -> tuple[int, ...] | None:
    if heads is None:
        return None
    wanted = tuple(dict.fromkeys(whole_numbers(heads, "head")))
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
    patches = patches_of(inputs.places)
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
