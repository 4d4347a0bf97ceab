"""Routes hold the edges that they should, and their controls as many of them."""

import numpy as np
import pytest
import torch
from PIL import Image

from patchlens.axes import PositionKind
from patchlens.causal import Knockout, rerun
from patchlens.causal.places import Stage
from patchlens.cause.routes import (
    ENDS,
    ROUTES,
    THING,
    edges,
    every_edge,
    thing_patches,
    usual_width,
    windows,
    with_controls,
)
from patchlens.models.inputs import prepare
from patchlens.models.load import load_adapter
from patchlens.scenes.questions import Question
from patchlens.scenes.scene import make_scene
from patchlens.scenes.truth import labelled_scene
from tiny import BUILDERS, VISION

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (52, 80, 3), np.uint8))
SEEING = pytest.mark.parametrize("family", VISION)


def staged(family, answer=(20, 21, 22)):
    adapter = BUILDERS[family]()
    return Stage(adapter, adapter.encode("what is left of the dog?", [NOISE], answer_ids=answer))


def test_windows_slide_over_every_block_and_end_with_all():
    found = windows(5, 3)
    assert [list(window.blocks) for window in found] == [
        [0, 1],
        [0, 1, 2],
        [1, 2, 3],
        [2, 3, 4],
        [3, 4],
        [0, 1, 2, 3, 4],
    ]
    assert [window.centre for window in found] == [0, 1, 2, 3, 4, None]
    assert [str(window) for window in windows(3, 1)] == ["block 0", "block 1", "block 2", "all blocks"]
    assert [list(window.blocks) for window in windows(4, 4)][:2] == [[0, 1, 2], [0, 1, 2, 3]]
    assert [usual_width(n) for n in (2, 8, 32, 48)] == [2, 4, 6, 10]


@SEEING
def test_edges_are_causal_within_the_groups_and_end_before_the_last_position(family):
    stage = staged(family)
    kind, last = stage.inputs.places.kind, stage.inputs.n_prompt - 1
    texts = set(np.flatnonzero(np.isin(kind, ("text", "special"))).tolist())
    for route, (queries, sources) in ENDS.items():
        found = edges(stage, queries, sources)
        assert (found.within[:, 1] <= found.within[:, 0]).all()
        asking, asked = set(found.within[:, 0].tolist()), set(found.within[:, 1].tolist())
        if queries == "answer":
            assert asking == {last, last + 1, last + 2}
        else:
            assert asking <= {position for position in texts if position < last}
        shows = (PositionKind.PATCH, PositionKind.IMAGE_OTHER)
        assert {str(k) for k in kind[list(asked)]} <= {*shows} if sources == "image" else asked <= texts
        assert bool(len(found.vision)) == (sources == "image" and stage.inputs.vision_places is not None)
        assert len(np.unique(found.within, axis=0)) == len(found.within), route


def test_no_edge_leads_to_a_tile_that_is_not_there():
    adapter = BUILDERS["mllama"]()
    inputs = adapter.encode("what is it?", [NOISE.resize((20, 20)), NOISE], answer_ids=(20,))
    there = [len(grid.tiles) for grid in inputs.grids]
    assert there[0] == 1 < there[1]
    asked = np.unique(edges(Stage(adapter, inputs), "answer", "image").vision[:, 1])
    states = inputs.vision_places
    shown = [tile < there[image] for image, tile in zip(states.image, states.tile, strict=True)]
    assert asked.tolist() == np.flatnonzero(shown).tolist() and not all(shown)


@SEEING
def test_a_route_is_the_knockout_of_its_groups(family):
    stage = staged(family)
    runs = rerun(stage.adapter, stage.inputs)
    blocks = range(stage.adapter.n_layers)
    for queries, sources in ENDS.values():
        own = edges(stage, queries, sources).knockout(blocks)
        found = runs.effects([(), own, Knockout(queries, sources, blocks)]).logprobs
        torch.testing.assert_close(found[1], found[2], atol=1e-5, rtol=0)
        assert not torch.equal(found[0], found[1])


@SEEING
def test_controls_have_as_many_edges_of_either_sort_and_differ(family):
    stage = staged(family)
    every = every_edge(stage)
    for route in ENDS:
        own, *controls = with_controls(stage, route, (), 3, 0)
        assert len(own) > 0 and len(controls) == 3
        for drawn in controls:
            assert len(drawn.within) == len(own.within) and len(drawn.vision) == len(own.vision)
            for got, pool in ((drawn.within, every.within), (drawn.vision, every.vision)):
                pairs = {tuple(pair) for pair in got.tolist()}
                assert len(pairs) == len(got) and pairs <= {tuple(pair) for pair in pool.tolist()}
        assert not np.array_equal(controls[0].within, controls[1].within)
        again = with_controls(stage, route, (), 3, 0)
        assert all(np.array_equal(a.within, b.within) for a, b in zip(again, [own, *controls], strict=True))
        assert not np.array_equal(with_controls(stage, route, (), 1, 1)[1].within, controls[0].within)


@pytest.mark.parametrize("model", ["demo", "demo-cross"])
def test_the_thing_is_where_it_is_drawn_and_its_control_elsewhere(model):
    adapter = load_adapter(model)
    scene = make_scene(9_000_003, "several")
    assert len({thing.name for thing in scene.objects}) == len(scene.objects) > 1
    thing = scene.objects[0]
    question = Question("what", "en", "What is left of it?", thing.name, (0,))
    stage = Stage(adapter, prepare(adapter, question.prompt, [scene.picture], answer_ids=[5]))
    numbers = thing_patches(stage, labelled_scene(scene, question))
    grid = stage.inputs.grids[0]
    covered = scene.coverage(grid.rows, grid.cols)[0] >= 0.5
    places = stage.inputs.vision_places or stage.inputs.places
    rows = stage.patches[list(numbers)]
    assert {*zip(places.row[rows].tolist(), places.col[rows].tolist(), strict=True)} == {
        *zip(*(index.tolist() for index in np.nonzero(covered)), strict=True)
    }
    own, *controls = with_controls(stage, THING, numbers, 2, 0)
    for drawn in controls:
        assert len(drawn) == len(own)
        for got, its in ((drawn.within, own.within), (drawn.vision, own.vision)):
            assert not {*got[:, 1].tolist()} & {*its[:, 1].tolist()}
    assert with_controls(stage, THING, (), 2, 0) == []
    assert with_controls(stage, THING, range(len(stage.patches) - 1), 2, 0) == []
    assert thing_patches(stage, None) == ()
    unknown = Question("what", "en", "What?", "nothing", ())
    assert thing_patches(stage, labelled_scene(scene, unknown)) == ()
    assert ROUTES[-1] == THING
