"""Which positions of a sequence are meant: by number or by the name of a group."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from patchlens.axes import PositionKind
from patchlens.errors import SelectionError
from patchlens.models.adapter import Adapter
from patchlens.models.encode import Inputs
from patchlens.selection import POSITION_GROUPS


def select_positions(
    adapter: Adapter, inputs: Inputs, wanted: str | int | Iterable[int] | None
) -> list[int] | None:
    """Indices of the sequence that a group's name means; numbers pass through, None means all.

    Raises:
        SelectionError: an unknown group, or one that is empty here.
    """
    if wanted is None or wanted == "all":
        return None
    if isinstance(wanted, int):
        return [wanted + len(inputs) if wanted < 0 else wanted]
    if not isinstance(wanted, str):
        return [position + len(inputs) if position < 0 else position for position in wanted]
    kind = inputs.places.kind
    if wanted == "answer":
        return list(range(inputs.n_prompt - 1, len(inputs)))
    if wanted not in POSITION_GROUPS:
        raise SelectionError(f"positions {wanted!r} is none of {', '.join(POSITION_GROUPS)} and no number")
    chosen = np.flatnonzero(kind == (PositionKind.PATCH if wanted == "patches" else PositionKind.TEXT))
    if not chosen.size:
        raise SelectionError(f"there is no position of the group {wanted!r} in this prompt")
    return chosen.tolist()
