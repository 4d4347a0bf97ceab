"""Which tokens name a concept: every form of its word, in any language and case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from patchlens.models.tokens import content_ids
from patchlens.scenes.vocabulary import CONCEPTS, OBJECTS, SHAPES, names

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NO_ID: Final = -1
"""Fills up the rows of `ConceptIds.table`."""


@dataclass(frozen=True)
class ConceptIds:
    """Concepts and the tokens that name them.

    ``ids`` holds the token ids of each concept; its order is that of every array over concepts. ``things``
    are the concepts that can be seen where they are not; the others are grounds and properties.
    """

    ids: Mapping[str, frozenset[int]]
    things: tuple[str, ...]

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The concepts, in order."""
        return tuple(self.ids)

    @cached_property
    def thing_ids(self) -> frozenset[int]:
        """Every token that names some thing."""
        return self.named(self.things)

    def named(self, keys: Iterable[str]) -> frozenset[int]:
        """Every token that names one of several concepts."""
        return frozenset[int]().union(*(self.ids[key] for key in keys))

    @cached_property
    def table(self) -> NDArray[np.int64]:
        """Token ids of each concept in a row, ``[concept, n]``, filled up with `NO_ID`."""
        rows = [sorted(ids) for ids in self.ids.values()]
        table = np.full((len(rows), max(map(len, rows))), NO_ID, np.int64)
        for row, ids in zip(table, rows, strict=True):
            row[: len(ids)] = ids
        return table


def first_pieces(tokenizer: PreTrainedTokenizerBase, words: Sequence[str]) -> frozenset[int]:
    """Tokens that stand for words: the first piece of each after a space, and its bare form if one token."""
    ids: set[int] = set()
    for word in words:
        spaced, bare = (content_ids(tokenizer, form) for form in (f" {word}", word))
        ids.update(spaced[:1])
        if len(bare) == 1:
            ids.add(bare[0])
    return frozenset(ids)


def concept_ids(
    tokenizer: PreTrainedTokenizerBase, forms: Mapping[str, Sequence[str]], things: Iterable[str]
) -> ConceptIds:
    """Look up the tokens of every concept's ``forms``."""
    return ConceptIds({key: first_pieces(tokenizer, words) for key, words in forms.items()}, tuple(things))


def scene_forms() -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Forms of every concept of the drawn scenes, and which of them are things: objects and shapes."""
    return {key: names(key) for key in CONCEPTS}, tuple(c.key for c in (*OBJECTS, *SHAPES))
