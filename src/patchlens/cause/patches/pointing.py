"""Where a lens points for a word: its map over patches, those that stand out of it, and those around."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patchlens.bench.readout import read_out, states_for
from patchlens.capture import capture
from patchlens.data.words import ConceptIds, first_pieces
from patchlens.errors import SelectionError
from patchlens.lens import Lens
from patchlens.lens.read import Pass
from patchlens.models.adapter import Adapter
from patchlens.models.inputs import Inputs
from patchlens.models.tokens import piece_table
from patchlens.reading.records import Answer


@dataclass(frozen=True)
class Word:
    """The word of an answer that a lens is asked for: the tokens that count as it, and what they are."""

    ids: frozenset[int]
    told: str


def answer_word(
    adapter: Adapter, answer: Sequence[int], concepts: ConceptIds | None, named: str | None = None
) -> Word:
    """The word that stands for an answer.

    Args:
        adapter: the model.
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
        ids = first_pieces(adapter.tokenizer, [named])
        if not named.strip() or not ids:
            raise SelectionError(f"there is no token of the word {named!r}: name one, such as --word cat")
        return Word(ids, f"the word {named}")
    pieces = piece_table(adapter.tokenizer, answer)
    token = next((one for one in answer if any(map(str.isalnum, pieces[one]))), answer[0])
    keys = [] if concepts is None else [key for key in concepts.keys if token in concepts.ids[key]]
    if concepts is not None and len(keys) == 1:
        return Word(concepts.ids[keys[0]], f"every form of {keys[0]}")
    return Word(frozenset([token]), f"the token {pieces[token]}")


@dataclass(frozen=True)
class LensMaps:
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


def lens_maps(
    lens: Lens, adapter: Adapter, inputs: Inputs, word: Word, layers: Iterable[int] | None = None
) -> LensMaps:
    """Read a word on every patch of a prompt, in one pass of the model.

    Args:
        lens: any; one that compares states gives the log-probabilities of its own scores.
        adapter: the model.
        inputs: the prompt with its pictures.
        word: its tokens' probabilities are added up.
        layers: 0 to ``n_layers``, negative from the end; None for all that the lens reads.

    Raises:
        SelectionError: the lens is not for this model, sees no patches there, or there is no such layer.
    """
    ran = Pass(adapter, inputs, capture(adapter, inputs, layers=layers), (), Answer("", ()))
    states = states_for(lens, ran)
    if not len(states.boxes):
        raise SelectionError(
            f"the lens {lens.name} reads no patches of {adapter.name} here: "
            + ("choose --lens cross" if adapter.cross_blocks else "give a picture")
        )
    found = read_out(states, lens, ConceptIds({"word": word.ids}, ("word",)), ("word",))
    return LensMaps(states.layers, found.concepts[..., 0].astype(np.float64))
