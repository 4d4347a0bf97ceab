"""The word that stands for an answer, and its map over patches under a lens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from patchlens.axes import PositionKind
from patchlens.data.words import ConceptIds, first_pieces
from patchlens.errors import SelectionError
from patchlens.lens import Lens
from patchlens.models.tokens import piece_table
from patchlens.trace import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


WordMap = Float[NDArray[np.float64], " patch"]
"""Log-probability of a word, nats; patches in order of their numbers."""


@dataclass(frozen=True)
class AnswerWord:
    """The word of an answer that a lens is asked for: the tokens that count as it, and what they are."""

    ids: frozenset[int]
    name: str


def answer_word(
    tokenizer: PreTrainedTokenizerBase,
    answer: Sequence[int],
    concepts: ConceptIds | None,
    named: str | None = None,
) -> AnswerWord:
    """The word that stands for an answer.

    Args:
        tokenizer: the model's.
        answer: token ids of its answer, at least one.
        concepts: words whose other forms are known; where the answer's first token names exactly one of them,
            every form of it counts.
        named: a word to take instead; its first token counts, after a space or bare.

    Returns:
        Else the answer's first token that has a letter or digit in it (of no such, the first).

    Raises:
        SelectionError: the tokenizer makes no token of ``named``.
    """
    if named is not None:
        ids = first_pieces(tokenizer, [named])
        if not named.strip() or not ids:
            raise SelectionError(f"there is no token of the word {named!r}: name one, such as --word cat")
        return AnswerWord(ids, f"the word {named}")
    pieces = piece_table(tokenizer, answer)
    token = next((one for one in answer if any(map(str.isalnum, pieces[one]))), answer[0])
    keys = [] if concepts is None else [key for key in concepts.keys if token in concepts.ids[key]]
    if concepts is not None and len(keys) == 1:
        return AnswerWord(concepts.ids[keys[0]], f"every form of {keys[0]}")
    return AnswerWord(frozenset([token]), f"the token {pieces[token]}")


def word_maps(trace: Trace, lens: Lens, word: AnswerWord) -> dict[int, WordMap]:
    """Read a word on every patch, its tokens' probabilities added up, layer by layer.

    Args:
        trace: of the picture; its layers are read, as far as the lens reads them.
        lens: any; one that compares states gives the log-probabilities of its own scores.
        word: of whatever answer.

    Raises:
        SelectionError: the lens is not for this model, or sees no patches there.
    """
    ids = sorted(word.ids)
    reading = trace.read(lens, top_k=1, targets=ids)
    rows = np.flatnonzero(reading.positions.kind == PositionKind.PATCH)
    if not rows.size:
        raise SelectionError(
            f"the lens {lens.name} reads no patches of {trace.adapter.name} here: "
            + ("choose --lens cross" if trace.adapter.cross_blocks else "give a picture")
        )
    maps = reading.logprobs(ids)[:, rows].astype(np.float64)
    return dict(zip(reading.layers.tolist(), maps, strict=True))
