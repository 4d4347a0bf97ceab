"""Run a decoder's blocks again from any layer and position, many rows at once, after one recorded pass.

A block's output at a position depends on what stands at earlier positions only through the keys and values
its attention keeps of them. So once a plain pass is recorded, another that differs from it only from some
layer and some position on needs only those blocks and positions, exactly, and no vision tower.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from patchlens.errors import UnsupportedModelError
from patchlens.models.change import causal

STATE, MASK, CACHE, VISION_STATES = (
    "hidden_states",
    "attention_mask",
    "past_key_values",
    "cross_attention_states",
)
ALONG_POSITIONS = {  # which axis of a block's argument runs over positions
    "position_embeddings": -2,
    "position_ids": -1,
    "cache_position": -1,
    "cross_attention_mask": -2,
    "full_text_row_masked_out_mask": -2,
}
KeysAndValues = tuple[Float[Tensor, "#batch kv_head pos width"], Float[Tensor, "#batch kv_head pos width"]]


class _Stop(Exception):  # noqa: N818  # not an error: the rest of the pass is not wanted
    pass


@runtime_checkable
class Watcher(Protocol):
    """Who changes states between blocks."""

    def edited(self, layer: int | None, states: Tensor) -> Tensor:
        """States ``[batch, pos, d_model]`` of a layer, to go on with."""
        ...

    def moved(self, window: tuple[int, int]) -> None:
        """From now on, states are those of this window."""
        ...


@dataclass(frozen=True)
class Recording:
    """One plain pass: the residual states of every layer, and all that each block that ran was given.

    ``resid`` holds layers 0 to ``n_layers``, before the final norm, each ``[pos, d_model]``; a block that was
    skipped leaves its layer equal to the one before. ``vision`` are the states cross-attention went to.
    """

    blocks: Sequence[nn.Module] = field(repr=False)
    resid: tuple[Float[Tensor, "pos d_model"], ...] = field(repr=False)
    arguments: Mapping[int, dict[str, Any]] = field(repr=False)
    held: Mapping[int, KeysAndValues] = field(repr=False)
    vision: Float[Tensor, "state d_model"] | None = field(repr=False, default=None)

    def rows(self, n: int, *, keep: bool = False) -> Rows:
        """Room to replay ``n`` rows; with ``keep``, a window may be followed by the next one."""
        return Rows(self, n, keep)


class Rows:
    """Rows of one batch on their way through the blocks, with the keys and values of what came before.

    Stands in for a cache of transformers inside an attention, which asks nothing else of it than `update`.
    """

    def __init__(self, recording: Recording, n: int, keep: bool) -> None:
        self._recording = recording
        self._n = n
        self._keep = keep
        self._window = (0, 0)
        self._held: dict[int, tuple[Tensor, Tensor]] = {}
        self._only_held = False
        self._ahead: tuple[Tensor, Tensor] | None = None

    def run(
        self,
        start: int,
        states: Float[Tensor, "batch pos d_model"],
        window: tuple[int, int],
        watcher: Watcher,
        *,
        tail: int,
        vision: Float[Tensor, "batch state d_model"] | None = None,
    ) -> Float[Tensor, "batch tail d_model"]:
        """Run blocks ``start`` and later at the positions of a window (first, end).

        Args:
            start: the first block to run, which is also the layer of ``states``.
            states: at the window's positions, as they enter that block.
            window: positions before it are taken as recorded, or as this object kept them.
            watcher: may change the states of every later layer; is told where the last block's are.
            tail: how many of the window's last positions are wanted.
            vision: what cross-attention goes to; None for what was recorded.

        Returns:
            States of the last layer at those positions, before the final norm.
        """
        self._window = window
        last = max(self._recording.arguments)
        for index in range(start, len(self._recording.blocks)):
            if index == last and tail < states.shape[1]:
                states = self._left_out(index, states, tail, vision)
                watcher.moved(self._window)
            if index in self._recording.arguments:
                states = self._block(index, states, vision)
            states = watcher.edited(index + 1, states)
        return states[:, -tail:]

    def _block(self, index: int, states: Tensor, vision: Tensor | None) -> Tensor:
        given = _windowed(self._recording.arguments[index], *self._window, states.device)
        if index in self._recording.held:
            given[CACHE] = self
        if given.get(VISION_STATES) is not None:
            attended = given[VISION_STATES] if vision is None else vision
            given[VISION_STATES] = attended.expand(self._n, -1, -1)
        output: Any = self._recording.blocks[index](states, **given)
        return output[0] if isinstance(output, tuple) else output

    def _left_out(self, index: int, states: Tensor, tail: int, vision: Tensor | None) -> Tensor:
        """Of positions whose last state nobody wants, the last block only needs keys and values."""
        if index in self._recording.held:
            self._only_held = True
            with suppress(_Stop):
                self._block(index, states, vision)
        self._window = (self._window[1] - tail, self._window[1])
        return states[:, -tail:]

    def update(self, key: Tensor, value: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Keys and values of all positions up to the window's end, ``[batch, kv_head, pos, width]``."""
        if self._ahead is not None:
            joined, self._ahead = self._ahead, None
            return joined
        before = self._held.get(layer_idx)
        if before is None:
            first = self._window[0]
            clean = self._recording.held[layer_idx]
            before = cast(
                "tuple[Tensor, Tensor]",
                tuple(part[..., :first, :].to(key).expand(self._n, -1, -1, -1) for part in clean),
            )
        joined = torch.cat([before[0], key], -2), torch.cat([before[1], value], -2)
        if self._keep:
            self._held[layer_idx] = joined
        if self._only_held:
            self._only_held, self._ahead = False, joined
            raise _Stop
        return joined


