"""One forward pass, every wanted state kept: hooks around the decoder blocks, no logits but the last row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.axes import check_layers, whole_numbers
from patchlens.errors import NumericsError, SelectionError
from patchlens.models.adapter import Adapter, OnState
from patchlens.models.inputs import Inputs


@dataclass(frozen=True)
class Captured:
    """States of one forward pass.

    ``resid`` holds the residual stream before the final norm at ``layers`` and ``positions`` (indices into
    the sequence), ``final`` that of layer ``n_layers`` at the same positions, ``logits`` the model's own at
    the last position of the sequence. ``vision`` holds the states that cross-attention blocks attend to, one
    row per row of ``Inputs.vision_places``, or is None.
    """

    resid: Float[Tensor, "layer pos d_model"]
    final: Float[Tensor, "pos d_model"]
    layers: tuple[int, ...]
    positions: tuple[int, ...]
    logits: Float[Tensor, " vocab"]
    vision: Float[Tensor, "state d_model"] | None = None


def capture(
    adapter: Adapter,
    inputs: Inputs,
    *,
    layers: Iterable[int] | None = None,
    positions: Iterable[int] | None = None,
) -> Captured:
    """Run the model once and keep its residual stream.

    Args:
        adapter: the model.
        inputs: what `patchlens.models.inputs.prepare` made.
        layers: which layers to keep, 0 (embeddings) to ``n_layers``, negative from the end; None for all.
        positions: which positions of the sequence, negative from the end; None for all.

    Returns:
        States in the model's dtype, on the device of its unembedding. A cross-attention block that a
        text-only pass skips leaves its layer equal to the one before.

    Raises:
        SelectionError: a layer or position does not exist.
        IdentityCheckError: the last state does not unembed to the model's logits.
        NumericsError: the model's states are not finite.
    """
    return capture_together(adapter, [inputs], layers=layers, positions=[positions])[0]


def capture_together(
    adapter: Adapter,
    batch: Sequence[Inputs],
    *,
    layers: int | Iterable[int] | None = None,
    positions: Sequence[Iterable[int] | None] | None = None,
) -> list[Captured]:
    """`capture` of several inputs that are alike (`patchlens.models.encode.likeness`), in one pass.

    Args:
        adapter: the model.
        batch: inputs whose prompts are equally long; shorter answers are filled up behind their end, where no
            position before them sees it.
        layers: as for `capture`, the same for all.
        positions: as for `capture`, for each; None for all of each.

    Raises:
        SelectionError, IdentityCheckError, NumericsError: as `capture`.
    """
    wanted = check_layers(layers, adapter.n_layers)
    kept = [
        check_positions(own, len(inputs))
        for own, inputs in zip(positions or [None] * len(batch), batch, strict=True)
    ]
    shelves = [
        _Shelf(adapter, wanted, own, len(inputs), (row, len(batch)))
        for row, (own, inputs) in enumerate(zip(kept, batch, strict=True))
    ]
    ends = sorted({len(inputs) - 1 for inputs in batch})
    with adapter.undisturbed(), torch.inference_mode():
        with adapter.watched(*_spread(shelves)):
            output = adapter.model(
                **joint_tensors(adapter, batch),
                use_cache=False,
                logits_to_keep=1 if len(ends) == 1 else torch.tensor(ends, device=adapter.device),
            )
        logits = [output.logits[row, ends.index(len(inputs) - 1)][None] for row, inputs in enumerate(batch)]
        for shelf, own in zip(shelves, logits, strict=True):
            if shelf.ran and not (torch.isfinite(shelf.last).all() and torch.isfinite(own).all()):
                raise NumericsError(
                    f"{adapter.name} in {adapter.dtype} gave states or logits that are not finite; load it "
                    "with another dtype, bfloat16 or float32"
                )
            adapter.check_pass(shelf.ran, shelf.last, own)
    return [
        Captured(
            resid=shelf.resid,
            final=shelf.final,
            layers=wanted,
            positions=own,
            logits=said[0].to(shelf.resid.device).clone(),
            vision=None if shelf.vision is None else shelf.vision.clone(),
        )
        for shelf, own, said in zip(shelves, kept, logits, strict=True)
    ]


def joint_tensors(adapter: Adapter, batch: Sequence[Inputs]) -> dict[str, Tensor]:
    """The forward's arguments for several inputs that are alike, one row each, filled up to the longest."""
    longest = max(len(inputs) for inputs in batch)
    rows = [_filled(adapter, inputs, longest).tensors for inputs in batch]
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}


