"""Who is meant: patches by number, groups of positions by name, positions by index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from patchlens.axes import POSITION, VISION, PositionKind, whole_numbers
from patchlens.errors import SelectionError
from patchlens.models.adapter import Adapter
from patchlens.models.inputs import Inputs
from patchlens.models.positions import word_positions
from patchlens.pictures.box import Box, Region, patches_in

GROUPS = ("all", "patches", "image", "text", "last", "answer")


@dataclass(frozen=True)
class Patches:
    """Some patches, by number: counted from 0 over all pictures, in the order in which they stand.

    `patch_numbers` says which number stands where on a picture's grid.
    """

    numbers: tuple[int, ...]

    def __init__(self, numbers: Iterable[int]) -> None:
        object.__setattr__(self, "numbers", tuple(int(number) for number in numbers))


PatchesLike = Patches | Sequence[int] | str | Region
"""Some patches: by number, "all", a `Box` in pixels, or a mask: of a picture's pixels or of its patch grid.

A mask is of the first picture, unless it has one value per patch of all pictures.
"""

Where = str | Patches | Sequence[int] | int
"""A group's name, a word of the prompt, patches, or positions (negative from the end of the prompt).

Groups: ``all`` positions; ``patches``; ``image``, the patches and whatever else belongs to a picture;
``text``, the prompt's text and special tokens before its last position; ``last``, the prompt's last position,
which predicts the first token of the answer; ``answer``, that one and all after it. Where the model reads
pictures by cross-attention, patches are vision states, and ``image`` means all of these and the markers in
the text.
"""


@dataclass(frozen=True)
class Found:
    """What a `Where` comes to: positions of the sequence, and rows of the vision states."""

    positions: tuple[int, ...] = ()
    states: tuple[int, ...] = ()


@dataclass(frozen=True)
class Stage:
    """One model and one prompt, in which an intervention finds its places."""

    adapter: Adapter
    inputs: Inputs

    @property
    def over(self) -> str:
        """Where patches stand: ``pos`` in the sequence, or ``vision`` beside it."""
        return POSITION if self.inputs.vision_places is None else VISION

    @cached_property
    def patches(self) -> NDArray[np.intp]:
        """Row of each patch, by number, in the sequence or in the vision states.

        Raises:
            SelectionError: there is no picture.
        """
        found = self.inputs.patches
        if not found.size:
            raise SelectionError(
                f"there is no picture in this prompt, so {self.adapter.name} has no patches here: give one"
            )
        return found

    def find(self, where: Where) -> Found:
        """Resolve names and numbers.

        Raises:
            SelectionError: a group, patch or position does not exist here, is named twice, or none is named.
        """
        if isinstance(where, Patches):
            return self._patches(where.numbers)
        if isinstance(where, str):
            if where not in GROUPS:
                return Found(positions=tuple(word_positions(self.adapter, self.inputs, where, GROUPS)))
            return self._group(where)
        return Found(positions=self._positions(whole_numbers(where, "position")))

    def numbers(self, patches: PatchesLike) -> tuple[int, ...]:
        """Numbers of some patches.

        Raises:
            SelectionError: one does not exist here, is named twice, or none is named.
        """
        if isinstance(patches, str):
            if patches != "all":
                raise SelectionError(f"patches are numbers, a Box, a mask or 'all', got {patches!r}")
            return tuple(range(len(self.patches)))
        if isinstance(patches, Patches):
            numbers = patches.numbers
        elif isinstance(patches, Box) or np.asarray(patches).dtype == np.bool_:
            numbers = self._inside(patches)
        else:
            numbers = whole_numbers(patches, "patch")
        self._patches(numbers)
        return numbers

    def _inside(self, region: Region) -> tuple[int, ...]:
        mask = region if isinstance(region, Box) else np.asarray(region)
        if not isinstance(mask, Box) and mask.shape == (len(self.patches),):
            return tuple(np.flatnonzero(mask).tolist())
        return tuple(patches_in(self.inputs.shown, self.inputs.grids, mask).tolist())

    def _patches(self, numbers: Sequence[int]) -> Found:
        n = len(self.patches)
        for number in numbers:
            if not 0 <= number < n:
                raise SelectionError(f"patch {number} does not exist: this prompt has patches 0 to {n - 1}")
        _check_chosen(numbers, "patch")
        rows = tuple(self.patches[list(numbers)].tolist())
        return Found(positions=rows) if self.over == POSITION else Found(states=rows)

    def _group(self, name: str) -> Found:
        kind, n_prompt = self.inputs.places.kind, self.inputs.n_prompt
        rows = np.arange(len(self.inputs))
        if name == "patches":
            return self._patches(range(len(self.patches)))
        if name == "image":
            _ = self.patches  # refuses a prompt without a picture
            shown = np.isin(kind, (PositionKind.PATCH, PositionKind.IMAGE_OTHER))
            states = () if self.inputs.vision_places is None else range(len(self.inputs.vision_places))
            return Found(tuple(np.flatnonzero(shown).tolist()), tuple(states))
        chosen = {
            "all": rows >= 0,
            "text": np.isin(kind, (PositionKind.TEXT, PositionKind.SPECIAL)) & (rows < n_prompt - 1),
            "last": rows == n_prompt - 1,
            "answer": rows >= n_prompt - 1,
        }[name]
        if not chosen.any():
            raise SelectionError(f"there is no position of the group {name!r} in this prompt")
        return Found(positions=tuple(np.flatnonzero(chosen).tolist()))

    def _positions(self, wanted: Sequence[int]) -> tuple[int, ...]:
        n, end = len(self.inputs), self.inputs.n_prompt
        rows = [int(position) + (end if position < 0 else 0) for position in wanted]
        for position, row in zip(wanted, rows, strict=True):
            if not 0 <= row < n:
                raise SelectionError(f"position {position} does not exist: this prompt has 0 to {n - 1}")
        _check_chosen(rows, "position")
        return tuple(rows)


def patch_numbers(inputs: Inputs, image: int = 0) -> NDArray[np.int64]:
    """Number of each patch on a picture's grid: [rows, cols], -1 where there is none.

    Raises:
        SelectionError: there is no such picture.
    """
    if not 0 <= image < len(inputs.grids):
        raise SelectionError(f"there is no picture {image}: this prompt has {len(inputs.grids)}")
    places, grid = inputs.patch_places, inputs.grids[image]
    numbers = np.full((grid.rows, grid.cols), -1, np.int64)
    here = places.image == image
    numbers[places.row[here], places.col[here]] = np.flatnonzero(here)
    return numbers


def _check_chosen(numbers: Sequence[int], what: str) -> None:
    if not numbers:
        raise SelectionError(f"no {what} was chosen: name at least one")
    if len(set(numbers)) < len(numbers):
        twice = next(number for number in numbers if list(numbers).count(number) > 1)
        raise SelectionError(f"{what} {twice} was named twice")
