"""Which form of a word comes first in a reading: its language, and at which layer and position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from patchlens.concepts.columns import columns_at
from patchlens.concepts.dictionary import Dictionary
from patchlens.concepts.forms import FormTokens, form_tokens, spelled_by_answer

if TYPE_CHECKING:
    from patchlens.reading.reading import Reading


@dataclass(frozen=True)
class FirstForm:
    """Where a form first is among the k best of a reading.

    ``layer`` is the first, ``rank`` (0 is best) the best there, ``position`` where in the sequence, with
    ``row`` and ``col`` of a patch (else None); ``places`` is how many positions of that layer hold the form.
    ``token`` and ``piece`` stood for it there; ``is_whole`` is False where that is only its first piece.
    """

    word: str
    languages: tuple[str, ...]
    keys: tuple[str, ...]
    token: int
    piece: str
    is_whole: bool
    layer: int
    rank: int
    position: int
    row: int | None
    col: int | None
    places: int


def first_forms(
    reading: Reading,
    word: str,
    at: str = "patches",
    k: int = 5,
    dictionary: Dictionary | None = None,
    language: str | None = None,
) -> tuple[FirstForm, ...]:
    """Forms of a word by the layer at which they first are among the ``k`` best, then by their rank there.

    A form in no layer's ``k`` best is left out. The first piece of a form counts if it is a target of the
    reading, or at the answer if that goes on to spell it.

    Args:
        reading: what was read.
        word: in any language and case.
        at: any patch, where the answer starts, or any text position.
        k: how many words of each position count.
        dictionary: the built-in one if left out.
        language: take it as a word of this language only.

    Raises:
        TargetError: the dictionary does not know the word.
        SelectionError: the reading has no such position, keeps fewer than ``k`` words, or the dictionary has
            no such language.
    """
    columns = columns_at(reading, at, k)
    forms = form_tokens(reading, word, dictionary, language)
    found = [_first(reading, form, columns, k, answering=at == "answer") for form in forms]
    return tuple(sorted(filter(None, found), key=lambda first: (first.layer, first.rank)))


def _first(
    reading: Reading, form: FormTokens, columns: NDArray[np.intp], k: int, *, answering: bool
) -> FirstForm | None:
    said = spelled_by_answer(reading, form.word) if answering else None
    tokens = dict.fromkeys((*form.whole, *form.joined, *(() if said is None else (said,))))
    if not tokens:
        return None
    ranks = np.stack([reading.ranks(token)[:, columns] for token in tokens], 1)  # [layer, token, column]
    rows = np.flatnonzero((ranks < k).any((1, 2)))
    if not rows.size:
        return None
    here = ranks[rows[0]]
    which, column = np.unravel_index(np.nanargmin(here), here.shape)
    token, place = list(tokens)[which], int(columns[column])
    p = reading.positions
    patch = p.kind[place] == "patch"
    return FirstForm(
        form.word,
        form.languages,
        form.keys,
        token,
        reading.pieces[token],
        token in form.whole,
        int(reading.layers[rows[0]]),
        int(here[which, column]),
        int(p.index[place]),
        int(p.row[place]) if patch else None,
        int(p.col[place]) if patch else None,
        int((here < k).any(0).sum()),
    )
