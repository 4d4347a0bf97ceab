import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from patchlens.axes import PositionKind
from patchlens.pictures.grid import (
    Canvas,
    Grid,
    boxes,
    boxes_of,
    centred,
    joined,
    padded_square,
    part,
    patch_places,
    plain_places,
    shortest_edge_size,
    single_grid,
    tile_boxes,
    tiled_grid,
)

SIDE = st.integers(1, 400)
PATCH = st.integers(1, 16)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Every way a supported processor goes about it: squash, crop, pad, tiles in part padding."""
    width, height, patch = draw(SIDE), draw(SIDE), draw(PATCH)
    rows, cols = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    whole, size = Canvas.of(width, height), (cols * patch, rows * patch)
    way = draw(st.sampled_from(["squash", "crop", "pad", "tiles"]))
    if way == "squash":
        return single_grid(width, height, whole.resized(*size), patch)
    if way == "crop":
        edge = draw(st.integers(max(1, min(size) // 2), min(size) * 2))
        scaled = whole.resized(*shortest_edge_size(width, height, edge))
        return single_grid(width, height, centred(scaled, *size), patch)
    if way == "pad":
        return single_grid(width, height, padded_square(whole).resized(*size), patch)
    across, down = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    shown = draw(st.integers(1, size[0] * across)), draw(st.integers(1, size[1] * down))
    canvas = whole.resized(*shown).window(0, 0, size[0] * across, size[1] * down)
    return tiled_grid(width, height, canvas, size, patch)


@given(grids())
def test_a_box_holds_the_patch_it_came_from(grid: Grid):
    table = boxes(grid)
    assert table.shape == (grid.rows, grid.cols, 4)
    for row, col in np.argwhere(np.isfinite(table[..., 0])):
        left, top, right, bottom = table[row, col]
        assert 0 <= left < right <= grid.width
        assert 0 <= top < bottom <= grid.height


@given(grids(), st.floats(0, 1), st.floats(0, 1))
def test_a_pixel_lies_in_the_box_of_its_patch_or_in_none(grid: Grid, across: float, down: float):
    x, y = across * grid.width, down * grid.height
    table = boxes(grid)
    inside = (table[..., 0] <= x) & (x < table[..., 2]) & (table[..., 1] <= y) & (y < table[..., 3])
    assert inside.sum() <= 1


@given(grids())
def test_patches_cover_what_the_tiles_show_exactly_once(grid: Grid):
    table = boxes(grid).reshape(-1, 4)
    area = np.nansum((table[:, 2] - table[:, 0]) * (table[:, 3] - table[:, 1]))
    shown = 0.0
    for tile in grid.tiles:
        width = min(tile.right, grid.width) - max(tile.left, 0)
        height = min(tile.bottom, grid.height) - max(tile.top, 0)
        shown += max(width, 0) * max(height, 0)
    np.testing.assert_allclose(area, shown, rtol=1e-4, atol=1e-3)


@given(SIDE, SIDE, st.integers(1, 8), st.integers(1, 8))
def test_a_squashed_picture_is_covered_whole(width: int, height: int, rows: int, cols: int):
    table = boxes(single_grid(width, height, Canvas.of(width, height).resized(cols, rows), 1))
    areas = (table[..., 2] - table[..., 0]) * (table[..., 3] - table[..., 1])
    np.testing.assert_allclose(areas, width * height / (rows * cols))


@given(grids(), st.integers(0, 3))
def test_places_are_the_boxes_in_token_order(grid: Grid, image: int):
    places, table = patch_places(grid, image), boxes(grid)
    assert len(places) == sum(tile.rows * tile.cols for tile in grid.tiles)
    assert set(places.image) == {image}
    np.testing.assert_allclose(places.box, table[places.row, places.col], rtol=1e-6)
    shown = places.kind == PositionKind.PATCH
    np.testing.assert_array_equal(shown, np.isfinite(places.box).all(axis=1))
    assert set(places.kind[~shown]) <= {PositionKind.IMAGE_OTHER.value}
    cells = list(zip(places.row.tolist(), places.col.tolist(), strict=True))
    assert len(set(cells)) == len(cells)
    for tile in grid.tiles:
        rows = np.flatnonzero(places.tile == tile.index)
        inner = (places.row[rows] - tile.row) * tile.cols + places.col[rows] - tile.col
        np.testing.assert_array_equal(inner, np.arange(tile.rows * tile.cols))


@given(grids(), grids(), st.randoms())
def test_patches_of_several_pictures_have_the_boxes_of_their_own(first: Grid, second: Grid, rng):
    both = joined([patch_places(first, 0), patch_places(second, 1)])
    shown = np.flatnonzero(both.kind == PositionKind.PATCH)
    some = part(both, np.array(rng.sample(shown.tolist(), len(shown) // 2), np.intp))
    found = boxes_of(some, (first, second))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, some.box, rtol=1e-6)


def test_rows_and_columns_are_not_interchanged():
    grid = single_grid(300, 100, Canvas.of(300, 100).resized(30, 10), 10)
    assert (grid.rows, grid.cols) == (1, 3)
    np.testing.assert_allclose(boxes(grid)[0, 2], [200, 0, 300, 100])


def test_a_centre_crop_leaves_out_the_sides():
    canvas = centred(Canvas.of(300, 100), 100, 100)
    grid = single_grid(300, 100, canvas, 50)
    np.testing.assert_allclose(boxes(grid)[0, 0], [100, 0, 150, 50])


def test_an_odd_pixel_is_cropped_right_and_padded_left_or_right():
    cropped = centred(Canvas.of(5, 5), 2, 2)
    assert (cropped.left, cropped.right) == (1, 3)
    assert centred(Canvas.of(2, 2), 5, 5).left == -2
    assert centred(Canvas.of(2, 2), 5, 5, odd_padding_first=False).left == -1


def test_padding_is_no_patch():
    grid = single_grid(100, 50, padded_square(Canvas.of(100, 50)), 25)
    places = patch_places(grid, 0)
    assert places.kind.reshape(4, 4)[[0, 3]].tolist() == [["image_other"] * 4] * 2
    assert (places.kind.reshape(4, 4)[1:3] == "patch").all()


def test_a_remainder_that_fills_no_patch_is_left_out():
    tile = Canvas.of(30, 23).cut(7)
    assert (tile.rows, tile.cols, tile.right, tile.bottom) == (3, 4, 28, 21)


def test_a_box_may_reach_beyond_the_picture_only_before_clipping():
    grid = single_grid(100, 60, padded_square(Canvas.of(100, 60)), 50)
    assert tile_boxes(grid.tiles[0])[0, 0].tolist() == [0, -20, 50, 30]
    assert boxes(grid)[0, 0].tolist() == [0, 0, 50, 30]


def test_places_join_and_part():
    first = plain_places([PositionKind.TEXT, PositionKind.SPECIAL])
    grid = single_grid(20, 10, Canvas.of(20, 10), 10)
    both = joined([first, patch_places(grid, 0)])
    assert both.kind.tolist() == ["text", "special", "patch", "patch"]
    assert part(both, slice(2, 4)).col.tolist() == [0, 1]
    assert len(joined([])) == 0


@settings(max_examples=50)
@given(SIDE, SIDE, st.integers(1, 500))
def test_the_shortest_edge_keeps_the_shape(width: int, height: int, edge: int):
    new_width, new_height = shortest_edge_size(width, height, edge)
    assert min(new_width, new_height) == edge
    assert abs(max(new_width, new_height) - edge * max(width, height) / min(width, height)) < 1
    assert (new_width >= new_height) == (width >= height) or new_width == new_height
