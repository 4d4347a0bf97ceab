"""Interventions resolved for one prompt, and how a batch of them changes states and masks."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from patchlens.axes import POSITION
from patchlens.causal.places import Stage
from patchlens.causal.protocol import Cut, Edit, Interventions, together
from patchlens.errors import InterventionError
from patchlens.models.adapter import Adapter, Heads
from patchlens.models.inputs import Inputs


@dataclass(frozen=True)
class Plan:
    """What one intervention does to one prompt of ``n_positions``; ``blocks`` are those that run.

    ``start`` is the first position, and the first layer, at which a pass may differ from a plain one: that of
    the first edit, or that which enters the first block whose attention differs.
    """

    edits: tuple[Edit, ...]
    cuts: tuple[Cut, ...]
    n_positions: int
    blocks: tuple[int, ...]
    start: tuple[int, int]

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers at which positions are edited."""
        return tuple(sorted({edit.layer for edit in self.edits if edit.layer is not None}))

    @property
    def edits_vision(self) -> bool:
        """Whether vision states are edited."""
        return any(edit.layer is None for edit in self.edits)


def resolve(adapter: Adapter, inputs: Inputs, interventions: Interventions) -> Plan:
    """Find an intervention's places in a prompt.

    Raises:
        SelectionError: a layer, block, patch or position does not exist.
        InterventionError: states do not fit.
    """
    steps = list(together(interventions).steps(Stage(adapter, inputs)))
    running = adapter.running(inputs)
    kept = [_felt(step, running) for step in steps if isinstance(step, Cut)]
    made = tuple(step for step in steps if isinstance(step, Edit))
    cuts = tuple(cut for cut in kept if cut.blocks and cut.queries)
    return Plan(made, cuts, len(inputs), running, _start(adapter, made, cuts, len(inputs)))


def _felt(cut: Cut, running: Sequence[int]) -> Cut:
    """A cut without blocks that do not run, and without queries that come before all of their sources."""
    if cut.paired:
        pairs = [
            (q, s) for q, s in zip(cut.queries, cut.sources, strict=True) if cut.over != POSITION or s <= q
        ]
        queries, sources = (tuple(pair[end] for pair in pairs) for end in (0, 1))
        return replace(cut, blocks=cut.blocks & set(running), queries=queries, sources=sources)
    first = min(cut.sources) if cut.over == POSITION else 0
    queries = tuple(query for query in cut.queries if query >= first)
    return replace(cut, blocks=cut.blocks & set(running), queries=queries)


def _start(adapter: Adapter, edits: Sequence[Edit], cuts: Sequence[Cut], n_positions: int) -> tuple[int, int]:
    positions, layers = [n_positions], [adapter.n_layers]
    for edit in edits:
        positions.append(0 if edit.layer is None else min(edit.at))
        layers.append(adapter.cross_blocks[0] if edit.layer is None else edit.layer)
    for cut in cuts:
        positions.append(min(cut.queries))
        layers.append(min(cut.blocks))
    return min(positions), min(layers)


