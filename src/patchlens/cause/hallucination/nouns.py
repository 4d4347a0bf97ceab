"""Nouns of a caption: which of its tokens they are, and captions in which one is swapped for another."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

from patchlens.data.words import first_pieces
from patchlens.models.tokens import content_ids
from patchlens.scenes.phrases import english_article
from patchlens.scenes.vocabulary import CONCEPTS, OBJECTS, SHAPES, Concept, names

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_FUNCTION: Final = """
a an the this that these those some any and or but nor of in on at to by for from with without near
next above below under over between behind beside into onto off out up down is are was were be been
being am has have had do does did can could will would may might shall should must there here it its
it's he she they them his her their we you your our i me my one two three four five six seven eight
nine ten who which what where when as if than then so not no yes very also just only each other
another both all several many few more most while against along across around through during after
before about like such image picture photo shows showing appears seems sitting standing ein eine
einen einem einer eines der die das den dem des und oder aber in im an am auf aus bei mit nach von
vom vor zu zum zur über unter neben zwischen hinter ist sind war waren wird werden hat haben es er
sie wir ihr ich nicht kein keine zwei drei vier neun bild
"""
FUNCTION_WORDS: Final = frozenset(_FUNCTION.split())
"""Words of English and German captions that name nothing; whatever else is written apart may be a noun."""
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


@dataclass(frozen=True)
class Noun:
    """A noun of a caption: ``key`` is its concept, or the word; ``steps`` are its tokens, counted from 0."""

    key: str
    steps: tuple[int, ...]


def known_nouns(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> tuple[Noun, ...]:
    """Names of things that drawn scenes can show, in any of the bench's languages and either number.

    Args:
        tokenizer: the model's.
        ids: tokens of the caption.
    """
    forms = _forms(tokenizer)
    longest = max(map(len, forms))
    found: list[Noun] = []
    step = 0
    while step < len(ids):
        for length in range(min(longest, len(ids) - step), 0, -1):
            key = forms.get(tuple(ids[step : step + length]))
            if key is not None:
                found.append(Noun(key, tuple(range(step, step + length))))
                step += length
                break
        else:
            step += 1
    return tuple(found)


def content_words(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> tuple[Noun, ...]:
    """Words of a caption that stand apart, less `FUNCTION_WORDS` and single letters, each word once.

    Verbs and adjectives stay, so this is more than its nouns; languages written without spaces are not taken
    apart.
    """
    ends = [len(str(tokenizer.decode(list(ids[: n + 1])))) for n in range(len(ids))]
    starts = [0, *ends[:-1]]
    found: dict[str, Noun] = {}
    for match in _WORD.finditer(str(tokenizer.decode(list(ids)))):
        word = match.group().lower()
        steps = tuple(
            n
            for n, (start, end) in enumerate(zip(starts, ends, strict=True))
            if start < match.end() and end > match.start()
        )
        if len(word) > 1 and word not in FUNCTION_WORDS and steps:
            found.setdefault(word, Noun(word, steps))
    return tuple(found.values())


def noun_ids(tokenizer: PreTrainedTokenizerBase, key: str) -> frozenset[int]:
    """Tokens that name a noun: those of all forms of a concept, or of a word in either case."""
    words = names(key) if key in CONCEPTS else (key, key.lower(), key.capitalize())
    return first_pieces(tokenizer, words)


def swapped(
    tokenizer: PreTrainedTokenizerBase,
    ids: Sequence[int],
    nouns: Sequence[Noun],
    there: frozenset[str],
    rng: np.random.Generator,
) -> tuple[tuple[int, ...], tuple[Noun, ...]] | None:
    """A caption with one noun that is true swapped for one of the same sort that is not in the picture.

    The number is kept, and so is "a" or "an", so that the caption reads no worse than before.

    Args:
        tokenizer: the model's.
        ids: tokens of an English caption.
        nouns: those of the caption.
        there: keys of what is in the picture.
        rng: chooses the noun and what takes its place.

    Returns:
        The new caption, with what stands there now and then the other nouns that are true, where they stand
        in it; None where no noun can be swapped.
    """
    free = [n for n, noun in enumerate(nouns) if noun.key in there]
    rng.shuffle(free)
    for index in free:
        old = nouns[index]
        start, end = old.steps[0], old.steps[-1] + 1
        is_plural = _is_plural(tokenizer, old.key, list(ids[start:end]))
        fits = _of_its_sort(old.key, {noun.key for noun in nouns} | there)
        if not fits or is_plural is None:
            continue
        new = fits[int(rng.integers(len(fits)))]
        put = content_ids(tokenizer, f" {new.plural if is_plural else new.key}")
        longer = len(put) - (end - start)
        around = [
            Noun(noun.key, tuple(step + longer * (step >= end) for step in noun.steps))
            for n, noun in enumerate(nouns)
            if n != index and noun.key in there
        ]
        return (*ids[:start], *put, *ids[end:]), (
            Noun(new.key, tuple(range(start, start + len(put)))),
            *around,
        )
    return None


def _is_plural(tokenizer: PreTrainedTokenizerBase, key: str, tokens: list[int]) -> bool | None:
    """Whether these are the tokens of a concept's English plural; None where they are of neither number."""
    plural = CONCEPTS[key].plural
    if plural != key and tokens == content_ids(tokenizer, f" {plural}"):
        return True
    return False if tokens == content_ids(tokenizer, f" {key}") else None


def _of_its_sort(key: str, said: set[str] | frozenset[str]) -> list[Concept]:
    return [
        own
        for own in (OBJECTS if CONCEPTS[key].sort == "object" else SHAPES)
        if own.key not in said and english_article(own.key) == english_article(key)
    ]


@cache
def _forms(tokenizer: PreTrainedTokenizerBase) -> Mapping[tuple[int, ...], str]:
    found: dict[tuple[int, ...], str] = {}
    for concept in (*OBJECTS, *SHAPES):
        for word in names(concept.key):
            for form in (f" {word}", word):
                found.setdefault(tuple(content_ids(tokenizer, form)), concept.key)
    return found
