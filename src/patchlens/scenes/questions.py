"""Questions about a scene whose answers follow from its truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from patchlens.scenes import phrases
from patchlens.scenes.phrases import ASK, Direction, QuestionKind
from patchlens.scenes.scene import PlacedObject, Scene
from patchlens.scenes.vocabulary import (
    CATEGORIES,
    COLOURS,
    CONCEPTS,
    LANGUAGES,
    OBJECTS,
    SHAPES,
    Concept,
    Language,
)

QUESTION_KINDS: tuple[QuestionKind, ...] = (
    "what",
    "colour",
    "count",
    "exists",
    "relation",
    "background",
    "two_step",
    "caption",
)
LANGUAGE_WEIGHTS = (0.6, 0.22, 0.18)
DIRECTIONS: tuple[Direction, ...] = ("left", "right", "above", "below")
MIN_SHIFT = 0.14
"""Least distance of two things, as a part of the picture's side, for a relation to be asked."""


@dataclass(frozen=True)
class Question:
    """A prompt with its one right answer.

    ``about`` are the indices of the things in the scene that the answer rests on (empty when it
    rests on the ground or on nothing there).
    """

    kind: QuestionKind
    language: Language
    prompt: str
    answer: str
    about: tuple[int, ...]


def ask(
    scene: Scene,
    rng: np.random.Generator,
    kind: QuestionKind | None = None,
    language: Language | None = None,
) -> Question | None:
    """One question about a scene.

    Args:
        scene: what is asked about.
        rng: chooses whatever is left open, the wording included.
        kind: one of ``QUESTION_KINDS``; drawn at random when None.
        language: drawn at random when None.

    Returns:
        The question, or None where the scene allows none of that kind: no shape for a colour,
        no two things that stand clearly apart for a relation.
    """
    lang: Language = language or LANGUAGES[int(rng.choice(3, p=LANGUAGE_WEIGHTS))]
    chosen = kind or QUESTION_KINDS[int(rng.integers(len(QUESTION_KINDS)))]
    return _MAKERS[chosen](scene, rng, lang)


def neighbour(scene: Scene, index: int, direction: Direction) -> int | None:
    """The thing that stands in a direction from another one.

    A thing counts when it lies within 45 degrees of the direction, at least ``MIN_SHIFT`` away;
    of several, the nearest, if the next is at least 1.3 times as far.

    Args:
        scene: where to look.
        index: the thing to start from.
        direction: where to look from there, as seen in the picture.

    Returns:
        The index of the neighbour, or None when there is none or it is not clear which.
    """
    x0, y0 = scene.objects[index].centre
    distances: list[tuple[float, int]] = []
    for other, thing in enumerate(scene.objects):
        dx, dy = thing.centre[0] - x0, thing.centre[1] - y0
        ahead = {"left": -dx, "right": dx, "above": -dy, "below": dy}[direction]
        aside = abs(dy) if direction in ("left", "right") else abs(dx)
        if other != index and ahead >= MIN_SHIFT * scene.picture.shape[1] and aside < 0.9 * ahead:
            distances.append((ahead, other))
    distances.sort()
    if not distances or (len(distances) > 1 and distances[1][0] < 1.3 * distances[0][0]):
        return None
    return distances[0][1]


def caption(scene: Scene, language: Language) -> str:
    """The one caption of a scene in a language.

    Things are named from left to right (a collage's row by row), equal ones together.
    """
    if scene.kind == "collage":
        names = [CONCEPTS[o.name].word(language) for o in scene.objects]
        return f"{_count_things(9, language)}: {phrases.listed(names, language)}"
    if not scene.objects:
        if not scene.pattern_colours:
            return CONCEPTS[scene.background].word(language)
        return _pattern_words(scene, language)
    things = [phrases.noun_phrase(o.name, o.colour, number, language) for o, number in _grouped(scene)]
    return phrases.on_ground(phrases.listed(things, language), scene.background, language)


def _count_things(number: int, language: Language) -> str:
    joiner = "个" if language == "zh" else " "
    return phrases.NUMBERS[number][language] + joiner + phrases.THINGS[language]


def _pattern_words(scene: Scene, language: Language) -> str:
    order = [c.key for c in COLOURS]
    colours = [CONCEPTS[c] for c in sorted(scene.pattern_colours, key=order.index)]
    noun = CONCEPTS[scene.background].word(language)
    if language == "de":
        return phrases.listed([c.german_plural + "e" for c in colours], "de") + " " + noun
    joiner = "" if language == "zh" else " "
    return phrases.listed([c.word(language) for c in colours], language) + joiner + noun


def _grouped(scene: Scene) -> list[tuple[PlacedObject, int]]:
    """Things from left to right, each name once, with how often it is there."""
    names = [o.name for o in scene.objects]
    seen: dict[str, PlacedObject] = {}
    for thing in sorted(scene.objects, key=lambda o: o.centre):
        seen.setdefault(thing.name, thing)
    return [(thing, names.count(name)) for name, thing in seen.items()]


def _pick(rng: np.random.Generator, kind: str, language: Language) -> str:
    templates = ASK[kind][language]
    return templates[int(rng.integers(len(templates)))]


def _singles(scene: Scene) -> list[int]:
    """Indices of the things whose name occurs once."""
    names = [o.name for o in scene.objects]
    return [i for i, name in enumerate(names) if names.count(name) == 1]


