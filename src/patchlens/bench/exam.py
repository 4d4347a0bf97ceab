"""Pictures in batches: one to choose layers and thresholds on, and fresh ones, seed by seed, to report on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from patchlens.bench.labels import scene_forms
from patchlens.errors import SelectionError
from patchlens.scenes.questions import ask
from patchlens.scenes.scene import make_scene
from patchlens.scenes.truth import Labelled, labelled_scene

REPORT_SEEDS: Final = 50_000_000
"""First scene reported on, each further seed a million on; nothing is fitted or trained there."""
VALIDATION_SEEDS: Final = 9_000_000
_BETWEEN: Final = 1_000_000
MOST_SEEDS: Final = 100


@dataclass(frozen=True)
class Batch:
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
    validation: Batch
    seeds: tuple[Batch, ...]
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
        tuple(_drawn(REPORT_SEEDS + number * _BETWEEN, scenes) for number in range(seeds)),
        has_captions=True,
    )


def check_size(seeds: int, scenes: int) -> None:
    """Refuse sizes that give no interval.

    Raises:
        SelectionError: naming the one that is wrong.
    """
    if not 2 <= seeds <= MOST_SEEDS:
        raise SelectionError(
            f"{seeds} seeds give no interval that can be used: choose 2 to {MOST_SEEDS}, 5 or more"
        )
    if not 2 <= scenes <= _BETWEEN // 2:
        raise SelectionError(f"{scenes} scenes per seed cannot be scored: choose 2 or more, 20 if unsure")


def _drawn(first: int, count: int) -> Batch:
    return Batch(first, tuple(partial(drawn, first + i) for i in range(count)))


def drawn(seed: int) -> Labelled:
    """The scene of a seed with the question of that seed."""
    scene, rng = make_scene(seed), np.random.default_rng([seed, 31])
    while (question := ask(scene, rng)) is None:
        pass  # not every scene allows every kind of question
    return labelled_scene(scene, question)
