"""Drawn scenes as items: their truth is known, so what is expected follows from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import numpy as np

from patchlens.data.item import DrawnPicture, Item
from patchlens.errors import DataError
from patchlens.scenes.questions import Question
from patchlens.scenes.scene import Kind, Scene, make_scene
from patchlens.scenes.truth import Labelled, labelled_scene

_PASSED_OVER: Final = 200

Ask = Callable[[Scene, np.random.Generator], Question | None]
"""Asks a question about a scene, or passes it over."""


def asked_scenes(asks: Ask, first: int, count: int, kind: Kind | None = None) -> Iterator[Item]:
    """Drawn scenes that allow a question, each with it, its answer, and what is in the picture.

    Args:
        asks: asks the question; a scene that it passes over is not taken.
        first: seed of the first scene; those after it follow one by one.
        count: how many.
        kind: of scene; any if None.

    Raises:
        DataError: hardly any scene allows the question.
    """
    found = 0
    for seed in range(first, first + _PASSED_OVER * count):
        scene = make_scene(seed, kind)
        question = asks(scene, np.random.default_rng([seed, 31]))
        if question is None:
            continue
        picture = DrawnPicture(seed, kind)
        yield Item(
            f"scene {seed}",
            question.prompt,
            (picture,),
            expected=(question.answer,),
            concepts=things_of(scene),
            truth=partial(_labelled, picture, question),
        )
        found += 1
        if found == count:
            return
    raise DataError(f"only {found} of {count} scenes allow this question, of {_PASSED_OVER * count} drawn")


def prompted_scenes(prompt: str, first: int, count: int, kind: Kind | None = None) -> Iterator[Item]:
    """Drawn scenes with a prompt of yours; nothing is drawn before it is wanted."""
    for seed in range(first, first + count):
        picture = DrawnPicture(seed, kind)
        question = Question("what", "en", prompt, "", ())
        yield Item(f"scene {seed}", prompt, (picture,), truth=partial(_labelled, picture, question))


def things_of(scene: Scene) -> tuple[str, ...]:
    """Names of what is in a scene; its ground where there is nothing on it."""
    return tuple(dict.fromkeys(thing.name for thing in scene.objects)) or (scene.background,)


def _labelled(picture: DrawnPicture, question: Question) -> Labelled:
    return labelled_scene(make_scene(picture.seed, picture.kind), question)
