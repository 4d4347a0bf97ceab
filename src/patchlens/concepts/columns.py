"""Which positions of a reading are asked about, and how many of their words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from patchlens.errors import SelectionError

if TYPE_CHECKING:
    from patchlens.reading.reading import Reading

_KINDS: Final = {"patches": "patch", "text": "text"}


def columns_at(reading: Reading, at: str, k: int) -> NDArray[np.intp]:
    """Rows [column] of the positions meant: all patches, where the answer starts, or all text positions.

    Raises:
        SelectionError: the reading has no such position, or keeps fewer than ``k`` words of each.
    """
    held = reading.top_ids.shape[2]
    if k < 1:
        raise SelectionError(f"k is {k}: ask for 1 or more")
    if k > held:
        raise SelectionError(
            f"k is {k}, but this reading keeps the best {held}; ask for fewer or read with a larger top-k"
        )
    if at == "answer":
        return np.array([reading.position_row("answer")])
    if at not in _KINDS:
        raise SelectionError(f"{at!r} is none of patches, answer and text")
    columns = np.flatnonzero(reading.positions.kind == _KINDS[at])
    if not columns.size:
        crossed = at == "patches" and reading.vision is not None
        raise SelectionError(
            f"this reading holds no position of {at}"
            + (": the model reads the picture by cross-attention" if crossed else "")
        )
    return columns
