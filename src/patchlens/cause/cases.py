"""What an experiment is made on: your pictures with their questions, or drawn scenes whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

from patchlens.data.item import Item
from patchlens.data.read import read_items
from patchlens.data.scenes import Ask, asked_scenes
from patchlens.errors import SelectionError
from patchlens.pictures.open import PICTURE_SUFFIXES, OpenedPicture, PictureLike
from patchlens.scenes.seeds import BETWEEN, MOST_SEEDS, REPORT_SEEDS
from patchlens.scenes.truth import Labelled

_MOST_SCENES: Final = BETWEEN // 400
"""Of each seed, so that the scenes that are passed over do not reach those of the next."""


@dataclass(frozen=True)
class Case:
    """An item that has pictures; ``name`` is its own among all cases.

    ``group`` is the seed of a drawn scene, and ``truth`` what is known of it; None of either for a picture
    of yours.
    """

    name: str
    prompt: str
    item: Item = field(repr=False)
    truth: Labelled | None = field(default=None, repr=False)
    group: int | None = None

    def open(self) -> tuple[OpenedPicture, ...]:
        """Open or draw the pictures.

        Raises:
            ImageError: one cannot be read; says which.
        """
        return self.item.open()


CasesLike = PictureLike | Sequence[Item] | Sequence[Case]
"""What experiments are made on, as `as_cases` takes it."""


def own_cases(items: Sequence[Item]) -> tuple[Case, ...]:
    """Cases of pictures or scenes as `patchlens.data.read.read_items` reads them.

    Raises:
        SelectionError: an item has no picture, so there is nothing to intervene on.
    """
    for item in items:
        if not item.pictures:
            raise SelectionError(f"{item.name} has no picture: an experiment on patches needs one")
    return tuple(Case(item.name, item.prompt, item) for item in items)


def as_cases(data: CasesLike, prompt: str | None = None) -> tuple[Case, ...]:
    """Cases of whatever people have.

    Args:
        data: a picture, a folder, a ``.jsonl`` file, ``scenes:N``, items, or cases as they are.
        prompt: what to ask of the picture, or of each of a folder.

    Raises:
        SelectionError: a picture without a question, an item without a picture, or nothing at all.
        DataError: as `patchlens.data.read.read_items`.
    """
    if isinstance(data, (str, Path)) and Path(data).suffix.lower() not in PICTURE_SUFFIXES:
        return own_cases(read_items(data, prompt))
    if not isinstance(data, (list, tuple)):
        if not prompt:
            raise SelectionError("say with prompt= what to ask of the picture")
        picture = cast("PictureLike", data)
        name = Path(picture).name if isinstance(picture, (str, Path)) else "the picture"
        return own_cases([Item(name, prompt, (picture,))])
    if not data:
        raise SelectionError("there are no cases: give one item or more")
    return tuple(each if isinstance(each, Case) else own_cases([each])[0] for each in data)


def about_cases(cases: Sequence[Case]) -> str:
    """What cases are, in words, where nobody said."""
    return cases[0].name if len(cases) == 1 else f"{len(cases)} cases"


def drawn_cases(ask: Ask, seeds: int, scenes: int, *, first: int = REPORT_SEEDS) -> tuple[Case, ...]:
    """Drawn scenes that allow a kind of question, seed by seed.

    Args:
        ask: asks the question; a scene that it passes over is not taken.
        seeds: how many batches, each of scenes that no other has.
        scenes: scenes of each.
        first: the first scene of the first seed; nothing is fitted, trained or chosen from `REPORT_SEEDS` on.

    Raises:
        SelectionError: sizes out of range.
        DataError: hardly any scene allows the question.
    """
    if not 1 <= seeds <= MOST_SEEDS or not 1 <= scenes <= _MOST_SCENES:
        raise SelectionError(
            f"{seeds} seeds of {scenes} scenes: choose 1 to {MOST_SEEDS} seeds and 1 to {_MOST_SCENES} scenes"
        )
    starts = [first + number * BETWEEN for number in range(seeds)]
    return tuple(
        Case(item.name, item.prompt, item, None if item.truth is None else item.truth(), start)
        for start in starts
        for item in asked_scenes(ask, start, scenes)
    )
