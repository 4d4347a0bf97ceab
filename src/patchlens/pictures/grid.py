"""Which pixels of the original picture an image token stands for: resize, crop, pad, tiles and merges.

Everything here is pure arithmetic. A processor turns a picture into one canvas or several tiles, each cut
into patches in reading order; every such canvas is an axis-aligned region of the original picture's plane,
so one `Tile` (a region split evenly into rows and columns) is all the geometry a family has to state.
Coordinates are pixels of the original picture, x to the right, y down, a pixel covering [i, i + 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchlens.axes import PositionKind

VISIBLE = 1e-6  # pixels; a patch whose part inside the picture is thinner than this shows nothing of it


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

    ``kind`` holds `PositionKind` values as strings. ``image``, ``tile``, ``row`` and ``col`` (on the
    picture's grid) are -1 and ``box`` (left, top, right, bottom in pixels of the original, clipped to it)
    is NaN where there is none; exactly the rows of kind "patch" have all of them.
    """

    kind: NDArray[np.character[Any]]
    image: NDArray[np.int32]
    tile: NDArray[np.int32]
    row: NDArray[np.int32]
    col: NDArray[np.int32]
    box: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.kind)


@dataclass(frozen=True)
class Canvas:
    """What a processor holds while it works: ``width`` x ``height`` pixels showing a region of the original.

    The steps of every processor are compositions of `resized` and `window`; `cut` ends them.
    """

    width: int
    height: int
    left: float
    top: float
    right: float
    bottom: float

    @staticmethod
    def of(width: int, height: int) -> Canvas:
        """The picture itself, before any processing."""
        return Canvas(width, height, 0.0, 0.0, float(width), float(height))

    def resized(self, width: int, height: int) -> Canvas:
        """The same region on another number of pixels."""
        return Canvas(width, height, self.left, self.top, self.right, self.bottom)

    def window(self, x: int, y: int, width: int, height: int) -> Canvas:
        """``width`` x ``height`` pixels from (x, y) on; what lies outside the canvas is padding."""
        per_x = (self.right - self.left) / self.width
        per_y = (self.bottom - self.top) / self.height
        left, top = self.left + x * per_x, self.top + y * per_y
        return Canvas(width, height, left, top, left + width * per_x, top + height * per_y)

    def cut(self, patch: int, *, index: int = 0, row: int = 0, col: int = 0) -> Tile:
        """Cut into square patches of ``patch`` pixels, without the remainder, as a convolution does."""
        rows, cols = self.height // patch, self.width // patch
        used = self.window(0, 0, cols * patch, rows * patch)
        return Tile(index, rows, cols, row, col, used.left, used.top, used.right, used.bottom)


def shortest_edge_size(width: int, height: int, edge: int) -> tuple[int, int]:
    """Size (width, height) after scaling the shorter side to ``edge``; the longer one is rounded down."""
    short, long = min(width, height), max(width, height)
    scaled = int(edge * long / short)
    return (edge, scaled) if width <= height else (scaled, edge)


