"""The axis vocabulary and the layer convention, said once.

Layer 0 is the embeddings with image features merged in, layer ``i`` the output of decoder block ``i``
(blocks counted from 1), ``n_layers`` the output of the last block, always before the final norm.
All entropies, divergences and log-probabilities are in nats.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, Literal

from patchlens.errors import SelectionError

LAYER: Final = "layer"
POSITION: Final = "pos"
RANK: Final = "k"
TARGET: Final = "target"
VISION: Final = "vision"

AXES: Final = (LAYER, POSITION, RANK, TARGET, VISION)


class PositionKind(StrEnum):
    """What stands at a position of the decoder's sequence (or of a cross-attention model's vision states)."""

    TEXT = "text"
    PATCH = "patch"
    IMAGE_OTHER = "image_other"
    SPECIAL = "special"


CLASSES: Final = (
    PositionKind.PATCH.value,
    PositionKind.IMAGE_OTHER.value,
    PositionKind.TEXT.value,
    PositionKind.SPECIAL.value,
    "sink",
)
"""What attention can fall on; every source is of one class: its kind, unless it is a sink."""

FitKind = Literal["text", "patch", "answer"]
"""Kinds of position that a lens may be fitted apart for; "answer" predicts a token of the answer."""

FIT_KINDS: Final[tuple[FitKind, ...]] = ("text", "patch", "answer")


def fit_kind(kind: str, step: int) -> FitKind:
    """What a position counts as for a fitted lens: its answer step first, then whether it is a patch."""
    if step >= 0:
        return "answer"
    return "patch" if kind == PositionKind.PATCH else "text"


def layer_name(layer: int, n_layers: int) -> str:
    """Label a layer for people: layer 0 is called embeddings, the last one says so."""
    if layer == 0:
        return "0 (embeddings)"
    return f"{layer} (last)" if layer == n_layers else str(layer)


def whole_number(value: object, what: str) -> int:
    """A number of something, as an int or of NumPy.

    Raises:
        SelectionError: it is none.
    """
    try:
        if not isinstance(value, bool):
            return operator.index(value)  # pyright: ignore[reportArgumentType]
    except TypeError:
        pass
    raise SelectionError(f"{what} {value!r:.60} is no whole number: write one such as {what} 8")


def whole_numbers(values: object, what: str) -> tuple[int, ...]:
    """Numbers of something; a single one stands for itself.

    Raises:
        SelectionError: one is none.
    """
    listed = values if isinstance(values, Iterable) and not isinstance(values, (str, bytes)) else [values]
    return tuple(whole_number(value, what) for value in listed)  # pyright: ignore[reportUnknownVariableType]


def check_layers(layers: int | Iterable[int] | None, n_layers: int) -> tuple[int, ...]:
    """Resolve wanted layers to sorted unique numbers in ``0..n_layers``; None means all, -1 the last.

    Raises:
        SelectionError: a layer is outside ``-(n_layers + 1)..n_layers`` or none was named.
    """
    if layers is None:
        return tuple(range(n_layers + 1))
    resolved: set[int] = set()
    for layer in whole_numbers(layers, "layer"):
        index = layer + n_layers + 1 if layer < 0 else layer
        if not 0 <= index <= n_layers:
            raise SelectionError(
                f"layer {layer} does not exist: this model has layers 0 (embeddings) to {n_layers}"
            )
        resolved.add(index)
    if not resolved:
        raise SelectionError(f"no layer was chosen: name some of 0 to {n_layers}, or leave it out for all")
    return tuple(sorted(resolved))
