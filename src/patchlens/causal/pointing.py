"""Which patches a map points at, those around them, and blocks that cover a picture: by number."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patchlens.errors import SelectionError
from patchlens.pictures.grid import Places

Numbers = NDArray[np.int64]
"""Numbers of patches, as `patchlens.causal.patch_numbers` counts them."""


@dataclass(frozen=True)
class Above:
    """Patches where the word has at least ``share`` of the probability that it has at its best patch."""

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise SelectionError(f"a share of the map's maximum is over 0 and at most 1, got {self.share}")

    def chosen(self, scores: NDArray[np.floating]) -> Numbers:
        """Numbers of the patches, of log-probabilities ``[patch]``; the best is always among them."""
        return np.flatnonzero(scores >= scores.max() + np.log(self.share))

    def __str__(self) -> str:
        return f"at least {self.share:g} of the map's highest probability"


@dataclass(frozen=True)
class Top:
    """A share of all patches, rounded up, the highest of the map."""

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise SelectionError(f"a share of the patches is over 0 and under 1, got {self.share}")

    def chosen(self, scores: NDArray[np.floating]) -> Numbers:
        """Numbers of the patches; of equal ones the first."""
        return np.sort(np.argsort(-scores, kind="stable")[: self.count(len(scores))])

    def count(self, total: int) -> int:
        """How many of so many patches."""
        return math.ceil(round(self.share * total, 9))

    def __str__(self) -> str:
        return f"the highest values of the map, {self.share:g} of all"


Pointing = Above | Top
"""How many patches of a map a lens is said to point at.

Of a lens's maps at several layers, the map is the highest of each patch: ``values.max(0)``.
"""


def patch_grid(places: Places) -> NDArray[np.int64]:
    """Picture, row and column of every place, ``[patch, 3]``."""
    return np.stack([places.image, places.row, places.col], 1).astype(np.int64)


def around(grid: NDArray[np.int64], chosen: Numbers, rng: np.random.Generator) -> Numbers:
    """The patches nearest to some, as many as these, or all that are left if they are fewer.

    Args:
        grid: `patch_grid`.
        chosen: which the ring is to lie around.
        rng: draws among those that are equally near.

    Returns:
        Numbers, rising. Nearness is by rows or columns, whichever differ more, within a picture; patches of
        pictures in which none was chosen come last.
    """
    steps = np.abs(grid[:, None, 1:] - grid[None, chosen, 1:]).max(2).astype(np.float64)
    steps[grid[:, None, 0] != grid[None, chosen, 0]] = np.inf
    distance = steps.min(1)
    others = np.setdiff1d(np.arange(len(grid)), chosen)
    shuffled = rng.permutation(others)
    return np.sort(shuffled[np.argsort(distance[shuffled], kind="stable")][: len(chosen)])


@dataclass(frozen=True)
class PatchBlock:
    """The patches around one, itself included; ``centre`` and ``patches`` are numbers."""

    centre: int
    patches: Numbers


def blocks(grid: NDArray[np.int64], side: int, step: int = 1) -> list[PatchBlock]:
    """Blocks of ``side`` x ``side`` patches around every ``step``-th patch across and down, cut at the edges.

    With a side over the step they overlap, as the windows of occlusion maps do (Zeiler & Fergus 2014).

    Args:
        grid: `patch_grid`.
        side: patches across; of an even number the block reaches one further down and right.
        step: from one centre to the next.

    Raises:
        SelectionError: either is under 1, or there is no patch where a centre should be.
    """
    if side < 1 or step < 1:
        raise SelectionError(f"blocks are 1 patch wide or more, and as far apart: got {side} and {step}")
    on = (grid[:, 1:] % step == step // 2).all(1)
    centres = np.flatnonzero(on)
    if not centres.size:
        raise SelectionError(f"with a step of {step} no block fits the picture: choose a smaller one")
    low, high = (side - 1) // 2, side // 2
    made: list[PatchBlock] = []
    for centre in centres.tolist():
        away = grid[:, 1:] - grid[centre, 1:]
        near = ((away >= -low) & (away <= high)).all(1) & (grid[:, 0] == grid[centre, 0])
        made.append(PatchBlock(centre, np.flatnonzero(near)))
    return made
