"""Put states of another run in the place of a pass's own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.axes import check_layers
from patchlens.capture import Captured
from patchlens.causal.places import Found, Stage, Where
from patchlens.causal.protocol import Edit, Intervention, States, Step, check_states, edits
from patchlens.errors import InterventionError


@dataclass(frozen=True, eq=False)
class Replace(Intervention):
    """Set states at a layer to given ones: ``h <- states``.

    Args:
        states: one row per place of ``at``, in its order, or one row for all; before the final norm.
        at: positions, patches or a group; either positions or, at layer 0, vision states.
        layer: 0 (what enters the first block) to ``n_layers``, negative from the end.
    """

    states: Float[Tensor, "#place d_model"] = field(repr=False)
    at: Where = "patches"
    layer: int = 0

    def steps(self, stage: Stage) -> Iterable[Step]:
        """One edit."""
        found = stage.find(self.at)
        if found.positions and found.states:
            raise InterventionError(
                f"{self.at!r} means positions and vision states here: name one of them to be replaced"
            )
        places = found.positions or found.states
        check_states(self.states, len(places), stage.adapter.d_model, "states to put in")
        layers = check_layers([self.layer], stage.adapter.n_layers)
        return edits(found, layers, put(self.states))


@runtime_checkable
class HasCaptured(Protocol):
    """What holds the states of a run, such as a `Trace`."""

    @property
    def captured(self) -> Captured:
        """The states."""
        ...


@dataclass(frozen=True, eq=False)
class Swap(Intervention):
    """Take the states of some places from another captured run: ``h_l(here) <- h_l(there)``.

    Interchange intervention (Geiger et al. 2021, arXiv 2106.02997) or activation patching (Meng et al. 2022,
    arXiv 2202.05262, section 2.1, where a clean run's states restore a corrupted one). The other run may be
    of another picture or question; places are matched by their index.

    Args:
        source: the other run, a `Trace` or its states; it must hold the layer and the places.
        layer: as in `Replace`.
        at: None takes every position that ``source`` holds, and no vision state.
    """

    source: Captured | HasCaptured = field(repr=False)
    layer: int = 0
    at: Where | None = None

    def steps(self, stage: Stage) -> Iterable[Step]:
        """An edit of positions, of vision states, or of both."""
        found = stage.find(self._captured.positions if self.at is None else self.at)
        (layer,) = check_layers([self.layer], stage.adapter.n_layers)
        made: list[Edit] = []
        if found.states:
            states = self._vision(found.states)
            check_states(states, len(found.states), stage.adapter.d_model, "the other run's vision states")
            made += edits(Found(states=found.states), [layer], put(states))
        if found.positions:
            states = self._resid(layer, found.positions)
            check_states(states, len(found.positions), stage.adapter.d_model, "the other run's states")
            made += edits(Found(positions=found.positions), [layer], put(states))
        return made

    @property
    def _captured(self) -> Captured:
        return self.source if isinstance(self.source, Captured) else self.source.captured

    def _resid(self, layer: int, positions: Sequence[int]) -> Tensor:
        if layer not in self._captured.layers:
            raise InterventionError(f"the other run does not hold layer {layer}: capture it with that layer")
        row = {position: index for index, position in enumerate(self._captured.positions)}
        missing = [position for position in positions if position not in row]
        if missing:
            raise InterventionError(
                f"the other run does not hold position {missing[0]}: capture it, or choose places with ``at``"
            )
        source = self._captured
        return source.resid[source.layers.index(layer), [row[position] for position in positions]]

    def _vision(self, rows: Sequence[int]) -> Tensor:
        states = self._captured.vision
        if states is None or max(rows) >= len(states):
            held = 0 if states is None else len(states)
            raise InterventionError(
                f"the other run holds {held} vision states, but number {max(rows)} is wanted: its picture "
                "must be cut into as many tiles"
            )
        return states[list(rows)]


def put(states: Tensor) -> _Put:
    """The change that sets states to these."""
    return _Put(states)


@dataclass(frozen=True, eq=False)
class _Put:
    states: Tensor

    def __call__(self, old: States, which: Sequence[int]) -> States:
        rows = self.states if len(self.states) == 1 else self.states[torch.as_tensor(which)]
        return rows.to(old).expand_as(old)
