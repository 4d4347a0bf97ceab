"""A reading as a pandas table or an xarray dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from patchlens.axes import LAYER, POSITION, RANK, TARGET
from patchlens.errors import MissingExtraError

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from patchlens.reading.reading import Reading


def to_pandas(reading: Reading) -> pd.DataFrame:
    """One row per layer, position and rank; positions' facts repeated on each row.

    Raises:
        MissingExtraError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingExtraError("to_pandas", "pandas", "pandas") from error
    n_layers, n_positions, k = reading.top_ids.shape
    p = reading.positions

    def per_layer(values: np.ndarray) -> np.ndarray:
        return np.repeat(values, n_positions * k)

    def per_position(values: np.ndarray) -> np.ndarray:
        return np.tile(np.repeat(values, k), n_layers)

    def per_cell(values: np.ndarray) -> np.ndarray:
        return np.repeat(values.reshape(-1), k)

    ids = reading.top_ids.reshape(-1)
    columns: dict[str, object] = {LAYER: per_layer(reading.layers), "position": per_position(p.index)}
    for name in ("kind", "image", "tile", "row", "col", "step", "generated"):
        columns[name] = per_position(getattr(p, name))
    columns |= {
        "rank": np.tile(np.arange(k), n_layers * n_positions),
        "token": ids,
        "piece": [reading.pieces[int(i)] for i in ids],
        "logprob": reading.top_logprobs.reshape(-1),
        "entropy": per_cell(reading.entropy),
        "kl_to_final": per_cell(reading.kl_to_final),
    }
    return pd.DataFrame(columns)


def to_xarray(reading: Reading) -> xr.Dataset:
    """All statistics with their axes named; layers and positions are coordinates.

    Raises:
        MissingExtraError: xarray is not installed.
    """
    try:
        import xarray as xr
    except ImportError as error:
        raise MissingExtraError("to_xarray", "xarray", "xarray") from error
    p = reading.positions
    cell = (LAYER, POSITION)
    variables = {
        "top_ids": ((*cell, RANK), reading.top_ids),
        "top_logprobs": ((*cell, RANK), reading.top_logprobs),
        "entropy": (cell, reading.entropy),
        "kl_to_final": (cell, reading.kl_to_final),
        "logsumexp": (cell, reading.logsumexp),
        "target_logprobs": ((*cell, TARGET), reading.target_logprobs),
        "target_ranks": ((*cell, TARGET), reading.target_ranks),
        **{channel.name: (channel.axes, channel.values) for channel in reading.channels},
    }
    coordinates = {
        LAYER: reading.layers,
        POSITION: p.index,
        TARGET: [t.word for t in reading.targets],
        **{name: (POSITION, getattr(p, name)) for name in ("kind", "image", "tile", "row", "col", "step")},
    }
    attributes = {"model": reading.model.name, "lens": reading.lens, "prompt": reading.prompt}
    return xr.Dataset(variables, coordinates, attributes)
