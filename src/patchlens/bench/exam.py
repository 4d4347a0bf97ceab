"""Pictures in batches: one to choose layers and thresholds on, and fresh ones, seed by seed, to report on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from patchlens.data.coco import annotated_items, annotations_in, category_forms
from patchlens.data.words import scene_forms
from patchlens.errors import DataError, SelectionError, naming
from patchlens.scenes.questions import ask
from patchlens.scenes.scene import make_scene
from patchlens.scenes.seeds import (
    BETWEEN,
    MOST_SEEDS,
    MOST_VALIDATION_SCENES,
    REPORT_SEEDS,
    VALIDATION_SEEDS,
)
from patchlens.scenes.truth import Labelled, labelled_scene

_PARTS_FOR_VALIDATION: Final = 2


@dataclass(frozen=True)
class PictureBatch:
    """Pictures that are scored together, each drawn or opened when it is wanted."""

    seed: int
    pictures: tuple[Callable[[], Labelled], ...]


@dataclass(frozen=True)
class Exam:
    """What models are scored on, and the words that count.

    ``forms`` holds every form of each concept's word, ``things`` the concepts that a false name can be of.
    Layers and thresholds are chosen on ``validation``; ``seeds`` are reported on, each of other pictures.
    ``has_captions`` says whether pictures have sentences that name what they show.
    """

    about: str
    forms: Mapping[str, tuple[str, ...]]
    things: tuple[str, ...]
    validation: PictureBatch
    seeds: tuple[PictureBatch, ...]
    has_captions: bool = False


def drawn_exam(seeds: int, scenes: int) -> Exam:
    """Drawn scenes of all kinds, each with a question and its true answer in one of three languages.

    Args:
        seeds: how many batches to report on, 2 to 100.
        scenes: pictures of each; twice as many for validation.

    Raises:
        SelectionError: too few for an interval, or too many for seeds to keep apart.
    """
    check_size(seeds, scenes)
    forms, things = scene_forms()
    return Exam(
        f"drawn scenes, {scenes} for each of {seeds} seeds",
        forms,
        things,
        _drawn(VALIDATION_SEEDS, 2 * scenes),
        tuple(_drawn(REPORT_SEEDS + number * BETWEEN, scenes) for number in range(seeds)),
        has_captions=True,
    )


def annotated_exam(folder: Path, seeds: int, scenes: int, prompt: str) -> Exam:
    """Deal annotated pictures, in an order that depends on their ids only, to validation and seeds.

    Args:
        folder: pictures and one ``.json`` file of annotations in COCO's format.
        seeds: how many batches to report on.
        scenes: most pictures of each; twice as many for validation.
        prompt: what is asked of every picture.

    Raises:
        SelectionError: too few seeds or scenes for an interval.
        DataError: the annotations cannot be read, or there are too few pictures.
    """
    check_size(seeds, scenes)
    content = annotations_in(folder)
    with naming(f"the annotations in {folder}"):
        forms, items = category_forms(content), annotated_items(content, folder, prompt)
    size = min(scenes, len(items) // (seeds + _PARTS_FOR_VALIDATION))
    if size < 2:
        needed = 2 * (seeds + _PARTS_FOR_VALIDATION)
        raise DataError(
            f"{folder} has {len(items)} pictures: {seeds} seeds and validation need at least {needed}"
        )
    truths = [item.truth for item in items if item.truth is not None]
    dealt = [truths[i] for i in np.random.default_rng(0).permutation(len(truths))]
    first = _PARTS_FOR_VALIDATION * size
    batches = (
        PictureBatch(n + 1, tuple(dealt[first + n * size : first + (n + 1) * size])) for n in range(seeds)
    )
    about = f"{folder.name}, {size} pictures for each of {seeds} seeds"
    return Exam(about, forms, tuple(forms), PictureBatch(0, tuple(dealt[:first])), tuple(batches))


def check_size(seeds: int, scenes: int) -> None:
    """Refuse sizes that give no interval.

    Raises:
        SelectionError: naming the one that is wrong.
    """
    if not 2 <= seeds <= MOST_SEEDS:
        raise SelectionError(
            f"{seeds} seeds give no interval that can be used: choose 2 to {MOST_SEEDS}, 5 or more"
        )
    if not 2 <= scenes <= MOST_VALIDATION_SCENES // 2:
        raise SelectionError(f"{scenes} scenes per seed cannot be scored: choose 2 or more, 20 if unsure")


def _drawn(first: int, count: int) -> PictureBatch:
    return PictureBatch(first, tuple(partial(drawn, first + i) for i in range(count)))


def drawn(seed: int) -> Labelled:
    """The scene of a seed with the question of that seed."""
    scene, rng = make_scene(seed), np.random.default_rng([seed, 31])
    while (question := ask(scene, rng)) is None:
        pass  # not every scene allows every kind of question
    return labelled_scene(scene, question)
