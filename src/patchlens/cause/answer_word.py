"""The word that stands for an answer, and its map over patches under a lens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from patchlens.axes import PositionKind
from patchlens.data.words import ConceptIds, first_pieces
from patchlens.errors import SelectionError
from patchlens.lens import Lens
from patchlens.models.tokens import piece_table
from patchlens.trace import Trace

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


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


@dataclass(frozen=True)
class WordMaps:
    """Log-probability of a word under a lens, ``[layer, patch]``, nats; patches in order of their numbers."""

    layers: tuple[int, ...]
    values: NDArray[np.float64]

    def at(self, layer: int) -> NDArray[np.float64]:
        """The map of a layer, ``[patch]``.

        Raises:
            SelectionError: the lens does not read that layer.
        """
        if layer not in self.layers:
            held = ", ".join(map(str, self.layers))
            raise SelectionError(f"the lens reads no patches at layer {layer}: choose of {held}")
        return self.values[self.layers.index(layer)]


def word_maps(trace: Trace, lens: Lens, word: AnswerWord) -> WordMaps:
    """Read a word on every patch, its tokens' probabilities added up.

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
    return WordMaps(tuple(reading.layers.tolist()), reading.logprobs(ids)[:, rows].astype(np.float64))
