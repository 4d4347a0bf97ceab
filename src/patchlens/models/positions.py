"""Which positions of a sequence are meant: by number, by the name of a group, or by a word of the prompt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields

import numpy as np

from patchlens.axes import PositionKind, whole_numbers
from patchlens.errors import SelectionError
from patchlens.models.adapter import Adapter
from patchlens.models.encode import Inputs
from patchlens.models.tokens import piece_table
from patchlens.pictures.grid import Places
from patchlens.reading.records import Positions
from patchlens.reading.where import word_rows
from patchlens.selection import POSITION_GROUPS


def select_positions(
    adapter: Adapter, inputs: Inputs, wanted: str | int | Iterable[int] | None
) -> list[int] | None:
    """Indices of the sequence that a group's name or a word means; None means all.

    Args:
        adapter: the model.
        inputs: the prompt with its pictures, and the answer after it if there is one.
        wanted: numbers (negative from the end), "all", "answer" (the last position of the prompt and all
            after it), "patches", "text", or a word of the prompt: all tokens of it, wherever it stands.

    Raises:
        SelectionError: a group that is empty here, or a word that does not stand in the prompt.
    """
    if wanted is None or (isinstance(wanted, str) and wanted == "all"):
        return None
    if not isinstance(wanted, str):
        numbers = whole_numbers(wanted, "position")
        return [position + len(inputs) if position < 0 else position for position in numbers]
    if wanted == "answer":
        return list(range(inputs.n_prompt - 1, len(inputs)))
    kinds = {"patches": PositionKind.PATCH, "patch": PositionKind.PATCH, "text": PositionKind.TEXT}
    if wanted not in kinds:
        return word_positions(adapter, inputs, wanted, POSITION_GROUPS)
    chosen = np.flatnonzero(inputs.places.kind == kinds[wanted])
    if not chosen.size:
        raise SelectionError(f"there is no position of the group {wanted!r} in this prompt")
    return chosen.tolist()


def word_positions(adapter: Adapter, inputs: Inputs, word: str, groups: Sequence[str]) -> list[int]:
    """Positions of all tokens that spell a word or phrase of the prompt, wherever it stands.

    Raises:
        SelectionError: it is none of ``groups``, which could have been meant, and does not stand there.
    """
    positions = positions_of(inputs, range(len(inputs)))
    pieces = piece_table(adapter.tokenizer, inputs.ids.tolist())
    try:
        places = word_rows(word, positions, pieces, inputs.prompt)
    except SelectionError as error:
        raise SelectionError(
            f"{word!r} is none of {', '.join(groups)}, no number, and no word of the prompt"
        ) from error
    return sorted({row for place in places for row in place})


def positions_of(inputs: Inputs, index: Sequence[int], n_answer: int = 0) -> Positions:
    """Some positions of a sequence, with the step of an answer of ``n_answer`` tokens that each predicts."""
    numbers = np.array(index, np.int32)
    step = numbers - (inputs.n_prompt - 1)
    columns = {f.name: getattr(inputs.places, f.name)[numbers] for f in fields(Places)}
    return Positions(
        **columns,
        index=numbers,
        token=inputs.ids[numbers].astype(np.int32),
        step=np.where((step >= 0) & (step < max(1, n_answer)), step, -1).astype(np.int32),
        generated=numbers >= inputs.n_prompt,
    )