def _what(scene: Scene, rng: np.random.Generator, language: Language) -> Question | None:
    prompt = _pick(rng, "what", language)
    about = tuple(range(len(scene.objects)))
    if scene.kind == "collage":
        answer = _count_things(9, language)
    elif not scene.objects:
        answer = CONCEPTS[scene.background].word(language)
    else:
        words = [
            CONCEPTS[o.name].word(language) if n == 1 else phrases.noun_phrase(o.name, None, n, language)
            for o, n in _grouped(scene)
        ]
        answer = phrases.listed(words, language)
    if scene.kind == "one" and rng.random() < 0.3:
        category = CONCEPTS[scene.objects[0].name].category
        article = phrases.category_article(category)
        word = CATEGORIES[category][language]
        prompt = _pick(rng, "what_category", language).format(category=word, ein=article)
    return Question("what", language, prompt, answer, about)


def _caption(scene: Scene, rng: np.random.Generator, language: Language) -> Question | None:
    about = tuple(range(len(scene.objects)))
    prompt = _pick(rng, "caption", language)
    return Question("caption", language, prompt, caption(scene, language), about)


def _colour(scene: Scene, rng: np.random.Generator, language: Language) -> Question | None:
    shapes = [i for i in _singles(scene) if scene.objects[i].colour]
    if not shapes:
        return None
    index = int(rng.choice(shapes))
    thing = scene.objects[index]
    prompt = phrases.fill(_pick(rng, "colour", language), language, CONCEPTS[thing.name])
    answer = CONCEPTS[thing.colour or ""].word(language)
    return Question("colour", language, prompt, answer, (index,))


def _count(scene: Scene, rng: np.random.Generator, language: Language) -> Question | None:
    if not scene.objects:
        return None
    names = [o.name for o in scene.objects]
    repeated = sorted({n for n in names if names.count(n) > 1})
    template = _pick(rng, "count", language)
    if rng.random() < 0.5:
        word = phrases.THINGS[language]
        prompt = template.format(thing=word, things=word)
        about = tuple(range(len(names)))
    else:
        name = str(rng.choice(repeated if repeated and rng.random() < 0.7 else names))
        prompt = phrases.fill(template, language, CONCEPTS[name])
        about = tuple(i for i, n in enumerate(names) if n == name)
    return Question("count", language, prompt, phrases.NUMBERS[len(about)][language], about)


def _exists(scene: Scene, rng: np.random.Generator, language: Language) -> Question | None:
    names = [o.name for o in scene.objects]
    if names and rng.random() < 0.5:
        name = str(rng.choice(names))
    else:
        absent = [c.key for c in (*OBJECTS, *SHAPES) if c.key not in names]
        name = str(rng.choice(absent))
    prompt = phrases.fill(_pick(rng, "exists", language), language, CONCEPTS[name])
    about = tuple(i for i, n in enumerate(names) if n == name)
    answer = (phrases.YES if about else phrases.NO)[language]
    return Question("exists", language, prompt, answer, about)


def _related(
    scene: Scene, rng: np.random.Generator, starts: list[int], ends: set[int]
) -> tuple[int, Direction, int] | None:
    pairs: list[tuple[int, Direction, int]] = [
        (start, direction, end)
        for start in starts
        for direction in DIRECTIONS
        if (end := neighbour(scene, start, direction)) is not None and end in ends
    ]
    return pairs[int(rng.integers(len(pairs)))] if pairs else None


def _relation(scene: Scene, rng: np.random.Generator, language: Language) -> Question | None:
    found = _related(scene, rng, _singles(scene), set(range(len(scene.objects))))
    if found is None:
        return None
    start, direction, end = found
    thing = CONCEPTS[scene.objects[start].name]
    side = phrases.SIDES[direction][language]
    prompt = phrases.fill(_pick(rng, "relation", language), language, thing, side=side)
    answer = CONCEPTS[scene.objects[end].name].word(language)
    return Question("relation", language, prompt, answer, (start, end))


def _two_step(scene: Scene, rng: np.random.Generator, language: Language) -> Question | None:
    shapes = {i for i, o in enumerate(scene.objects) if o.colour}
    tints = [o.colour for o in scene.objects]
    by_colour = [i for i in shapes if tints.count(scene.objects[i].colour) == 1]
    to_colour = rng.random() < 0.5
    starts, ends = (_singles(scene), shapes) if to_colour else (by_colour, set(range(len(scene.objects))))
    found = _related(scene, rng, starts, ends)
    if found is None:
        return None
    start, direction, end = found
    side = phrases.SIDES[direction][language]
    first, last = scene.objects[start], scene.objects[end]
    if to_colour:
        template = _pick(rng, "two_step_colour", language)
        prompt = phrases.fill(template, language, CONCEPTS[first.name], side=side)
        answer: Concept = CONCEPTS[last.colour or ""]
    else:
        tint = CONCEPTS[first.colour or ""]
        word = tint.german_plural if language == "de" else tint.word(language)
        prompt = _pick(rng, "two_step_thing", language).format(side=side, colour=word)
        answer = CONCEPTS[last.name]
    return Question("two_step", language, prompt, answer.word(language), (start, end))


def _background(scene: Scene, rng: np.random.Generator, language: Language) -> Question | None:
    template = _pick(rng, "background", language)
    thing = CONCEPTS[str(rng.choice([o.name for o in scene.objects]))] if scene.objects else None
    if thing is None:
        template = ASK["background"][language][0]
    prompt = phrases.fill(template, language, thing)
    answer = CONCEPTS[scene.background].word(language)
    return Question("background", language, prompt, answer, ())


_MAKERS = {
    "what": _what,
    "colour": _colour,
    "count": _count,
    "exists": _exists,
    "relation": _relation,
    "background": _background,
    "two_step": _two_step,
    "caption": _caption,
}