def _filled(adapter: Adapter, inputs: Inputs, length: int) -> Inputs:
    missing = length - len(inputs)
    if not missing:
        return inputs
    answer = inputs.ids[inputs.n_prompt :].tolist()
    return adapter.continued(inputs, [*answer, *[int(inputs.ids[-1])] * missing])


def _spread(shelves: Sequence[_Shelf]) -> tuple[OnState, OnState, OnState]:
    """The hooks of several shelves as one: output, input, vision."""

    def output(block: int, state: Tensor) -> None:
        for shelf in shelves:
            shelf.keep_output(block, state)

    def entering(block: int, state: Tensor) -> None:
        for shelf in shelves:
            shelf.keep_input(block, state)

    def vision(block: int, state: Tensor) -> None:
        for shelf in shelves:
            shelf.keep_vision(block, state)

    return output, entering, vision


def check_positions(positions: int | Iterable[int] | None, length: int) -> tuple[int, ...]:
    """Resolve wanted positions to numbers in ``0..length - 1``, in the order given; None means all.

    Raises:
        SelectionError: a position is outside the sequence, named twice, or none was named.
    """
    if positions is None:
        return tuple(range(length))
    resolved: list[int] = []
    for position in whole_numbers(positions, "position"):
        index = position + length if position < 0 else position
        if not 0 <= index < length:
            raise SelectionError(f"position {position} does not exist: this prompt has 0 to {length - 1}")
        if index in resolved:
            raise SelectionError(f"position {position} was named twice")
        resolved.append(index)
    if not resolved:
        raise SelectionError(
            f"no position was chosen: name some of 0 to {length - 1}, or leave it out for all"
        )
    return tuple(resolved)


class _Shelf:
    """Room for the states of one row of a pass, filled by the hooks; allocated outside inference mode."""

    def __init__(
        self,
        adapter: Adapter,
        layers: tuple[int, ...],
        positions: tuple[int, ...],
        length: int,
        row: tuple[int, int],
    ) -> None:
        self._row, self._rows = row
        self._end = length - 1
        self._n_layers = adapter.n_layers
        self._cross = frozenset(adapter.cross_blocks)
        is_whole = positions == tuple(range(length))
        self._index = slice(0, length) if is_whole else torch.tensor(positions)
        weight = adapter.unembed.weight
        self.resid = weight.new_empty(len(layers), len(positions), adapter.d_model)
        holds_last = self._n_layers in layers
        self.final = self.resid[-1] if holds_last else weight.new_empty(len(positions), adapter.d_model)
        self.last = weight.new_empty(1, adapter.d_model)
        self.vision: Tensor | None = None
        self.ran: set[int] = set()
        self._rooms = {layer: self.resid[slot] for slot, layer in enumerate(layers)}
        self._rooms[self._n_layers] = self.final

    def keep_input(self, block: int, state: Tensor) -> None:
        if not self.ran:
            self._keep(0, state)

    def keep_output(self, block: int, state: Tensor) -> None:
        self.ran.add(block)
        self._keep(block + 1, state)

    def keep_vision(self, _: int, states: Tensor) -> None:
        self.vision = states.flatten(0, -2).unflatten(0, (self._rows, -1))[self._row]

    def _keep(self, layer: int, state: Tensor) -> None:
        own = state[self._row]
        if layer in self._rooms:
            index = self._index if isinstance(self._index, slice) else self._index.to(state.device)
            self._rooms[layer].copy_(own[index])
        if layer == self._n_layers:
            self.last.copy_(own[self._end][None])
        elif layer in self._cross:  # if the block after this layer is skipped, its layer is this state
            self._keep(layer + 1, state)
