"""Where the sources of attention stand on the axes of a reading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from patchlens.axes import POSITION, VISION
from patchlens.reading.reading import Reading


def source_axis(reading: Reading, n_states: int | None) -> tuple[str, NDArray[np.integer[Any]]]:
    """The axis of a reading along which sources lie, and which of them stands at each place, -1 for none.

    Args:
        reading: through any lens; the cross lens lays the vision states before the text.
        n_states: how many vision states there are, or None where patches are positions.
    """
    if n_states is None:
        return POSITION, reading.positions.index
    if reading.vision is not None:
        return VISION, np.arange(n_states)
    index = reading.positions.index
    return POSITION, np.where(index < n_states, index, -1)


def placed(
    reading: Reading, by_layer: Mapping[int, Tensor], sources: NDArray[np.integer[Any]]
) -> NDArray[np.float32]:
    """Lay ``[.., source]`` of some layers out as ``[layer, .., place]``, NaN where there is none."""
    inner = next(iter(by_layer.values())).shape[:-1]
    out = np.full((len(reading.layers), *inner, len(sources)), np.nan, np.float32)
    held = sources >= 0
    for layer, own in by_layer.items():
        if layer in reading.layers:
            out[reading.layer_row(layer)][..., held] = own.float().cpu().numpy()[..., sources[held]]
    return out
