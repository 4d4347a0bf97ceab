"""Text without a picture: what the language model learns before it sees."""

from __future__ import annotations

import numpy as np

from patchlens.scenes import phrases
from patchlens.scenes.phrases import SIDES
from patchlens.scenes.questions import DIRECTIONS, Question, ask, caption, neighbour
from patchlens.scenes.scene import Scene
from patchlens.scenes.vocabulary import CATEGORIES, CONCEPTS, OBJECTS, SHAPES

NAMED = [c for c in CONCEPTS.values() if c.sort != "pattern"]


def text_only(scene: Scene, rng: np.random.Generator) -> tuple[str, str]:
    """A prompt without a picture, and its answer."""
    makers = (_translate, _category, _told, _told, _told_relation, _prior, _prior)
    made = makers[int(rng.integers(len(makers)))](scene, rng)
    return made or _translate(scene, rng)


def _translate(scene: Scene, rng: np.random.Generator) -> tuple[str, str]:
    concept = NAMED[int(rng.integers(len(NAMED)))]
    made = (
        (f"What is {concept.key} in German?", concept.german),
        (f"What is {concept.key} in Chinese?", concept.chinese),
        (f"Was ist {concept.german} auf Englisch?", concept.key),
        (f"{concept.chinese} in English?", concept.key),
    )
    return made[int(rng.integers(len(made)))]


def _category(scene: Scene, rng: np.random.Generator) -> tuple[str, str]:
    concept = (*OBJECTS, *SHAPES)[int(rng.integers(len(OBJECTS) + len(SHAPES)))]
    right = rng.random() < 0.5
    others = [c for c in CATEGORIES if c != concept.category]
    category = concept.category if right else str(rng.choice(others))
    subject = f"{phrases.english_article(concept.key)} {concept.key}"
    word = CATEGORIES[category]["en"]
    return f"Is {subject} {phrases.english_article(word)} {word}?", "yes" if right else "no"


def _told(scene: Scene, rng: np.random.Generator) -> tuple[str, str] | None:
    for _ in range(4):
        q: Question | None = ask(scene, rng)
        if q is not None and q.kind in ("colour", "count", "exists", "background", "caption"):
            shown = caption(scene, q.language)
            return f"{shown}. {q.prompt}", q.answer
    return None


def _told_relation(scene: Scene, rng: np.random.Generator) -> tuple[str, str] | None:
    q = ask(scene, rng, "relation", "en")
    if q is None:
        return None
    start, end = q.about
    direction = next(d for d in DIRECTIONS if neighbour(scene, start, d) == end)
    subject, other = (CONCEPTS[scene.objects[i].name].key for i in (end, start))
    return f"The {subject} is {SIDES[direction]['en']} the {other}. {q.prompt}", q.answer


def _prior(scene: Scene, rng: np.random.Generator) -> tuple[str, str] | None:
    q = ask(scene, rng)
    return (q.prompt, q.answer) if q is not None else None
