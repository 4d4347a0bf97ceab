"""Whether the parts of a reading agree with one another; asked of every reading that is read or made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchlens.axes import LAYER, POSITION, RANK, TARGET, VISION, PositionKind
from patchlens.errors import FormatError
from patchlens.pictures.grid import Places
from patchlens.reading.reading import Reading
from patchlens.reading.records import Channel

_CELL = (LAYER, POSITION)
ARRAYS: dict[str, tuple[tuple[str, ...], str]] = {
    "top_ids": ((*_CELL, RANK), "int32"),
    "top_logprobs": ((*_CELL, RANK), "float32"),
    "entropy": (_CELL, "float32"),
    "kl_to_final": (_CELL, "float32"),
    "logsumexp": (_CELL, "float32"),
    "target_logprobs": ((*_CELL, TARGET), "float32"),
    "target_ranks": ((*_CELL, TARGET), "int32"),
    "target_ranks_upper": ((*_CELL, TARGET), "int32"),
}


def check(reading: Reading, name: str = "reading") -> None:
    """Check that a reading's parts agree: shapes, dtypes, layer order, ids known, patches placed.

    Raises:
        FormatError: naming the first part that does not fit.
    """
    p = reading.positions
    sizes = {LAYER: len(reading.layers), POSITION: len(p.index), TARGET: len(reading.targets)}
    sizes[RANK] = reading.top_ids.shape[-1] if reading.top_ids.ndim == 3 else -1
    sizes[VISION] = 0 if reading.vision is None else len(reading.vision.kind)
    for key, (axes, dtype) in ARRAYS.items():
        _check_array(f"{name}: {key}", getattr(reading, key), axes, dtype, sizes)
    for channel in reading.channels:
        _check_channel(f"{name}: channel {channel.name}", channel, sizes)
    _check_layers(reading, name)
    _check_places(p, reading, f"{name}: positions")
    if reading.vision is not None:
        _check_places(reading.vision, reading, f"{name}: vision states")
    ids = {t.token for t in reading.targets}.union(np.unique(reading.top_ids).tolist(), reading.answer.ids)
    missing = sorted(ids - reading.pieces.keys())
    if missing:
        raise FormatError(f"{name}: token {missing[0]} has no piece in the token table")


def _check_array(
    label: str, array: NDArray[Any], axes: tuple[str, ...], dtype: str, sizes: Mapping[str, int]
) -> None:
    shape = tuple(sizes[axis] for axis in axes)
    if array.dtype != dtype or array.shape != shape:
        raise FormatError(f"{label} is {array.dtype}{list(array.shape)}, expected {dtype}{list(shape)}")
    if dtype == "float32" and not np.isfinite(array).all():
        raise FormatError(f"{label} holds a value that is not finite")


def _check_channel(label: str, channel: Channel, sizes: Mapping[str, int]) -> None:
    if channel.values.ndim != len(channel.axes):
        raise FormatError(f"{label} has {channel.values.ndim} axes but names {list(channel.axes)}")
    for axis, size in zip(channel.axes, channel.values.shape, strict=True):
        if sizes.get(axis, size) != size:
            raise FormatError(f"{label} has {size} along {axis}, expected {sizes[axis]}")


def _check_layers(reading: Reading, name: str) -> None:
    layers = reading.layers.tolist()
    if not layers or layers != sorted(set(layers)) or layers[0] < 0 or layers[-1] > reading.model.n_layers:
        raise FormatError(f"{name}: layers must rise within 0..{reading.model.n_layers}, found {layers}")


def _check_places(places: Places, reading: Reading, label: str) -> None:
    columns = [getattr(places, field.name) for field in dataclasses.fields(places)]
    if len({len(column) for column in columns}) != 1:
        raise FormatError(f"{label}: the columns differ in length")
    unknown = set(np.unique(places.kind).tolist()) - {kind.value for kind in PositionKind}
    if unknown:
        raise FormatError(f"{label}: unknown kind {sorted(unknown)[0]!r}")
    patch = places.kind == PositionKind.PATCH
    if np.isnan(places.box[patch]).any() or not np.isnan(places.box[~patch]).all():
        raise FormatError(f"{label}: exactly the patches must have a box")
    for image, row, col in zip(places.image[patch], places.row[patch], places.col[patch], strict=True):
        if not 0 <= image < len(reading.pictures):
            raise FormatError(
                f"{label}: a patch names picture {image}, but there are {len(reading.pictures)}"
            )
        grid = reading.pictures[image].grid
        if not (0 <= row < grid.rows and 0 <= col < grid.cols):
            raise FormatError(f"{label}: patch ({row}, {col}) is outside its {grid.rows} x {grid.cols} grid")
