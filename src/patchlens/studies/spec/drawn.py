"""Drawn scenes as items: their truth is known, so what is expected follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import numpy as np

from patchlens.errors import StudyError
from patchlens.scenes.phrases import QuestionKind
from patchlens.scenes.questions import QUESTION_KINDS, Question, ask
from patchlens.scenes.scene import KINDS, Kind, Scene, make_scene
from patchlens.scenes.vocabulary import LANGUAGES, Language
from patchlens.studies.spec.items import DrawnPicture, StudyItem
from patchlens.studies.spec.shared import TRUTH, Defaults, with_truth
from patchlens.studies.spec.values import choice_of, number_of

STUDY_SEEDS: Final = 70_000_000
"""First scene of a study; no model was trained, no lens fitted or chosen on these."""
MOST_SCENES: Final = 100_000
ANY: Final = "any"
_PASSED_OVER: Final = 200


def scene_items(value: Mapping[str, Any], defaults: Defaults, where: str) -> Iterator[StudyItem]:
    """Items of drawn scenes: of a kind, with a prompt of yours or questions whose answers are known.

    Raises:
        StudyError: a value is wrong, or hardly any scene allows the question.
    """
    kind = choice_of(value, "scenes", (*KINDS, ANY), where)
    asked = choice_of(value, "ask", (*QUESTION_KINDS, ANY), where)
    language = choice_of(value, "language", (*LANGUAGES, ANY), where)
    if (asked is None) == (defaults.prompt is None):
        raise StudyError(f'{where}: expected either "prompt" or "ask", a sort of question, such as what')
    count = number_of(value, "count", where, 1, MOST_SCENES) or 10
    seed = STUDY_SEEDS + (number_of(value, "seed", where, 0, MOST_SCENES) or 0) * 1000
    drawn = None if kind in (None, ANY) else cast("Kind", kind)
    found = 0
    for number in range(seed, seed + _PASSED_OVER * count):
        item = _scene(number, drawn, asked, language, defaults)
        if item is None:
            continue
        yield item
        found += 1
        if found == count:
            return
    raise StudyError(f"{where}: only {found} of {count} scenes allow this question")


def _scene(
    seed: int, kind: Kind | None, asked: str | None, language: str | None, defaults: Defaults
) -> StudyItem | None:
    picture = DrawnPicture(seed, kind)
    prompt, expected, concepts = defaults.prompt, defaults.expected, defaults.concepts
    if asked is not None or TRUTH in concepts:
        scene = make_scene(seed, kind)
        concepts = with_truth(concepts, [thing.name for thing in scene.objects] or [scene.background])
        if asked is not None:
            question = _asked(scene, asked, language)
            if question is None:
                return None
            prompt, expected = question.prompt, expected or (question.answer,)
    assert prompt is not None
    return StudyItem("", prompt, (picture,), expected, concepts, defaults.group)


def _asked(scene: Scene, kind: str, language: str | None) -> Question | None:
    return ask(
        scene,
        np.random.default_rng([scene.seed, 31]),
        None if kind == ANY else cast("QuestionKind", kind),
        None if language in (None, ANY) else cast("Language", language),
    )
