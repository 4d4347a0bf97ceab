"""Baselines that are no lenses: the right rows and columns, the best way at each layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from patchlens.axes import PositionKind
from patchlens.bench.baselines import (
    BaselineTallies,
    ThingMaps,
    attention_maps,
    best_ways,
    likeness_maps,
    score_baseline,
)
from patchlens.bench.exam import PictureBatch, drawn, drawn_exam
from patchlens.bench.examine import Examinee, Tallies
from patchlens.bench.score import ThingMap
from patchlens.capture import capture
from patchlens.errors import UnsupportedModelError
from patchlens.models.inputs import prepare
from patchlens.run import load

SEVERAL = 50_000_002


@pytest.fixture(scope="module", params=["demo", "demo-cross"])
def examinee(request) -> Examinee:
    return Examinee.of(load(request.param), drawn_exam(2, 2))


def test_attention_is_the_models_own_attention_where_a_name_is_about_to_be_said(examinee) -> None:
    adapter, picture = examinee.model.adapter, drawn(SEVERAL)
    found = attention_maps(examinee.model, picture, examinee.concepts)
    assert found is not None
    assert set(found.names) == {thing.name for thing in picture.things}
    caption = adapter.tokenizer.encode(f" {picture.caption.answer}", add_special_tokens=False)
    inputs = prepare(adapter, picture.caption.prompt, [picture.picture], answer_ids=caption)
    before = adapter.model.config.text_config._attn_implementation
    adapter.model.set_attn_implementation("eager")
    with torch.inference_mode():
        attentions = adapter.model(**inputs.tensors, output_attentions=True, use_cache=False).attentions
    adapter.model.set_attn_implementation(before)
    places = inputs.vision_places or inputs.places
    patches = np.flatnonzero(places.kind == PositionKind.PATCH)
    for column, name in enumerate(found.names):
        step = next(n for n, token in enumerate(caption) if token in examinee.concepts.ids[name])
        query = inputs.n_prompt - 1 + step
        for row, layer in enumerate(found.layers):
            expected = attentions[layer - 1][0, :, query].numpy()[:, patches]
            np.testing.assert_allclose(found.maps[row, :, column], expected, atol=1e-5)
    blocks = adapter.cross_blocks or range(adapter.n_layers)
    assert found.layers == tuple(block + 1 for block in blocks)
    assert len(found.boxes) == len(patches) == 100


def test_likeness_is_the_likeness_of_patches_to_the_state_of_a_name() -> None:
    examinee = Examinee.of(load("demo"), drawn_exam(2, 2))
    adapter, picture = examinee.model.adapter, drawn(SEVERAL)
    found = likeness_maps(examinee.model, picture, examinee.concepts)
    assert found is not None
    caption = adapter.tokenizer.encode(f" {picture.caption.answer}", add_special_tokens=False)
    inputs = prepare(adapter, picture.caption.prompt, [picture.picture], answer_ids=caption)
    resid = capture(adapter, inputs).resid
    patches = np.flatnonzero(inputs.places.kind == PositionKind.PATCH)
    for column, name in enumerate(found.names):
        step = next(n for n, token in enumerate(caption) if token in examinee.concepts.ids[name])
        for layer, way in ((0, 0), (3, 7), (8, 2)):
            expected = torch.cosine_similarity(
                resid[layer, patches], resid[way, inputs.n_prompt + step], dim=-1
            )
            np.testing.assert_allclose(found.maps[layer, way, column], expected.numpy(), atol=1e-5)
    assert found.layers == tuple(range(adapter.n_layers + 1))


def test_a_name_that_ends_the_caption_has_its_state_too() -> None:
    examinee = Examinee.of(load("demo"), drawn_exam(2, 2))
    model, ids = examinee.model, examinee.concepts.ids

    def last_of(picture) -> int:
        return model.tokenizer.encode(f" {picture.caption.answer}", add_special_tokens=False)[-1]

    found = (
        (picture, thing.name)
        for picture in map(drawn, range(SEVERAL, SEVERAL + 200))
        for thing in picture.things
        if last_of(picture) in ids[thing.name]
    )
    picture, name = next(found)
    maps = likeness_maps(model, picture, examinee.concepts)
    trace = model.trace(picture.picture, picture.caption.prompt, max_new_tokens=0)
    inputs = model.adapter.continued(
        trace.inputs, model.tokenizer.encode(f" {picture.caption.answer}", add_special_tokens=False)
    )
    resid = capture(model.adapter, inputs).resid
    expected = torch.cosine_similarity(resid[3, inputs.patches], resid[7, -1], dim=-1)
    np.testing.assert_allclose(maps.maps[3, 7, maps.names.index(name)], expected.numpy(), atol=1e-5)


def test_a_model_without_patches_among_its_positions_has_no_likeness() -> None:
    examinee = Examinee.of(load("demo-cross"), drawn_exam(2, 2))
    with pytest.raises(UnsupportedModelError, match="no patch has a state"):
        likeness_maps(examinee.model, drawn(SEVERAL), examinee.concepts)


def test_ways_stand_as_layers(examinee) -> None:
    rng = np.random.default_rng(0)
    weights = rng.random((3, 4, 2, 5)).astype(np.float32)
    own = ThingMaps(("cat", "dog"), weights, (1, 2, 5), np.zeros((5, 4)))
    cat, dog = (examinee.concepts.keys.index(name) for name in ("cat", "dog"))
    every = own.readout(examinee.concepts, None).concepts
    np.testing.assert_array_equal(every[1 * 4 + 2, :, dog], weights[1, 2, 1])
    chosen = own.readout(examinee.concepts, (3, 0, 1)).concepts
    np.testing.assert_array_equal(chosen[:, :, cat], [weights[0, 3, 0], weights[1, 0, 0], weights[2, 1, 0]])


def test_the_best_way_of_each_layer_is_that_with_the_best_auroc() -> None:
    tallies = Tallies()
    tallies.real.add("auroc_others", np.array([0.2, 0.9, 0.5, 0.8, 0.1, 0.3]), 1)
    assert best_ways(BaselineTallies(tallies, (0, 1, 2), 2)) == (1, 1, 1)
    assert best_ways(BaselineTallies(tallies, (0, 1), 3)) == (1, 0)
    assert best_ways(BaselineTallies(Tallies(), (), 0)) is None


def test_rows_of_a_tally_are_picked_with_their_maps() -> None:
    tallies = Tallies()
    tallies.real.add("auroc_all", np.arange(4.0), 2)
    scores = np.arange(8, dtype=np.float32).reshape(4, 2)
    tallies.real.maps.append(ThingMap(scores, np.array([True, False]), 1.0))
    picked = tallies.real.only([3, 1])
    np.testing.assert_array_equal(picked.values(None)["auroc_all"], [1.5, 0.5])
    np.testing.assert_array_equal(picked.maps[0].scores, scores[[3, 1]])


def test_pictures_without_a_caption_are_passed_over(examinee) -> None:
    silent = [replace(drawn(seed), caption=None) for seed in (SEVERAL, SEVERAL + 1)]
    batch = PictureBatch(0, tuple(lambda p=p: p for p in silent))
    told: list[int] = []
    found = score_baseline(examinee, attention_maps, batch, None, lambda: told.append(1), nulls=True)
    assert len(told) == 2
    assert found.tallies.real.values(None) == {}
    assert best_ways(found) is None


def test_nulls_of_attention_are_measured_beside_it(examinee) -> None:
    batch = PictureBatch(3, tuple(lambda s=s: drawn(s) for s in range(SEVERAL, SEVERAL + 4)))
    n_blocks = len(examinee.model.adapter.cross_blocks) or examinee.model.adapter.n_layers
    found = score_baseline(examinee, attention_maps, batch, (0,) * n_blocks, lambda: None, nulls=True)
    assert set(found.tallies.nulls) == {"random", "blank", "shuffled"}
    for tally in (found.tallies.real, *found.tallies.nulls.values()):
        assert tally.values(None)["auroc_all"].shape == (n_blocks,)
        assert np.isfinite(tally.values(None)["miou"]).all()
