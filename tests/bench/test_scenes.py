import dataclasses

import numpy as np
import pytest

from patchlens.scenes.scene import KINDS, SIZE, Scene, make_scene
from patchlens.scenes.sprites import COLOUR_VALUES, emoji, outline, shape, sheet
from patchlens.scenes.vocabulary import CONCEPTS, OBJECTS, SHAPES

SEEDS = range(400, 440)


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_scene_and_another_seed_another(kind):
    first, again, other = make_scene(5, kind), make_scene(5, kind), make_scene(6, kind)
    assert np.array_equal(first.picture, again.picture)
    assert [o.box for o in first.objects] == [o.box for o in again.objects]
    assert not np.array_equal(first.picture, other.picture)


@pytest.mark.parametrize(
    ("kind", "counts"),
    [("texture", {0}), ("pattern", {0}), ("one", {1}), ("several", {2, 3, 4}), ("collage", {9})],
)
def test_a_kind_has_its_number_of_things(kind, counts):
    assert {len(make_scene(seed, kind).objects) for seed in SEEDS} == counts


def test_kinds_left_open_all_occur():
    assert {make_scene(seed).kind for seed in range(150)} == set(KINDS)


@pytest.mark.parametrize("seed", SEEDS)
def test_masks_are_disjoint_and_fill_their_boxes(seed):
    scene = make_scene(seed)
    together = np.zeros((SIZE, SIZE), int)
    for thing in scene.objects:
        together += thing.mask
        left, top, right, bottom = thing.box
        assert thing.mask.sum() > 100
        assert thing.mask[top:bottom, left:right].sum() == thing.mask.sum()
        assert thing.mask[top].any() and thing.mask[bottom - 1].any()
        assert thing.mask[:, left].any() and thing.mask[:, right - 1].any()
    assert together.max() <= 1


@pytest.mark.parametrize("seed", range(700, 760))
def test_the_pixels_under_a_shapes_mask_have_its_colour(seed):
    scene = make_scene(seed, "several")
    for thing in scene.objects:
        if thing.colour is None:
            continue
        inside = scene.picture[thing.mask].astype(float)
        nearest = min(
            COLOUR_VALUES, key=lambda c: np.abs(np.median(inside, 0) - np.asarray(COLOUR_VALUES[c])).sum()
        )
        assert nearest == thing.colour


def test_a_mask_covers_what_the_object_changed():
    # The same scene without its sprite: only pixels at the mask (and its soft edge) may differ.
    for seed in range(300, 330):
        scene = make_scene(seed, "one")
        thing = scene.objects[0]
        left, top, right, bottom = thing.box
        outside = scene.picture.copy()
        outside[max(0, top - 2) : bottom + 2, max(0, left - 2) : right + 2] = 0
        assert thing.mask[top:bottom, left:right].mean() > 0.12
        ground = outside[outside.sum(2) > 0]
        inside = scene.picture[thing.mask]
        assert np.abs(inside.mean(0) - ground.mean(0)).sum() + abs(inside.std() - ground.std()) > 3


def brute_coverage(scene: Scene, rows: int, cols: int) -> np.ndarray:
    height, width = scene.picture.shape[:2]
    out = np.zeros((len(scene.objects) + 1, rows, cols))
    for y in range(height):
        for x in range(width):
            owners = [i for i, o in enumerate(scene.objects) if o.mask[y, x]] or [len(scene.objects)]
            out[owners[0], y * rows // height, x * cols // width] += rows * cols / (height * width)
    return out


@pytest.mark.parametrize(("seed", "rows", "cols"), [(21, 10, 10), (22, 5, 10), (23, 7, 4), (24, 20, 20)])
def test_coverage_against_counting_pixels(seed, rows, cols):
    scene = make_scene(seed, "several")
    coverage = scene.coverage(rows, cols)
    assert coverage == pytest.approx(brute_coverage(scene, rows, cols), abs=1e-5)
    assert coverage.sum(0) == pytest.approx(1, abs=1e-5)


def test_a_grid_that_does_not_divide_the_picture_is_refused():
    with pytest.raises(ValueError, match="140 x 140"):
        make_scene(1).coverage(9, 10)


def test_small_scenes_and_a_side_too_small():
    for seed in range(40):
        scene = make_scene(seed, "one", 70)
        assert scene.picture.shape == (70, 70, 3)
        assert scene.objects[0].mask.any()
    with pytest.raises(ValueError, match="at least 70"):
        make_scene(1, size=60)


def test_a_scene_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_scene(1).kind = "one"


def test_every_object_has_a_sprite_and_every_shape_an_outline():
    assert set(sheet().places) == {o.key for o in OBJECTS}
    for thing in OBJECTS:
        alpha = np.asarray(sheet().sprite(thing.key))[..., 3]
        assert 0.1 < (alpha > 128).mean() < 0.95
    for thing in SHAPES:
        if thing.key != "circle":
            assert len(outline(thing.key, 0)) >= 3


def test_mirror_and_size_of_a_sprite():
    plain, mirrored = (np.asarray(emoji("car", 60, 0, m)) for m in (False, True))
    assert plain.shape[1] == pytest.approx(60, abs=2)
    assert np.array_equal(plain[:, ::-1], mirrored)


@pytest.mark.parametrize(
    ("name", "share"), [("circle", np.pi / 4), ("square", 1.0), ("triangle", 0.5), ("cross", 5 / 9)]
)
def test_a_shape_fills_its_box_as_geometry_says(name, share):
    alpha = np.asarray(shape(name, (200, 0, 0), 90, 0))[..., 3]
    assert (alpha > 128).mean() == pytest.approx(share, abs=0.03)


def test_things_asked_for_are_concepts():
    for seed in SEEDS:
        scene = make_scene(seed)
        for key in [*scene.background_keys, *(k for o in scene.objects for k in o.keys)]:
            assert key in CONCEPTS