def centred(canvas: Canvas, width: int, height: int, *, odd_padding_first: bool = True) -> Canvas:
    """Crop or pad to ``width`` x ``height`` around the middle.

    An odd pixel is cropped from the right and bottom; where padding is needed instead, the odd pixel goes
    to the left and top if ``odd_padding_first`` (the PIL processors) and to the right and bottom otherwise.
    """

    def start(have: int, want: int) -> int:
        if have >= want:
            return (have - want) // 2
        return -((want - have + 1) // 2) if odd_padding_first else -((want - have) // 2)

    return canvas.window(start(canvas.width, width), start(canvas.height, height), width, height)


def padded_square(canvas: Canvas) -> Canvas:
    """Pad the shorter side on both ends to a square, an odd pixel going to the right or bottom."""
    side = max(canvas.width, canvas.height)
    return canvas.window(-((side - canvas.width) // 2), -((side - canvas.height) // 2), side, side)


def single_grid(width: int, height: int, canvas: Canvas, patch: int) -> Grid:
    """The grid of a picture seen as one canvas cut into patches of ``patch`` canvas pixels."""
    tile = canvas.cut(patch)
    return Grid(width, height, tile.rows, tile.cols, (tile,))


def tiled_grid(width: int, height: int, canvas: Canvas, tile_size: tuple[int, int], patch: int) -> Grid:
    """The grid of a canvas split into tiles of ``tile_size`` (width, height) pixels in reading order."""
    tile_width, tile_height = tile_size
    tiles: list[Tile] = []
    for down in range(canvas.height // tile_height):
        for across in range(canvas.width // tile_width):
            view = canvas.window(across * tile_width, down * tile_height, tile_width, tile_height)
            row, col = down * (tile_height // patch), across * (tile_width // patch)
            tiles.append(view.cut(patch, index=len(tiles), row=row, col=col))
    rows = max(tile.row + tile.rows for tile in tiles)
    cols = max(tile.col + tile.cols for tile in tiles)
    return Grid(width, height, rows, cols, tuple(tiles))


def tile_boxes(tile: Tile) -> NDArray[np.float64]:
    """Boxes ``[rows, cols, 4]`` (left, top, right, bottom) of a tile's patches, not clipped."""
    x = np.linspace(tile.left, tile.right, tile.cols + 1)
    y = np.linspace(tile.top, tile.bottom, tile.rows + 1)
    boxes = np.empty((tile.rows, tile.cols, 4))
    boxes[..., 0], boxes[..., 2] = x[:-1], x[1:]
    boxes[..., 1], boxes[..., 3] = y[:-1, None], y[1:, None]
    return boxes


def boxes(grid: Grid) -> NDArray[np.float64]:
    """Boxes ``[rows, cols, 4]`` of a picture's patches, clipped to it; NaN where only padding shows."""
    table = np.full((grid.rows, grid.cols, 4), np.nan)
    for tile in grid.tiles:
        table[tile.row : tile.row + tile.rows, tile.col : tile.col + tile.cols] = _clipped(tile, grid)
    return table


def boxes_of(patches: Places, grids: Sequence[Grid]) -> NDArray[np.float64]:
    """Boxes ``[patch, 4]`` of some patches of these pictures, as `boxes` gives them, in double precision.

    Args:
        patches: places that are patches, all of them.
        grids: of the pictures, by their number.
    """
    table = np.full((len(patches), 4), np.nan)
    for image, grid in enumerate(grids):
        here = patches.image == image
        table[here] = boxes(grid)[patches.row[here], patches.col[here]]
    return table


def patch_places(grid: Grid, image: int) -> Places:
    """The patches of picture number ``image`` in token order: tile after tile, each in reading order.

    A patch that shows only padding is `image_other` and keeps its tile, row and column, but has no box.
    """
    return joined([_tile_places(tile, grid, image) for tile in grid.tiles])


def plain_places(kinds: Sequence[PositionKind], image: int = -1, tile: int = -1) -> Places:
    """Positions without a place in a picture; ``image`` and ``tile`` say which one a marker belongs to."""
    n = len(kinds)
    nowhere = np.full(n, -1, dtype=np.int32)
    return Places(
        kind=np.array([kind.value for kind in kinds], dtype=np.str_),
        image=np.full(n, image, dtype=np.int32),
        tile=np.full(n, tile, dtype=np.int32),
        row=nowhere,
        col=nowhere.copy(),
        box=np.full((n, 4), np.nan, dtype=np.float32),
    )


def part(places: Places, rows: slice | NDArray[np.integer[Any]]) -> Places:
    """Some rows of a table of places."""
    return Places(
        kind=places.kind[rows],
        image=places.image[rows],
        tile=places.tile[rows],
        row=places.row[rows],
        col=places.col[rows],
        box=places.box[rows],
    )


def joined(parts: Sequence[Places]) -> Places:
    """Places one after another."""
    if not parts:
        return plain_places(())
    return Places(
        kind=np.concatenate([places.kind for places in parts]),
        image=np.concatenate([places.image for places in parts]),
        tile=np.concatenate([places.tile for places in parts]),
        row=np.concatenate([places.row for places in parts]),
        col=np.concatenate([places.col for places in parts]),
        box=np.concatenate([places.box for places in parts]),
    )


def _clipped(tile: Tile, grid: Grid) -> NDArray[np.float64]:
    table = tile_boxes(tile)
    table[..., 0::2] = np.clip(table[..., 0::2], 0.0, grid.width)
    table[..., 1::2] = np.clip(table[..., 1::2], 0.0, grid.height)
    hidden = (table[..., 2] - table[..., 0] < VISIBLE) | (table[..., 3] - table[..., 1] < VISIBLE)
    table[hidden] = np.nan
    return table


def _tile_places(tile: Tile, grid: Grid, image: int) -> Places:
    table = _clipped(tile, grid).reshape(-1, 4)
    shown = np.isfinite(table[:, 0])
    row, col = np.divmod(np.arange(len(table)), tile.cols)
    return Places(
        kind=np.where(shown, PositionKind.PATCH.value, PositionKind.IMAGE_OTHER.value),
        image=np.full(len(table), image, dtype=np.int32),
        tile=np.full(len(table), tile.index, dtype=np.int32),
        row=(row + tile.row).astype(np.int32),
        col=(col + tile.col).astype(np.int32),
        box=table.astype(np.float32),
    )
