"""Which words are followed through the layers of an item, and the token that stands for each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from patchlens.concepts.dictionary import Dictionary
from patchlens.data.item import Item
from patchlens.models.tokens import find_target, form_targets, piece_table
from patchlens.reading.records import WORD_START, Target

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Followed:
    """A word and its token.

    ``source`` is answer (its first token that has a letter or digit), expected, or concept; then
    ``concept`` is the word that was asked for, and ``language`` that of this form of it: None where the form
    is a word of several languages, or of none that is known.
    """

    source: str
    target: Target
    concept: str | None = None
    language: str | None = None


def followed(
    tokenizer: PreTrainedTokenizerBase, item: Item, answer: Sequence[int], dictionary: Dictionary
) -> tuple[Followed, ...]:
    """The words of an item, in order: of its answer, what is expected, every form of its concepts.

    Raises:
        TargetError: a word has no token.
    """
    return (
        *_said(tokenizer, answer),
        *(Followed("expected", find_target(tokenizer, word)) for word in item.expected),
        *(one for concept in item.concepts for one in _forms(tokenizer, concept, dictionary)),
    )


def _said(tokenizer: PreTrainedTokenizerBase, answer: Sequence[int]) -> list[Followed]:
    pieces = piece_table(tokenizer, answer)
    token = next((one for one in answer if any(map(str.isalnum, pieces[one]))), None)
    if token is None:
        return []
    piece = pieces[token]
    return [Followed("answer", Target(piece.replace(WORD_START, " ").strip(), token, (piece,)))]


def _forms(tokenizer: PreTrainedTokenizerBase, concept: str, dictionary: Dictionary) -> list[Followed]:
    """Every form the dictionary knows; the word alone if it knows none."""
    languages: dict[str, set[str]] = {}
    for form in dictionary.forms(concept):
        languages.setdefault(form.word, set()).add(form.language)
    targets = form_targets(tokenizer, tuple(languages) or (concept,))
    return [Followed("concept", target, concept, _only(languages.get(target.word, ()))) for target in targets]


def _only(languages: Collection[str]) -> str | None:
    return next(iter(languages)) if len(languages) == 1 else None
