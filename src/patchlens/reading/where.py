"""Which positions are meant by a number, a name or a word of the prompt: one rule for all who ask."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from patchlens.axes import PositionKind, whole_number
from patchlens.errors import SelectionError
from patchlens.reading.records import WORD_START, Positions

Where = int | str
"""A number, "answer", "last", "patches" (or "patch"), "text", or a word of the prompt: see `rows_at`."""

BYTES: Final = re.compile(r"(?:<0x([0-9A-F]{2})>)+")
BREAK: Final = "\0"
"""Stands between pieces that are not neighbours, so that no word is read across."""


def rows_at(at: Where, positions: Positions, pieces: Mapping[int, str], prompt: str) -> NDArray[np.intp]:
    """Rows of the positions meant.

    Args:
        at: an index of the sequence, negative counting from the last position held; "answer", the last
            position of the prompt, which predicts the first token of the answer; "last"; "patches" or
            "patch"; "text"; or a word or phrase of the prompt, which means the position of its last token,
            where a model has read all of it.
        positions: those held.
        pieces: of the tokens that stand there.
        prompt: as it was asked, without the chat template.

    Returns:
        [row], rising: one, unless a group was named.

    Raises:
        SelectionError: there is no such position here, or the word does not stand exactly once.
    """
    if not isinstance(at, str):
        return np.array([_numbered(whole_number(at, "position"), positions.index)])
    if at == "answer":
        return np.array([step_row(0, positions)])
    if at == "last":
        return np.array([len(positions) - 1])
    kind = {"patches": PositionKind.PATCH, "patch": PositionKind.PATCH, "text": PositionKind.TEXT}.get(at)
    if kind is not None:
        rows = np.flatnonzero(positions.kind == kind)
        if not rows.size:
            raise SelectionError(f"there is no position of kind {kind.value} here")
        return rows
    places = word_rows(at, positions, pieces, prompt)
    if len(places) > 1:
        listed = ", ".join(str(positions.index[place[-1]]) for place in places)
        raise SelectionError(f"{at!r} stands at positions {listed}: choose one by its number")
    return np.array([places[0][-1]])


def word_rows(
    word: str, positions: Positions, pieces: Mapping[int, str], prompt: str
) -> list[tuple[int, ...]]:
    """Rows of the tokens that spell a word or phrase of the prompt, once for each place where it stands.

    Looked for is what was typed, not the chat template, as far as the prompt is found among the tokens; upper
    and lower case count alike. Whole words go first: a part of one, as in writing without spaces, is meant
    only where there is none.

    Raises:
        SelectionError: it is empty, or does not stand in the prompt.
    """
    wanted = word.strip()
    if not wanted:
        raise SelectionError("the word is empty: name a position, answer, or a word of the prompt")
    is_written = np.isin(positions.kind, (PositionKind.TEXT, PositionKind.SPECIAL))
    rows = np.flatnonzero(is_written & ~positions.generated)
    own = [pieces[int(token)] for token in positions.token[rows]]
    text, starts, owner = _spelled(own, positions.index[rows], positions.kind[rows] == PositionKind.SPECIAL)
    typed = text.find(prompt) if prompt else -1
    start, end = (typed, typed + len(prompt)) if typed >= 0 else (0, len(text))
    literal = re.escape(wanted)
    for pattern in (rf"(?<!\w){literal}(?!\w)", literal):
        spans = [found.span() for found in re.finditer(pattern, text[start:end], re.IGNORECASE)]
        if spans:
            places = [owner[starts[start + left] : starts[start + right]] for left, right in spans]
            return [tuple(rows[np.unique(own)].tolist()) for own in places]
    raise SelectionError(
        f"the prompt has no {wanted!r}: choose a number, answer, last, or a word that stands in it"
    )


def step_row(step: int, positions: Positions) -> int:
    """Row of the position that predicts answer token ``step``.

    Raises:
        SelectionError: that step is not held.
    """
    rows = np.flatnonzero(positions.step == whole_number(step, "step"))
    if rows.size == 0:
        held = positions.step[positions.step >= 0]
        raise SelectionError(
            f"answer step {step} is not in this reading: "
            + (f"it holds steps {span(held)}" if held.size else "it holds no answer position")
        )
    return int(rows[0])


def _numbered(position: int, index: NDArray[np.integer[Any]]) -> int:
    if position < 0 and -position <= len(index):
        return len(index) + position
    rows = np.flatnonzero(index == position)
    if rows.size == 0:
        raise SelectionError(f"position {position} is not in this reading: it holds {span(index)}")
    return int(rows[0])


def _spelled(
    pieces: Sequence[str], index: NDArray[np.integer[Any]], is_special: NDArray[np.bool_]
) -> tuple[str, list[int], list[int]]:
    """The text that pieces spell, at which byte each of its characters starts, and whose each byte is."""
    data, owners = bytearray(), list[int]()
    for n, piece in enumerate(pieces):
        apart = is_special[n] or (n > 0 and (is_special[n - 1] or index[n] != index[n - 1] + 1))
        lone = BYTES.fullmatch(piece)
        spelled = (BREAK if apart else "").encode()
        if lone is not None:
            spelled += bytes.fromhex(piece.replace("<0x", "").replace(">", ""))
        elif not is_special[n]:
            spelled += piece.replace(WORD_START, " ").encode("utf-8", "surrogatepass")
        data += spelled
        owners += [n] * len(spelled)
    text = data.decode("utf-8", "surrogateescape")
    starts = np.cumsum([0, *(len(c.encode("utf-8", "surrogateescape")) for c in text)])
    return text, starts.tolist(), owners


def span(numbers: Sequence[int] | NDArray[np.integer[Any]]) -> str:
    """Numbers in few characters: a range where they are one."""
    held = sorted({int(n) for n in numbers})
    if not held:
        return "none"
    if held == list(range(held[0], held[-1] + 1)):
        return f"{held[0]}..{held[-1]}" if len(held) > 1 else str(held[0])
    return ", ".join(map(str, held[:6])) + (", ..." if len(held) > 6 else "")
