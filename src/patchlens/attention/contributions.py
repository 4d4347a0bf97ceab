"""One forward pass in which every attention is taken apart at a few queries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from patchlens.attention.direction import linearised
from patchlens.attention.terms import BlockTerms
from patchlens.axes import POSITION, VISION
from patchlens.capture import check_positions
from patchlens.errors import SelectionError, TargetError
from patchlens.models.adapter import Adapter, Attended, OnState
from patchlens.models.inputs import Inputs
from patchlens.models.unembed import Unembed


def _ignored(_block: int, _state: Tensor) -> None:
    pass


@dataclass(frozen=True)
class Contributions:
    """The terms of every attention asked for, at ``queries`` (positions of the sequence).

    ``blocks`` holds those that ran, in order: a text-only pass skips cross-attention. ``final`` are the
    residual states of the last layer at the queries, before the final norm.
    """

    queries: tuple[int, ...]
    blocks: tuple[BlockTerms, ...]
    final: Float[Tensor, "query d_model"]
    unembed: Unembed

    def over(self, axis: str | None = None) -> tuple[BlockTerms, ...]:
        """Blocks that attend to ``pos`` or to ``vision``; None: to vision if any does.

        Raises:
            SelectionError: there is none.
        """
        if axis is None:
            axis = VISION if any(block.over == VISION for block in self.blocks) else POSITION
        found = tuple(block for block in self.blocks if block.over == axis)
        if not found:
            raise SelectionError(f"no attention over {axis!r} was captured here")
        return found

    def directions(self, token_ids: Sequence[int]) -> Float[Tensor, "query target d_model"]:
        """Direction of each token's logit at each query, the final norm's scale held fixed (`linearised`).

        Raises:
            TargetError: a token is not in the vocabulary.
        """
        for token in token_ids:
            if not 0 <= token < self.unembed.vocab:
                raise TargetError(
                    f"token id {token} does not exist: this model has ids 0 to {self.unembed.vocab - 1}"
                )
        return linearised(self.unembed, self.final, torch.tensor(list(token_ids), dtype=torch.int64))

    def toward(
        self, token_ids: Sequence[int], axis: str | None = None
    ) -> Float[Tensor, "block query source target"]:
        """How much each source, by being attended to, raises each token's logit: ``sum_h c . direction``.

        The final norm is applied with its scale held at its value for the query, so that shares add up:
        those of all attentions, their biases, the MLPs and the embedding sum to the logit. What later blocks
        make of a write is not counted. Sum over the first axis for all blocks together.

        Args:
            token_ids: the tokens.
            axis: what the blocks attend to, ``pos`` or ``vision``; None takes vision if any block does. The
                blocks are those of ``over(axis)``.

        Returns:
            In logits, on the device of the unembedding.

        Raises:
            TargetError: a token is not in the vocabulary.
            SelectionError: no block attends to that axis.
        """
        directions = self.directions(token_ids)
        shares = [block.along(directions.to(block.values.device)) for block in self.over(axis)]
        return torch.stack([share.to(directions.device) for share in shares])


def contributions(
    adapter: Adapter, inputs: Inputs, *, queries: Sequence[int], blocks: Iterable[int] | None = None
) -> Contributions:
    """Run the model once, its decoder attending eagerly, and keep what attention does at a few queries.

    One block's weights exist at a time; kept are the rows of the queries and the blocks' values. The terms of
    every block are held against what it really added to the residual stream.

    Args:
        adapter: the model.
        inputs: what `patchlens.models.inputs.prepare` made.
        queries: positions of the sequence, negative from the end.
        blocks: 0-based; None for all. Cross-attention blocks are left out where no picture was given.

    Raises:
        SelectionError: a query or block does not exist.
        UnsupportedModelError: a block's attention is not built as patchlens knows it.
        IdentityCheckError: the terms do not sum to what the block adds.
    """
    kept: list[BlockTerms] = []
    final: list[Tensor] = []
    at = check_positions(queries, len(inputs))

    def keep_final(block: int, state: Tensor) -> None:
        if block == adapter.n_layers - 1:
            final.append(state[0, torch.tensor(at, device=state.device)])

    each_block(
        adapter,
        inputs,
        at,
        check_blocks(blocks, adapter.n_layers),
        lambda _, terms: kept.append(terms),
        on_state=keep_final,
    )
    return Contributions(at, tuple(kept), final[0], adapter.unembed)


def each_block(
    adapter: Adapter,
    inputs: Inputs,
    queries: Sequence[int],
    blocks: Sequence[int],
    on_terms: Callable[[Attended, BlockTerms], None],
    *,
    on_state: OnState = _ignored,
    on_vision: OnState | None = None,
) -> None:
    """Run the model once, its decoder attending eagerly, and hand over each block's terms as it runs.

    Nothing is kept here: what ``on_terms`` lets go is gone before the next block runs. The terms are held
    against what the block really added to the residual stream first.

    Args:
        adapter: the model.
        inputs: what `patchlens.models.inputs.prepare` made.
        queries: positions of the sequence, checked.
        blocks: 0-based, checked. Cross-attention blocks do not run where no picture was given.
        on_terms: gets what a block's attention did, and its terms at the queries.
        on_state: gets every block's number and output, as in `Adapter.watched`.
        on_vision: gets the states that cross-attention blocks attend to, likewise.

    Raises:
        UnsupportedModelError: a block's attention is not built as patchlens knows it.
        IdentityCheckError: the terms do not sum to what the block adds.
    """
    at = torch.tensor(queries)
    sees = torch.from_numpy(adapter.sees(inputs))[at]

    def on_attention(attended: Attended) -> None:
        own = at.to(attended.weights.device)
        terms = _terms(attended, own, sees)
        adapter.check_write(attended, terms.write(), own)
        on_terms(attended, terms)

    with (
        adapter.undisturbed(),
        torch.no_grad(),
        adapter.watched(on_state, on_vision=on_vision),
        adapter.attending(blocks, on_attention),
    ):
        adapter.model(**inputs.tensors, use_cache=False, logits_to_keep=1)


def check_blocks(blocks: Iterable[int] | None, n_blocks: int) -> tuple[int, ...]:
    """Resolve wanted blocks to sorted unique numbers in ``0..n_blocks - 1``; None means all.

    Raises:
        SelectionError: a block does not exist.
    """
    wanted = tuple(range(n_blocks)) if blocks is None else tuple(sorted(set(blocks)))
    for block in wanted:
        if not 0 <= block < n_blocks:
            raise SelectionError(f"block {block} does not exist: this model has blocks 0 to {n_blocks - 1}")
    return wanted


def _terms(attended: Attended, at: Int[Tensor, " query"], sees: Bool[Tensor, " query"]) -> BlockTerms:
    heads = attended.heads
    exact = torch.float64 if attended.projected.dtype == torch.float64 else torch.float32
    raw = BlockTerms(
        block=heads.block,
        over=heads.over,
        alpha=attended.weights[:, at],
        values=heads.values(attended.projected).to(exact),
        matrix=heads.matrix.detach(),
        gain=attended.before.new_ones(1, attended.before.shape[-1], dtype=exact),
        bias=heads.bias.to(exact)[None],
        seeing=sees if heads.over == VISION else torch.ones_like(sees),
    )
    gain = heads.gain(raw.write())
    return replace(raw, gain=gain, bias=raw.bias * gain)
