"""Move states along directions: take a concept out, or put it in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.attention.direction import linearised
from patchlens.axes import check_layers
from patchlens.causal.places import Stage, Where
from patchlens.causal.protocol import Intervention, States, Step, edits
from patchlens.errors import InterventionError, TargetError
from patchlens.models.adapter import Adapter
from patchlens.models.tokens import find_target


@dataclass(frozen=True, eq=False)
class Project(Intervention):
    """Take the span of some directions out of states: ``h <- h - B^T B h`` with B an orthonormal basis of it.

    Args:
        directions: one or more, of any length, such as `concept_directions`; or a word, or several: the
            directions of the token that stands for each.
        at: positions, patches or a group.
        layers: one or more, 0 to ``n_layers``, negative from the end; at each, what later blocks write anew
            is taken out only if that layer is named too.
    """

    directions: Float[Tensor, "direction d_model"] | str | Sequence[str] = field(repr=False)
    at: Where = "patches"
    layers: Sequence[int] | int = 0

    def steps(self, stage: Stage) -> Iterable[Step]:
        """One edit per layer."""
        directions = _directions(self.directions, stage.adapter)
        _check(directions, stage.adapter.d_model)
        basis = _basis(directions)

        def change(states: States, _: Sequence[int]) -> States:
            exact = states.to(basis.dtype)
            there = basis.to(states.device)
            return (exact - (exact @ there.T) @ there).to(states)

        return edits(stage.find(self.at), _layers(self.layers, stage.adapter), change)


@dataclass(frozen=True, eq=False)
class Add(Intervention):
    """Add a vector to states: ``h <- h + strength * direction``.

    Args:
        direction: ``[1, d_model]`` or one row per place; its length counts. Or a word: the unit direction of
            the token that stands for it.
        strength: a factor; negative takes away.
        at: positions, patches or a group; either positions or vision states.
        layers: as in `Project`.
    """

    direction: Float[Tensor, "#place d_model"] | str = field(repr=False)
    strength: float = 1.0
    at: Where = "patches"
    layers: Sequence[int] | int = 0

    def steps(self, stage: Stage) -> Iterable[Step]:
        """One edit per layer."""
        direction = _directions(self.direction, stage.adapter)
        _check(direction, stage.adapter.d_model)
        found = stage.find(self.at)
        for places in (found.positions, found.states):
            if places and len(direction) not in (1, len(places)):
                raise InterventionError(
                    f"expected 1 vector to add, or {len(places)}, one per place; got {len(direction)}"
                )

        def change(states: States, which: Sequence[int]) -> States:
            rows = direction if len(direction) == 1 else direction[torch.as_tensor(which)]
            return states + self.strength * rows.to(states)

        return edits(found, _layers(self.layers, stage.adapter), change)


def _directions(given: Tensor | str | Sequence[str], adapter: Adapter) -> Tensor:
    if isinstance(given, Tensor):
        return given
    words = [given] if isinstance(given, str) else given
    return concept_directions(adapter, [find_target(adapter.tokenizer, word).token for word in words])


def concept_directions(adapter: Adapter, token_ids: Sequence[int]) -> Float[Tensor, "token d_model"]:
    """Unit directions of the residual stream that raise the logits of some tokens.

    With the final norm's scale held fixed that is ``gamma * W_U[w]``, less its mean where the norm takes the
    mean off (see `patchlens.attention.linearised`). Their span is what `Project` takes out of a state so that
    the last layer's readout of these tokens loses what the state told of them.

    Raises:
        TargetError: a token does not exist, or none was given.
    """
    vocab = adapter.unembed.vocab
    if not token_ids or not all(0 <= token < vocab for token in token_ids):
        raise TargetError(f"name one or more token ids from 0 to {vocab - 1}, got {list(token_ids)}")
    weight = adapter.unembed.weight
    probe = torch.linspace(-1, 1, adapter.d_model, dtype=weight.dtype, device=weight.device)[None]
    found = linearised(adapter.unembed, probe, torch.tensor(list(token_ids)))[0]
    return torch.nn.functional.normalize(found, dim=-1)


def _layers(layers: Sequence[int] | int, adapter: Adapter) -> tuple[int, ...]:
    return check_layers([layers] if isinstance(layers, int) else layers, adapter.n_layers)


def _check(directions: Tensor, d_model: int) -> None:
    if directions.ndim != 2 or directions.shape[1] != d_model or not len(directions):
        raise InterventionError(
            f"expected directions of shape [directions, {d_model}], got {list(directions.shape)}"
        )
    if not torch.isfinite(directions).all():
        raise InterventionError("a direction is not finite")


def _basis(directions: Tensor) -> Float[Tensor, "direction d_model"]:
    """Orthonormal rows of the span, directions that depend on the others left out."""
    exact = torch.float64 if directions.dtype == torch.float64 else torch.float32
    _, scale, rows = torch.linalg.svd(directions.detach().to(exact), full_matrices=False)
    kept = scale > scale.amax() * max(directions.shape) * torch.finfo(exact).eps
    if not scale.amax() > 0:
        raise InterventionError("a direction to take out is zero: there is nothing to project on")
    return rows[kept]
