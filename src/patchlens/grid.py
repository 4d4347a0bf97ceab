"""Which pixels of the original picture an image token stands for: resize, crop, pad, tiles and merges.

Everything here is pure arithmetic. A processor turns a picture into one canvas or several tiles, each cut
into patches in reading order; every such canvas is an axis-aligned region of the original picture's plane,
so one `Tile` (a region split evenly into rows and columns) is all the geometry a family has to state.
Coordinates are pixels of the original picture, x to the right, y down, a pixel covering [i, i + 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Tile:
    """A region of the picture's plane cut into ``rows`` x ``cols`` equal patches.

    ``row`` and ``col`` place its first patch on the picture's grid. The region may reach outside the
    picture where the processor pads.
    """

    index: int
    rows: int
    cols: int
    row: int
    col: int
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Grid:
    """All patches of one picture: ``rows`` x ``cols`` over its tiles; sizes of the original in pixels."""

    width: int
    height: int
    rows: int
    cols: int
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Places:
    """Where each of ``n`` positions (or vision states) stands, one NumPy column per fact.

    ``kind`` holds `PositionKind` values as strings. ``image``, ``tile``, ``row`` and ``col`` (on the picture's
    grid) are -1 and ``box`` (left, top, right, bottom in pixels of the original, clipped to it) is NaN where
    there is none; exactly the rows of kind "patch" have all of them.
    """

    kind: NDArray[np.str_]
    image: NDArray[np.int32]
    tile: NDArray[np.int32]
    row: NDArray[np.int32]
    col: NDArray[np.int32]
    box: NDArray[np.float32]
