"""Positions in words, and the word a position ends up with: what every view says alike."""

from __future__ import annotations

import numpy as np

from patchlens.axes import PositionKind
from patchlens.reading import Reading
from patchlens.views.words import visible


def place_name(reading: Reading, column: int) -> str:
    """A position for people: the answer token it predicts, its patch, or its own token."""
    p = reading.positions
    where = f"position {p.index[column]}"
    if p.kind[column] == PositionKind.PATCH:
        picture = f"picture {p.image[column]}, " if len(reading.pictures) > 1 else ""
        return f"patch {picture}row {p.row[column]}, column {p.col[column]}"
    piece = visible(reading.pieces[int(p.token[column])])
    if p.step[column] >= 0:
        return f"answer token {p.step[column] + 1} (read at {piece}, {where})"
    return f"{piece} ({where})"


def final_token(reading: Reading, column: int) -> int:
    """The answer's token where a position predicts one, else the best of the last layer read."""
    step = int(reading.positions.step[column])
    if 0 <= step < len(reading.answer.ids):
        return reading.answer.ids[step]
    return int(reading.top_ids[-1, column, 0])


def leads_from(reading: Reading, token: int, column: int) -> int | None:
    """First layer row from which a token stays first to the end, if it does."""
    behind = np.flatnonzero(reading.top_ids[:, column, 0] != token)
    first = int(behind[-1]) + 1 if behind.size else 0
    return first if first < len(reading.layers) else None
