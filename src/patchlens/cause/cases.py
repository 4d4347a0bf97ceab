"""What an experiment is made on: your pictures with their questions, or drawn scenes whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

from patchlens.data.item import Item
from patchlens.data.read import read_items
from patchlens.data.scenes import Ask, asked_scenes
from patchlens.errors import SelectionError
from patchlens.pictures.open import PICTURE_SUFFIXES, PictureLike
from patchlens.scenes.seeds import BETWEEN, MOST_SEEDS, REPORT_SEEDS

_MOST_SCENES: Final = 2500

CasesLike = PictureLike | Sequence[Item]
"""What experiments are made on, as `as_cases` takes it."""


def as_cases(data: CasesLike, prompt: str | None = None) -> tuple[Item, ...]:
    """Cases of whatever people have.

    Args:
        data: a picture, items, or where `patchlens.read_items` finds them.
        prompt: what to ask of the picture, or of each of a folder.

    Raises:
        SelectionError: a picture without a question, an item without a picture, or nothing at all.
        DataError: as `patchlens.read_items`.
    """
    if isinstance(data, (str, Path)) and Path(data).suffix.lower() not in PICTURE_SUFFIXES:
        cases = read_items(data, prompt)
    elif isinstance(data, (list, tuple)):
        cases = tuple(data)
    else:
        if not prompt:
            raise SelectionError("say with prompt= what to ask of the picture")
        picture = cast("PictureLike", data)
        name = Path(picture).name if isinstance(picture, (str, Path)) else "the picture"
        cases = (Item(name, prompt, (picture,)),)
    if not cases:
        raise SelectionError("there are no cases: give one item or more")
    for case in cases:
        if not case.pictures:
            raise SelectionError(f"{case.name} has no picture: an experiment on patches needs one")
    return cases


def about_cases(cases: Sequence[Item]) -> str:
    """What cases are, in words, where nobody said."""
    return cases[0].name if len(cases) == 1 else f"{len(cases)} cases"


def drawn_cases(ask: Ask, seeds: int, scenes: int, *, first: int = REPORT_SEEDS) -> tuple[Item, ...]:
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
    starts = range(first, first + seeds * BETWEEN, BETWEEN)
    return tuple(replace(case, group=str(n)) for n in starts for case in asked_scenes(ask, n, scenes))
