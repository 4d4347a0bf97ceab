"""Which patches lie in a part of a picture: a box or a mask, said in the picture's own pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from patchlens.axes import PositionKind
from patchlens.errors import SelectionError
from patchlens.pictures.grid import Grid, Places


@dataclass(frozen=True)
class Box:
    """A rectangle of picture number ``image``, in pixels of the original: x to the right, y down.

    Raises:
        SelectionError: it has no area.
    """

    left: float
    top: float
    right: float
    bottom: float
    image: int = 0

    def __post_init__(self) -> None:
        if not (self.left < self.right and self.top < self.bottom):
            raise SelectionError(f"{self} has no area: write Box(left, top, right, bottom), left < right")


Region = Box | ArrayLike
"""A `Box`, or a boolean mask [height, width] of a picture's pixels or [rows, cols] of its patch grid."""


def patches_in(places: Places, grids: Sequence[Grid], where: Region, image: int = 0) -> NDArray[np.intp]:
    """Numbers of the patches whose centre lies in a part of a picture.

    The centre is that of what the patch shows of the picture, its padding left out.

    Args:
        places: what stands where patches do, all patches among it: of the sequence, or of the vision states.
        grids: of the pictures.
        where: a box, or a mask.
        image: which picture a mask is of; a box says it itself.

    Returns:
        [chosen], rising: patches are counted from 0 over all pictures, in the order in which they stand.

    Raises:
        SelectionError: there is no such picture, the mask is none of it, or no centre lies there.
    """
    image = where.image if isinstance(where, Box) else image
    if not 0 <= image < len(grids):
        raise SelectionError(f"there is no picture {image}: {len(grids)} were given")
    patches = np.flatnonzero(places.kind == PositionKind.PATCH)
    own = np.flatnonzero(places.image[patches] == image)
    rows = patches[own]
    left, top, right, bottom = places.box[rows].T.astype(np.float64)
    x, y = (left + right) / 2, (top + bottom) / 2
    if isinstance(where, Box):
        inside = (where.left <= x) & (x < where.right) & (where.top <= y) & (y < where.bottom)
    else:
        mask, grid = _mask(where, grids[image]), grids[image]
        by_pixel = mask.shape == (grid.height, grid.width)
        inside = mask[y.astype(int), x.astype(int)] if by_pixel else mask[places.row[rows], places.col[rows]]
    if not inside.any():
        size = f"{np.median(right - left):.0f} x {np.median(bottom - top):.0f}" if len(rows) else "of no size"
        raise SelectionError(
            f"no patch of picture {image} has its centre there: its patches are {size} pixels of "
            f"{grids[image].width} x {grids[image].height}"
        )
    return own[inside]


def _mask(where: ArrayLike, grid: Grid) -> NDArray[np.bool_]:
    mask: NDArray[Any] = np.asarray(where)
    if mask.dtype != np.bool_ or mask.shape not in ((grid.height, grid.width), (grid.rows, grid.cols)):
        raise SelectionError(
            f"expected a Box, or a mask of booleans [{grid.height}, {grid.width}] (pixels) or [{grid.rows}, "
            f"{grid.cols}] (patches), got {mask.dtype} of shape {list(mask.shape)}"
        )
    return mask
