"""Which language each layer of a reading speaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from patchlens.concepts.columns import columns_at
from patchlens.concepts.dictionary import Dictionary
from patchlens.concepts.language import language_of

if TYPE_CHECKING:
    from patchlens.reading.reading import Reading


@dataclass(frozen=True)
class Speech:
    """How often the best words of each layer are of each language, beside what would come by itself.

    ``counts`` [layer, language] counts words whose language is known, out of ``total`` words looked at per
    layer. ``by_itself`` [language] counts the same over the reading's whole table of ``table`` tokens, each
    once. ``commonest`` is, for each language, the token it came by most often over all layers, and how often:
    where that is nearly always, one token spoke and not a language. ``languages`` are codes, the most spoken
    first; ``layers`` is the layer number of each row.
    """

    at: str
    k: int
    layers: NDArray[np.int32]
    languages: tuple[str, ...]
    counts: NDArray[np.int64] = field(repr=False)
    total: int
    commonest: tuple[tuple[int, int] | None, ...] = field(repr=False)
    by_itself: NDArray[np.int64] = field(repr=False)
    table: int

    @property
    def known(self) -> NDArray[np.float64]:
        """Share [layer] of the words looked at whose language is known."""
        return self.counts.sum(1) / self.total

    @property
    def shares(self) -> NDArray[np.float64]:
        """Share [layer, language] among the words whose language is known; NaN where none is."""
        return _shares(self.counts)

    @property
    def null(self) -> NDArray[np.float64]:
        """Share [language] if every token of the reading's table came up alike; NaN if none is known.

        Scripts tell a language of word pieces, Latin letters only of whole words: the null is bent likewise.
        """
        return _shares(self.by_itself)

    @property
    def pooled(self) -> NDArray[np.float64]:
        """Share [language] of all layers together: what any layer would speak if they did not differ."""
        return _shares(self.counts.sum(0))


def languages(
    reading: Reading, at: str = "patches", k: int = 1, dictionary: Dictionary | None = None
) -> Speech:
    """Count the languages of the ``k`` best words at every layer.

    Args:
        reading: what was read.
        at: all patches, where the answer starts, or all text positions.
        k: how many words of each position count, alike.
        dictionary: the built-in one if left out.

    Raises:
        SelectionError: the reading has no such position, or keeps fewer than ``k`` words.
    """
    columns = columns_at(reading, at, k)
    known = dictionary or Dictionary.builtin()
    of_token = {token: language_of(piece, known) for token, piece in reading.pieces.items()}
    top = reading.top_ids[:, columns, :k].reshape(len(reading.layers), -1)
    rows = [Counter(of_token[token] for token in row) for row in top.tolist()]
    table = Counter(of_token.values())
    spoken = sum(rows, Counter[str | None]())
    order = sorted(
        {language for language in (*spoken, *table) if language is not None},
        key=lambda language: (-spoken[language], -table[language], language),
    )
    return Speech(
        at,
        k,
        reading.layers,
        tuple(order),
        np.array([[row[language] for language in order] for row in rows], np.int64).reshape(len(rows), -1),
        top.shape[1],
        _commonest(top, order, of_token),
        np.array([table[language] for language in order], np.int64),
        len(reading.pieces),
    )


def _commonest(
    top: NDArray[np.int32], languages: Sequence[str], of_token: Mapping[int, str | None]
) -> tuple[tuple[int, int] | None, ...]:
    best: dict[str | None, tuple[int, int]] = {}
    for token, count in Counter(top.ravel().tolist()).most_common():
        best.setdefault(of_token[token], (token, count))
    return tuple(best.get(language) for language in languages)


def _shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    total = counts.sum(-1, keepdims=True)
    return np.where(total > 0, counts / np.maximum(total, 1), np.nan)