class Batch:
    """Plans of the rows of a batch, or one plan for all of them, at work on a window of positions.

    ``window`` is (first, end); a mask's sources are all positions up to the end, or all vision states.
    """

    def __init__(self, plans: Sequence[Plan], window: tuple[int, int]) -> None:
        self.plans = plans
        self.window = window
        self._cut: tuple[object, Tensor] | None = None

    @property
    def masked_blocks(self) -> tuple[int, ...]:
        """Blocks in which some row's attention is cut."""
        return tuple(sorted({block for plan in self.plans for cut in plan.cuts for block in cut.blocks}))

    def moved(self, window: tuple[int, int]) -> None:
        """Go on with another window."""
        self.window, self._cut = window, None

    def edited(
        self, layer: int | None, states: Float[Tensor, "row place d_model"]
    ) -> Float[Tensor, "row place d_model"]:
        """States [row, place, d_model] of the window after a layer's edits; None for all vision states."""
        if not any(edit.layer == layer for plan in self.plans for edit in plan.edits):
            return states
        first, end = self.window if layer is not None else (0, states.shape[1])
        states = states.clone(memory_format=torch.contiguous_format)
        for row in range(len(states)):
            for edit in self._plan(row).edits:
                which = [i for i, place in enumerate(edit.at) if first <= place < end]
                if edit.layer == layer and which:
                    at = torch.tensor([edit.at[i] - first for i in which], device=states.device)
                    states[row, at] = edit.change(states[row, at], which)
        return states

    def mask(
        self,
        heads: Heads,
        mask: Shaped[Tensor, "#row #head query source"],
        states: Float[Tensor, "row query d_model"],
    ) -> tuple[Shaped[Tensor, "#row #head query source"], Bool[Tensor, "#row query"] | None]:
        """The mask to use in a block, and the queries with nothing left, if there are any.

        Raises:
            InterventionError: the pass is not over the window's positions.
        """
        first, end = self.window
        _check_length(states, end - first)
        cut = self._cuts(heads, mask.shape[-1], states.device)
        if mask.dtype == torch.bool:
            allowed = mask & ~cut
            left = allowed
        else:
            least = torch.finfo(mask.dtype).min
            allowed = mask.masked_fill(cut, least)
            left = allowed > least
        dead = cut.any(-1) & ~left.any(-1)
        if not dead.any():
            return allowed, None
        shown = torch.ones_like(allowed) if mask.dtype == torch.bool else torch.zeros_like(allowed)
        return torch.where(dead[..., None], shown, allowed), dead[:, 0]

    def _cuts(self, heads: Heads, n_sources: int, device: torch.device) -> Bool[Tensor, "row 1 query source"]:
        """Whether each pair is cut, [row, 1, query, source]; kept, as blocks mostly cut the same."""
        active = [
            [cut for cut in plan.cuts if heads.block in cut.blocks and cut.over == heads.over]
            for plan in self.plans
        ]
        key = tuple(tuple(id(cut) for cut in cuts) for cuts in active), n_sources
        if self._cut is not None and self._cut[0] == key:
            return self._cut[1]
        first, end = self.window
        made = torch.zeros(len(active), 1, end - first, n_sources, dtype=torch.bool)
        for row, cuts in enumerate(active):
            for cut in cuts:
                if cut.paired:
                    pairs = torch.tensor([cut.queries, cut.sources]).T - torch.tensor([first, 0])
                    pairs = pairs[
                        (pairs[:, 0] >= 0) & (pairs[:, 0] < end - first) & (pairs[:, 1] < n_sources)
                    ]
                    made[row, 0, pairs[:, 0], pairs[:, 1]] = True
                    continue
                queries = torch.tensor([query - first for query in cut.queries if first <= query < end])
                sources = torch.tensor([source for source in cut.sources if source < n_sources])
                if len(queries) and len(sources):
                    made[row, 0, queries[:, None], sources[None]] = True
        self._cut = key, made.to(device)
        return self._cut[1]

    def _plan(self, row: int) -> Plan:
        return self.plans[0 if len(self.plans) == 1 else row]


@contextmanager
def intervening(
    adapter: Adapter, inputs: Inputs, interventions: Interventions
) -> Generator[None, None, None]:
    """Do interventions to every pass of the model over these inputs inside.

    They work by hooks, so that `patchlens.capture.capture` or the model itself may be called inside; states
    captured at a layer are those after its edits. Weights are never touched, and hooks are gone afterwards,
    whatever happened. Nesting adds up, outer edits first. Where positions are edited or attention is cut,
    passes of another length are refused, so also the model's own ``generate``, which runs one position at a
    time: see `patchlens.causal.Rerun.answers`.

    Args:
        adapter: the model.
        inputs: the prompt in which places are found; every row of a batch is treated alike.
        interventions: one or several; ``()`` sets no hook at all.

    Raises:
        SelectionError: a layer, block, patch or position does not exist.
        InterventionError: states do not fit, or a pass has another number of positions than the inputs.
        UnsupportedModelError: the model's attention cannot be masked as asked.
    """
    plan = resolve(adapter, inputs, interventions)
    batch = Batch([plan], (0, len(inputs)))
    with (
        adapter.changing(_by_home(plan, batch), partial(batch.edited, None) if plan.edits_vision else None),
        adapter.masking(batch.masked_blocks, batch.mask),
    ):
        yield


def _by_home(plan: Plan, batch: Batch) -> dict[int, Callable[[Tensor], Tensor]]:
    """Edits by the layer at which they can be made: that of a skipped block is the layer before it."""
    homes: dict[int, list[int]] = {}
    for layer in plan.layers:
        home = max((block + 1 for block in plan.blocks if block < layer), default=0)
        homes.setdefault(home, []).append(layer)
    return {home: partial(_in_order, batch, layers) for home, layers in homes.items()}


def _in_order(batch: Batch, layers: Sequence[int], states: Tensor) -> Tensor:
    _check_length(states, batch.window[1])
    for layer in layers:
        states = batch.edited(layer, states)
    return states


def _check_length(states: Tensor, expected: int) -> None:
    if states.shape[1] != expected:
        raise InterventionError(
            f"an intervention was made for {expected} positions, but a pass has {states.shape[1]}: run the "
            "model on the same inputs, without its cache"
        )
