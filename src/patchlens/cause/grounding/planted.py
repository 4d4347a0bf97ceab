"""Questions about drawn scenes of which it is known whether the answer needs the picture.

A word that the question leaves open needs it. A token that the language of the scenes settles once another
token is said does not: the second piece of a word ("g", "iraffe"), or a fixed turn ("nine", "things").
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, permutations, takewhile
from typing import TYPE_CHECKING, Final

import numpy as np

from patchlens.models.tokens import content_ids, piece_table
from patchlens.reading.records import WORD_START
from patchlens.scenes.phrases import ASK, NUMBERS, THINGS, QuestionKind, listed, noun_phrase, on_ground
from patchlens.scenes.questions import Question, ask
from patchlens.scenes.scene import Scene
from patchlens.scenes.truth import Labelled
from patchlens.scenes.vocabulary import (
    BACKGROUNDS,
    COLOURS,
    CONCEPTS,
    LANGUAGES,
    OBJECTS,
    PATTERNS,
    SHAPES,
    Language,
    names,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CAPTIONS: Final = frozenset(text for texts in ASK["caption"].values() for text in texts)
_NAMES: Final = frozenset(name for key in CONCEPTS for name in names(key))
_OPEN: Final[tuple[QuestionKind, ...]] = ("what", "colour", "count", "background")
_SPLIT: Final = ("butterfly", "giraffe", "strawberry", "sunflower")
_TURNS: Final = ("night", "snow")


def ask_planted(scene: Scene, rng: np.random.Generator) -> Question | None:
    """A question whose first word needs the picture, or a caption with turns that do not.

    Half of each: what one thing is, a colour, how many things, the background; and captions with words of
    several pieces or fixed turns.
    """
    if rng.random() < 0.5:
        return _open_question(scene, rng)
    split = scene.kind == "one" and scene.objects[0].name in _SPLIT
    fixed = scene.kind == "collage" or (scene.objects and scene.background in _TURNS)
    return ask(scene, rng, "caption", "en" if rng.random() < 0.7 else "de") if split or fixed else None


def _open_question(scene: Scene, rng: np.random.Generator) -> Question | None:
    kind: QuestionKind = _OPEN[int(rng.integers(len(_OPEN)))]
    if kind in ("what", "colour") and scene.kind != "one":
        return None
    question = ask(scene, rng, kind)
    if kind == "count" and question is not None and THINGS[question.language] not in question.prompt:
        return None  # "how many cats" tells that there is one
    return question


def settled(tokenizer: PreTrainedTokenizerBase) -> Mapping[int, int]:
    """Tokens that are always followed by one and the same token in what the scenes' language can say.

    Taken from the templates of captions and of answers to "what is this", in all languages: no model is run.
    """
    following: dict[int, set[int | None]] = defaultdict(set)
    for text in _sayings():
        ids = content_ids(tokenizer, f" {text}")
        for token, after in zip(ids, [*ids[1:], None], strict=True):
            following[token].add(after)
    return {
        token: after
        for token, found in following.items()
        if len(found) == 1 and (after := next(iter(found))) is not None
    }


def _sayings() -> Iterator[str]:
    """Texts in which each part stands beside all that it can stand beside, or beside two such parts."""
    for language in LANGUAGES:
        things = list(_things(language))
        words = [c.word(language) for c in (*OBJECTS, *SHAPES)]
        grounds = [c.key for c in (*BACKGROUNDS, *PATTERNS)]
        for phrase in things:
            yield from (on_ground(phrase, ground, language) for ground in grounds)
        for word in (*words, *things):
            for beside in (words[0], words[-1], things[0], things[-1]):
                yield from (listed([word, beside, word], language), listed([beside, word, beside], language))
                yield from (word, f"{_nine(language)}: {listed([word, beside], language)}")
        yield from (CONCEPTS[ground].word(language) for ground in grounds)
        yield from _patterns(language)


def _things(language: Language) -> Iterator[str]:
    for thing in (*OBJECTS, *SHAPES):
        for count in (1, 2):
            yield noun_phrase(thing.key, None, count, language)
            if thing.sort == "shape":
                yield from (noun_phrase(thing.key, c.key, count, language) for c in COLOURS)


def _nine(language: Language) -> str:
    return NUMBERS[9][language] + ("个" if language == "zh" else " ") + THINGS[language]


def _patterns(language: Language) -> Iterator[str]:
    for pattern in PATTERNS:
        for pair in permutations(COLOURS, 2):
            noun = pattern.word(language)
            if language == "de":
                yield listed([c.german_plural + "e" for c in pair], "de") + " " + noun
            else:
                joiner = "" if language == "zh" else " "
                yield listed([c.word(language) for c in pair], language) + joiner + noun


def planted_tokens(
    tokenizer: PreTrainedTokenizerBase,
    truth: Labelled | None,
    ids: Sequence[int],
    follows: Mapping[int, int],
) -> dict[str, list[int]]:
    """Which tokens of an answer are known to need the picture (``open``), or not to (``settled``).

    Open is the first token of an answer to what one thing is, its colour, how many things, the background.
    Settled is a token of a caption that the token before it settles and that is no name by itself: "snow"
    after "in" is settled too, but shown as well, and a model may well take it from the picture. Either counts
    only as far as the answer is the true one.

    Args:
        tokenizer: the model's.
        truth: what is known of the case.
        ids: the model's answer.
        follows: see `settled`.
    """
    found: dict[str, list[int]] = {"open": [], "settled": []}
    true_ids = content_ids(tokenizer, f" {truth.answer}") if truth is not None else []
    both = takewhile(lambda pair: pair[0] == pair[1], zip(ids, true_ids, strict=False))
    agreed = [token for token, _ in both]
    if truth is None or not agreed:
        return found
    if truth.prompt not in _CAPTIONS:
        return {**found, "open": [0]}
    pieces = piece_table(tokenizer, agreed)
    found["settled"] = [
        step
        for step, (before, token) in enumerate(pairwise(agreed), 1)
        if follows.get(before) == token and pieces[token].strip(WORD_START) not in _NAMES
    ]
    return found
