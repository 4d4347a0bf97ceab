"""Truth of patches, whatever their boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from labels_of import labels_of
from patchlens.bench.exam import drawn
from patchlens.data.words import NO_ID, concept_ids, scene_forms
from patchlens.demo import bundled_models
from patchlens.pictures import grid
from patchlens.scenes.scene import KINDS, make_scene
from patchlens.scenes.truth import Thing, coverage, patch_truth


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_of_a_plain_grid_give_the_scenes_own_coverage_and_labels(kind: str) -> None:
    scene = make_scene(50_000_123, kind)
    boxes = grid.boxes(grid.single_grid(140, 140, grid.Canvas.of(140, 140), 14)).reshape(-1, 4)
    truth = patch_truth(drawn_things(scene), scene.background_keys, boxes)
    expected = scene.coverage(10, 10).reshape(-1, 100)
    if scene.objects:
        masks = np.stack([thing.mask for thing in scene.objects])
        np.testing.assert_allclose(coverage(masks, boxes), expected[:-1], atol=1e-6)
    np.testing.assert_array_equal(truth.empty, expected[-1] > 0.999)
    ground = frozenset(scene.background_keys)
    labels = [keys - ground for keys in labels_of(scene, 10, 10)]
    assert [keys - ground for keys in truth.true_keys] == labels
    for name, covered in zip(truth.names, truth.covered, strict=True):
        single = [c for c, thing in zip(expected, scene.objects, strict=False) if thing.name == name]
        np.testing.assert_array_equal(covered, np.max(single, 0) >= 0.5)


def drawn_things(scene):
    return [Thing(o.name, o.mask, o.keys[1:]) for o in scene.objects]


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_any_box_covers_what_pixels_say(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((2, 13, 17)) < 0.5
    x, y = np.sort(rng.uniform(0, 17, 2)), np.sort(rng.uniform(0, 13, 2))
    x[1] += x[0] == x[1]
    columns = np.clip(np.minimum(np.arange(1, 18), x[1]) - np.maximum(np.arange(17), x[0]), 0, None)
    rows = np.clip(np.minimum(np.arange(1, 14), y[1]) - np.maximum(np.arange(13), y[0]), 0, None)
    area = columns.sum() * rows.sum()
    expected = np.einsum("mhw,h,w->m", mask, rows, columns) / area
    found = coverage(mask, np.array([[x[0], y[0], x[1], y[1]]]))
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-9 / area)


def test_a_patch_at_the_picture_s_edge_is_covered_by_what_shows() -> None:
    whole = np.ones((1, 10, 10), bool)
    picture = grid.Grid(10, 10, 2, 2, (grid.Tile(0, 2, 2, 0, 0, -4, -4, 12, 12),))
    np.testing.assert_allclose(coverage(whole, grid.boxes(picture).reshape(-1, 4)), 1)


def test_half_covered_patches_are_neither_named_nor_empty() -> None:
    mask = np.zeros((10, 20), bool)
    mask[:, :14] = True  # 1, then 0.4 of a patch of 10 px
    truth = patch_truth([Thing("cat", mask)], ("grass",), np.array([[0, 0, 10, 10], [10, 0, 20, 10]]))
    assert truth.true_keys == (frozenset({"cat"}), frozenset())
    np.testing.assert_array_equal(truth.empty, [False, False])
    nothing = patch_truth([], ("grass",), np.array([[0, 0, 10, 10]]))
    assert nothing.empty.all()
    assert nothing.names == ()


def test_every_form_of_a_concept_counts_and_no_other_concept() -> None:
    tokenizer = AutoTokenizer.from_pretrained(bundled_models()["demo"])
    concepts = concept_ids(tokenizer, *scene_forms())
    pieces = tokenizer.convert_ids_to_tokens(sorted(concepts.ids["cat"]))
    assert {"▁cat", "▁cats", "▁Katze", "▁Katzen", "猫"} <= set(pieces)
    assert concepts.named(["cat", "dog"]) == concepts.ids["cat"] | concepts.ids["dog"]
    assert concepts.ids["grass"].isdisjoint(concepts.thing_ids)
    table = concepts.table
    assert {int(i) for i in table[concepts.keys.index("cat")] if i != NO_ID} == concepts.ids["cat"]


def test_a_seed_gives_the_same_picture_and_question_each_time() -> None:
    one, two = drawn(50_000_007), drawn(50_000_007)
    np.testing.assert_array_equal(one.picture, two.picture)
    assert (one.prompt, one.answer) == (two.prompt, two.answer)
    assert one.answer