class Recorder:
    """What the hooks of a recorded pass keep."""

    def __init__(self, blocks: Sequence[nn.Module], cross: Sequence[int]) -> None:
        self.blocks = blocks
        self.entered: dict[int, Tensor] = {}
        self.arguments: dict[int, dict[str, Any]] = {}
        self.held: dict[int, tuple[Tensor, Tensor]] = {}
        self.last: Tensor | None = None
        self._cross = frozenset(cross)

    def update(self, key: Tensor, value: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Keep what a cache would keep; nothing stands before it."""
        self.held[layer_idx] = (key, value)
        return key, value

    @contextmanager
    def listening(self) -> Generator[None, None, None]:
        """Record every forward inside; the hooks are gone afterwards, whatever happened."""
        handles: list[RemovableHandle] = []
        try:
            for index, block in enumerate(self.blocks):
                handles.append(block.register_forward_pre_hook(self._entering(index), with_kwargs=True))
            handles.append(self.blocks[-1].register_forward_hook(self._leaving))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _entering(self, index: int) -> Callable[..., Any]:
        def hook(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            given = _named(block, args, kwargs)
            state: Tensor = given.pop(STATE)
            self.entered[index] = state[0]
            self.arguments[index] = given
            used = given if index in self._cross else given | {CACHE: self}
            return (state,), used

        return hook

    def _leaving(self, _: nn.Module, __: tuple[Any, ...], output: Tensor | tuple[Any, ...]) -> None:
        self.last = (output[0] if isinstance(output, tuple) else output)[0]

    def recording(self, vision: Float[Tensor, "state d_model"] | None) -> Recording:
        """What was heard, if a window of it can be run again.

        Raises:
            UnsupportedModelError: a block's argument is unknown, or its attention kept no keys and values.
        """
        for index, arguments in self.arguments.items():
            _check_known(index, arguments)
            if index not in self._cross and index not in self.held:
                raise UnsupportedModelError(
                    f"block {index} ({type(self.blocks[index]).__name__}) hands its keys and values to no "
                    "cache, so its passes cannot be replayed"
                )
            if arguments.get(VISION_STATES) is not None and vision is not None:
                arguments[VISION_STATES] = vision[None]
        assert self.last is not None
        resid: list[Tensor] = [self.last]
        for index in range(len(self.blocks) - 1, -1, -1):
            resid.append(self.entered.get(index, resid[-1]))
        return Recording(self.blocks, tuple(resid[::-1]), self.arguments, self.held, vision)


def entering(
    model: nn.Module, block: nn.Module, ids: Int[Tensor, "batch pos"]
) -> Float[Tensor, "batch pos d_model"]:
    """States of layer 0 of these ids as text, pictures left out; nothing after the embedding runs."""
    found: list[Tensor] = []

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found.append(args[0] if args else kwargs[STATE])
        raise _Stop

    handle = block.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        with suppress(_Stop):
            model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    finally:
        handle.remove()
    return found[0]


def _named(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """A block's arguments by name, whichever way they were given."""
    signature = inspect.signature(type(block).forward)
    bound = signature.bind_partial(block, *args, **kwargs).arguments
    rest = next((n for n, p in signature.parameters.items() if p.kind is p.VAR_KEYWORD), "")
    named = {name: value for name, value in bound.items() if name not in ("self", rest)}
    return named | bound.get(rest, {})


def _check_known(index: int, arguments: dict[str, Any]) -> None:
    known = {MASK, VISION_STATES, *ALONG_POSITIONS}
    for name, value in arguments.items():
        parts: Sequence[Any] = value if isinstance(value, tuple | list) else (value,)
        if name not in known and any(isinstance(part, Tensor) for part in parts):
            raise UnsupportedModelError(
                f"block {index} is given {name!r}, which patchlens does not know how to cut by position, so "
                "its passes cannot be replayed"
            )


def _windowed(arguments: dict[str, Any], first: int, end: int, device: torch.device) -> dict[str, Any]:
    """A block's arguments for the positions of a window that attend to all positions before its end."""
    cut = dict(arguments)
    for name, axis in ALONG_POSITIONS.items():
        value = cut.get(name)
        if isinstance(value, tuple):
            cut[name] = tuple(
                part.narrow(axis, first, end - first) for part in cast("tuple[Tensor, ...]", value)
            )
        elif isinstance(value, Tensor):
            cut[name] = value.narrow(axis, first, end - first)
    cut[MASK] = _mask(arguments, first, end, device)
    return cut


def _mask(arguments: dict[str, Any], first: int, end: int, device: torch.device) -> Tensor | None:
    mask: Tensor | None = arguments.get(MASK)
    if mask is not None:
        return mask[..., first:end, :end]
    if first == 0:  # the attention is causal by itself
        return None
    return causal(first, end, device)
