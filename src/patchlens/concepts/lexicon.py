"""What a word means in a reading: every token that spells it, whatever its case or leading space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from patchlens.errors import TargetError
from patchlens.reading.records import WORD_START, Target

Concept = int | str | Sequence[int | str]


@dataclass(frozen=True)
class Lexicon:
    """The tokens of a reading by the word they spell or, as targets, stand for; ``k`` is its top-k."""

    pieces: Mapping[int, str]
    targets: Sequence[Target]
    k: int
    vocab_size: int

    def tokens(self, concept: Concept) -> tuple[int, ...]:
        """Ids meant by a concept: an id, a word, or several of them together.

        Raises:
            TargetError: a word or id does not occur, or there is none.
        """
        parts = [concept] if isinstance(concept, (int, np.integer, str)) else concept
        found = dict.fromkeys(token for part in parts for token in self._spelled(part))
        if not found:
            raise TargetError("the concept is empty: give at least one word or token id")
        return tuple(found)

    def _spelled(self, word: int | str) -> Sequence[int]:
        if not isinstance(word, str):
            if int(word) not in self.pieces:
                raise TargetError(f"token {word} does not occur in this reading")
            return (int(word),)
        tokens = self._by_word.get(fold(word), [])
        if not tokens:
            raise TargetError(
                f"{word!r} is no token of this model: read again with it as a target, which its first token "
                "then stands for"
                if self.k >= self.vocab_size
                else f"{word!r} is in no top-{self.k} of this reading and was not a target; "
                "read again with it as a target"
            )
        return tokens

    @cached_property
    def _by_word(self) -> dict[str, list[int]]:
        spelled = [*self.pieces.items(), *((target.token, target.word) for target in self.targets)]
        words: dict[str, list[int]] = {}
        for token, piece in spelled:
            words.setdefault(fold(piece), []).append(token)
        return words


def fold(piece: str) -> str:
    """A piece as a word: without leading-space marks or white space around it, and without case."""
    return piece.replace(WORD_START, " ").strip().casefold()
