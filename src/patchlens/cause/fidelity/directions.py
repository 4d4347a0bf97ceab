"""Directions of the residual stream to take out, and the mean that is left in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.cause.settings import Basis, Place
from patchlens.data.item import Item
from patchlens.errors import DataError
from patchlens.lens import Lens
from patchlens.models.unembed import Unembed
from patchlens.progress import Progress
from patchlens.run import Model

PLACES: Final[dict[Place, str | int]] = {"last": -1, "patches": "patches"}
"""Positions of the prompt whose states are changed: the one that predicts the answer's first token, or all
patches."""
_MOST_STATES: Final = 4096
_DRAWS: Final = 1024
_STEPS: Final = 60
_SPREAD: Final = 1e-5
"""Least spread along a direction, as a part of the widest, for there to be something to take out."""

States = Float[Tensor, "state d_model"]


@dataclass(frozen=True)
class Axes:
    """Orthonormal ``directions`` of one layer, and the ``mean`` of its states in the reference set."""

    mean: Float[Tensor, " d_model"] = field(repr=False)
    directions: Float[Tensor, "direction d_model"] = field(repr=False)

    def ablated(self, states: Float[Tensor, "place d_model"]) -> Float[Tensor, "direction place d_model"]:
        """States with one direction after another set to its mean: ``h - v v^T (h - mean)``."""
        along = (states - self.mean) @ self.directions.T
        return states - along.T[..., None] * self.directions[:, None]

    def sizes(self, states: Float[Tensor, "place d_model"]) -> Float[Tensor, " direction"]:
        """How far that moves the states: ``|v^T (h - mean)|``, the mean over places."""
        return ((states - self.mean) @ self.directions.T).abs().mean(0)


def reference_states(
    model: Model, cases: Sequence[Item], layers: Sequence[int], at: Place, tell: Progress
) -> dict[int, States]:
    """States of some layers in pictures kept for that, before the final norm, in float32 on the CPU.

    Of patches an even part of all is kept, `_MOST_STATES` at most.

    Raises:
        DataError: fewer than two states, which have no direction in which they differ.
    """
    per_case = max(1, _MOST_STATES // max(1, len(cases)))
    asked = ((case.open(), case.prompt) for case in cases)
    traces = model.trace_many(asked, max_new_tokens=0, layers=layers, positions=PLACES[at])
    found: list[Tensor] = []
    for number, trace in enumerate(traces):
        tell("reference", number, len(cases))
        step = -(-trace.resid.shape[1] // per_case)
        found.append(trace.resid[:, ::step].float().cpu())
    tell("reference", len(cases), len(cases))
    together = torch.cat(found, 1) if found else torch.empty(len(layers), 0, model.d_model)
    if together.shape[1] < 2:
        raise DataError("directions are taken from how states differ: give two pictures or more as reference")
    return dict(zip(layers, together, strict=True))


def principal_axes(states: States, count: int) -> Axes:
    """The directions in which states differ most (eigenvectors of their covariance), widest first.

    Args:
        states: of one layer.
        count: how many; fewer if the states do not differ in more.
    """
    mean = states.mean(0)
    spread, rows = torch.linalg.svd(states - mean, full_matrices=False)[1:]
    return Axes(mean, rows[spread > _SPREAD * spread.amax()][:count])


def lens_axes(states: States, count: int, lens: Lens, layer: int, unembed: Unembed, seed: int) -> Axes:
    """Directions along which taking out changes most what a lens says, one after another.

    The causal basis of Belrose et al. 2023 (arXiv 2303.08112, section 4) to second order: each direction
    maximises ``(v^T C v)(v^T F v)`` orthogonally to those before it, with C the covariance of the states and
    F the mean Fisher information of the lens's distribution about the state. The product stands in for the
    mean KL that the paper climbs by L-BFGS, and F is estimated from sampled tokens.

    Args:
        states: of one layer.
        count: how many, at most as many as the states differ in.
        lens: gives a distribution.
        layer: of the states.
        unembed: the model's.
        seed: of the sampled tokens.
    """
    principal = principal_axes(states, count)
    centred = states - principal.mean
    covariance = centred.T @ centred / len(states)
    fisher = _fisher(states, lens, layer, unembed, seed)
    covariance, fisher = covariance / covariance.trace(), fisher / fisher.trace()
    found = states.new_empty(0, states.shape[1])
    for _ in range(len(principal.directions)):
        free = torch.eye(states.shape[1]) - found.T @ found
        spread, felt = free @ covariance @ free, free @ fisher @ free
        v = torch.linalg.eigh(spread + felt)[1][:, -1]
        for _ in range(_STEPS):
            v = torch.nn.functional.normalize(
                (v @ felt @ v) * (spread @ v) + (v @ spread @ v) * (felt @ v), dim=0
            )
        found = torch.cat([found, v[None]])
    return Axes(principal.mean, found)


def _fisher(
    states: States, lens: Lens, layer: int, unembed: Unembed, seed: int
) -> Float[Tensor, "d_model d_model"]:
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(states), (_DRAWS,), generator=generator)
    total = torch.zeros(states.shape[1], states.shape[1])
    with torch.enable_grad():
        for part in chosen.split(64):
            resid = states[part].to(unembed.weight.device).requires_grad_()
            said = unembed.next_log_probs(lens.normed(resid, layer, unembed))
            tokens = torch.multinomial(said.detach().exp().cpu(), 1, generator=generator).to(said.device)
            (slope,) = torch.autograd.grad(said.gather(1, tokens).sum(), resid)
            slope = slope.float().cpu()
            total += slope.T @ slope / _DRAWS
    return total


def axes_by_lens(
    basis: Basis,
    count: int,
    states: Mapping[int, States],
    lenses: Mapping[str, Lens],
    unembed: Unembed,
    seed: int,
) -> dict[str, dict[int, Axes]]:
    """The directions to take out for each lens at each layer.

    They are `lens_axes`, or `principal_axes`: then all lenses share the same objects.
    """
    if basis == "principal":
        shared = {layer: principal_axes(own, count) for layer, own in states.items()}
        return dict.fromkeys(lenses, shared)
    return {
        name: {layer: lens_axes(own, count, lens, layer, unembed, seed) for layer, own in states.items()}
        for name, lens in lenses.items()
    }
