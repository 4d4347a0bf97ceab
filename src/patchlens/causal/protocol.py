"""What an intervention is: a frozen value that, for one model and prompt, comes to edits and cuts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from patchlens.causal.places import Found, Stage
from patchlens.errors import InterventionError

States = Float[Tensor, "place d_model"]


@dataclass(frozen=True, eq=False)
class Edit:
    """Change some states of one layer, each by itself.

    ``layer`` is None for the vision states that cross-attention goes to. ``change`` gets the states of some
    of the places ``at``, and which of them these are; it returns the new ones.
    """

    layer: int | None
    at: tuple[int, ...]
    change: Callable[[States, Sequence[int]], States]


@dataclass(frozen=True)
class Cut:
    """Forbid attention from positions to sources in some blocks (0-based).

    ``over`` is ``pos`` for attention within the sequence, ``vision`` for that to vision states. Every query
    is cut from every source or, if ``paired``, each from the source at the same place.
    """

    blocks: frozenset[int]
    over: str
    queries: tuple[int, ...]
    sources: tuple[int, ...]
    paired: bool = False


Step = Edit | Cut


class Intervention:
    """Something done to a pass; interventions add up with ``+``.

    States are edited in the order of the layers, and at one layer in the order in which interventions were
    added; cuts of attention hold together, in any order.
    """

    def steps(self, stage: Stage) -> Iterable[Step]:
        """What it comes to for one model and prompt.

        Raises:
            SelectionError: a layer, block, patch or position does not exist there.
            InterventionError: states of another shape.
        """
        raise NotImplementedError

    def __add__(self, other: Intervention) -> Together:
        return Together((self, other))


@dataclass(frozen=True)
class Together(Intervention):
    """Interventions one after another; none of them leaves the model to itself."""

    parts: tuple[Intervention, ...] = ()

    def steps(self, stage: Stage) -> Iterable[Step]:
        """Those of the parts, in order."""
        for part in self.parts:
            yield from part.steps(stage)


Interventions = Intervention | Sequence[Intervention]
"""One intervention, or several to be done together; ``()`` is none."""


def together(interventions: Interventions) -> Intervention:
    """Make one of several."""
    return interventions if isinstance(interventions, Intervention) else Together(tuple(interventions))


def edits(
    found: Found, layers: Sequence[int], change: Callable[[States, Sequence[int]], States]
) -> list[Edit]:
    """The same change at the positions found, layer by layer, and of the vision states found.

    Raises:
        InterventionError: vision states were found, which stand before all layers, at another layer than 0.
    """
    if found.states and tuple(layers) != (0,):
        raise InterventionError(
            "this model attends to its patches from the text: their states have no layers, so change them at "
            "layer 0, or change positions of the text"
        )
    made = [Edit(None, found.states, change)] if found.states else []
    return made + [Edit(layer, found.positions, change) for layer in layers if found.positions]


def check_states(states: Tensor, n: int, d_model: int, what: str) -> None:
    """Refuse states that are not ``[n, d_model]`` (or ``[1, d_model]``, for all alike).

    Raises:
        InterventionError: saying both shapes.
    """
    if states.ndim != 2 or states.shape[1] != d_model or states.shape[0] not in (1, n):
        raise InterventionError(
            f"{what}: expected states of shape [{n}, {d_model}] or [1, {d_model}], got {list(states.shape)}"
        )
