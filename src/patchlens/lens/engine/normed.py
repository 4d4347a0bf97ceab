"""The states that a lens gives for the unembedding, as they come from code of any hand."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from patchlens.errors import LensError


def checked_states(
    name: str, layer: int, given: object, resid_layer: Float[Tensor, "pos d_model"]
) -> Float[Tensor, "pos d_model"]:
    """Return what the lens of a name gave for the states of a layer, if it is states of their shape.

    Raises:
        LensError: it is something else.
    """
    shape = tuple(resid_layer.shape)
    if isinstance(given, Tensor) and tuple(given.shape) == shape and given.is_floating_point():
        return given
    what = type(given).__name__
    if isinstance(given, Tensor):
        what = f"{str(given.dtype).removeprefix('torch.')} {tuple(given.shape)}"
    raise LensError(
        f"the lens {name} returned {what} for the states of layer {layer}: return a float tensor {shape}, "
        "[pos, d_model], one state for the unembedding for each that was given"
    )
