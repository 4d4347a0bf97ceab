"""Positions in words: what every view says alike."""

from __future__ import annotations

from patchlens.axes import PositionKind
from patchlens.reading.reading import Reading
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
