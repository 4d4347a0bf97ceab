"""A lens of one's own, from a function."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.errors import LensError
from patchlens.lens.engine.normed import checked_states
from patchlens.lens.lens import JSON, Lens, check_name
from patchlens.lens.open import FITTED, UNFITTED
from patchlens.models.unembed import Unembed


class FunctionLens(Lens):
    """A lens made of a function: final-normed states in, states for the unembedding out.

    Args:
        function: takes states ``[pos, d_model]`` of one layer, the final norm applied, and the layer's number
            as ``layer`` if it has such a parameter or a second one without default. Returns as many states
            of the same width, which are multiplied by the unembedding as they are. Positions stand alone: it
            gets any of them in any grouping, and must not mix them.
        name: short name for readings; those of patchlens's own lenses are taken.
        params: what changes the result, as JSON values, for the manifest of a reading.

    Raises:
        LensError: no name, one that is taken, or parameters that are no JSON values.
    """

    def __init__(
        self, function: Callable[..., Any], name: str = "", params: Mapping[str, object] | None = None
    ) -> None:
        if not callable(function):
            raise LensError(f"a FunctionLens takes a function of states, and {function!r:.40} is none")
        self.function, self.name = function, name
        check_name(self)
        if name in UNFITTED or name in FITTED:
            raise LensError(f"the name {name!r} is taken by a lens of patchlens: give yours another")
        self._params = json_values(name, params or {})
        self._call = _with_layer(function)

    def __repr__(self) -> str:
        called = getattr(self.function, "__name__", type(self.function).__name__)
        return f"FunctionLens({called}, name={self.name!r})"

    def params(self) -> Mapping[str, JSON]:
        """What was given."""
        return self._params

    def normed(
        self, resid_layer: Float[Tensor, "pos d_model"], layer: int, unembed: Unembed
    ) -> Float[Tensor, "pos d_model"]:
        """Return what the function makes of the final-normed states, in the model's dtype.

        Raises:
            LensError: it returns no states, some of another shape, or some that are not finite.
        """
        states = unembed.norm(resid_layer)
        finite = bool(torch.isfinite(states).all())
        given = checked_states(self.name, layer, self._call(states, layer), states)
        if finite and not torch.isfinite(given).all():
            raise LensError(
                f"the lens {self.name} returned values that are not finite at layer {layer}: return finite "
                "states for finite states"
            )
        return given.detach().to(states)


def json_values(name: str, params: Mapping[str, object]) -> dict[str, JSON]:
    """Check that parameters are what a reading's manifest can hold.

    Raises:
        LensError: one is no text, number, truth value or None, or a number that is not finite.
    """
    values: dict[str, JSON] = {}
    for key, value in params.items():
        if not isinstance(value, JSON) or (isinstance(value, float) and not math.isfinite(value)):
            raise LensError(
                f"the parameter {key!r} of the lens {name} is {value!r:.40}: give a text, a finite number, "
                "True, False or None"
            )
        values[key] = value
    return values


def _with_layer(function: Callable[..., Any]) -> Callable[[Tensor, int], Any]:
    """The function as one of states and layer, whether or not it asks for the layer."""
    try:
        called = function.forward if isinstance(function, torch.nn.Module) else function
        parameters = list(inspect.signature(called).parameters.values())
    except ValueError:  # built in: torch.tanh, say
        parameters = []
    if any(own.name == "layer" for own in parameters[1:]):
        return lambda states, layer: function(states, layer=layer)
    second = parameters[1:2]
    required = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    if any(own.kind in required and own.default is Parameter.empty for own in second):
        return function
    return lambda states, layer: function(states)
