"""Change what a decoder does while it runs: states, vision states and attention masks, by hooks alone."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from patchlens.axes import POSITION
from patchlens.errors import UnsupportedModelError
from patchlens.models.heads import Heads

OnChange = Callable[[Float[Tensor, "batch pos d_model"]], Float[Tensor, "batch pos d_model"]]
Masked = tuple[Shaped[Tensor, "#batch #head query source"], Bool[Tensor, "#batch query"] | None]
OnMask = Callable[[Heads, Tensor, Tensor], Masked]
MASKING = ("eager", "sdpa")


@contextmanager
def changed(
    blocks: Sequence[nn.Module],
    changes: Mapping[int, OnChange],
    source: nn.Module | None = None,
    on_vision: OnChange | None = None,
) -> Generator[None, None, None]:
    """Replace states in every forward inside; the hooks are gone afterwards, whatever happened.

    Args:
        blocks: the decoder's, in order.
        changes: by layer: 0 is changed as it enters the first block, layer ``i`` as it leaves block
            ``i - 1``, so that hooks set later see it changed.
        source: the module that gives vision states.
        on_vision: gets them as a batch of one, ``[1, state, d_model]``.
    """
    handles: list[RemovableHandle] = []
    try:
        for layer, change in changes.items():
            handles.append(
                _on_input(blocks[0], change) if layer == 0 else _on_output(blocks[layer - 1], change)
            )
        if source is not None and on_vision is not None:
            handles.append(_on_output(source, _as_one_row(on_vision)))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def masked(parts: Sequence[Heads], on_mask: OnMask) -> Generator[None, None, None]:
    """Replace the mask of these attentions in every forward inside; afterwards the hooks are gone.

    ``on_mask`` gets the mask a block's attention was given, ``[batch, 1, query, source]`` (bool or added to
    the scores), and the states of the queries. It returns the one to use, and the queries whose heads
    should mix nothing at all: they then write only what the output projection adds by itself.
    """
    handles: list[RemovableHandle] = []
    try:
        for heads in parts:
            handles += _mask_hooks(heads, on_mask)
        yield
    finally:
        for handle in handles:
            handle.remove()


def _mask_hooks(heads: Heads, on_mask: OnMask) -> list[RemovableHandle]:
    empty: list[Tensor] = []

    def on_attention(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        states = args[0] if args else kwargs["hidden_states"]
        new, dead = on_mask(heads, _explicit(heads, kwargs, states), states)
        empty.clear()
        if dead is not None:
            empty.append(dead)
        return args, kwargs | {"attention_mask": new}

    def on_mixed(_: nn.Module, args: tuple[Any, ...]) -> Any:
        if not empty:
            return None
        return args[0].masked_fill(empty[0][..., None], 0.0), *args[1:]

    return [
        heads.attention.register_forward_pre_hook(on_attention, with_kwargs=True),
        heads.output.register_forward_pre_hook(on_mixed),
    ]


def _explicit(heads: Heads, kwargs: dict[str, Any], states: Tensor) -> Tensor:
    """The mask an attention is given, also where it knows without one that it is causal."""
    mask = kwargs.get("attention_mask")
    if mask is None and "attention_mask" in kwargs and heads.over == POSITION:
        return causal(0, states.shape[1], states.device)
    if mask is None or mask.ndim != 4:
        raise UnsupportedModelError(
            f"block {heads.block} ({type(heads.attention).__name__}) is not given its attention mask "
            "as [batch, 1, query, source], so nothing can be masked in it"
        )
    return mask


def causal(first: int, end: int, device: torch.device) -> Tensor:
    """Whether each position of a window may attend to each up to its end: ``[1, 1, query, source]``."""
    queries = torch.arange(first, end, device=device)
    return (queries[:, None] >= torch.arange(end, device=device))[None, None]


def _on_input(block: nn.Module, change: OnChange) -> RemovableHandle:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            return (change(args[0]), *args[1:]), kwargs
        return args, kwargs | {"hidden_states": change(kwargs["hidden_states"])}

    return block.register_forward_pre_hook(hook, with_kwargs=True)


def _on_output(block: nn.Module, change: OnChange) -> RemovableHandle:
    def hook(_: nn.Module, __: tuple[Any, ...], output: Tensor | tuple[Any, ...]) -> Any:
        if isinstance(output, tuple):
            return change(output[0]), *output[1:]
        return change(output)

    return block.register_forward_hook(hook)


def _as_one_row(change: OnChange) -> OnChange:
    """For states that a vision tower lays out by picture and tile."""

    def hook(states: Tensor) -> Tensor:
        return change(states.flatten(0, -2)[None]).reshape(states.shape)

    return hook
