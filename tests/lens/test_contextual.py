"""An answer is compared with patches as written down, and no number is ever missing."""

import dataclasses

import numpy as np
import pytest
import torch
from lens_oracle import make_states

from patchlens.capture import capture
from patchlens.errors import NumericsError, SelectionError
from patchlens.lens.contextual import contextual_answer, contextual_map, contextual_maps
from patchlens.models.inputs import prepare
from patchlens.reading.store import open_reading
from patchlens.run import load
from patchlens.scenes.scene import make_scene
from patchlens.views.html import page


def cosine(a, b):
    return float(a.double() @ b.double() / (a.double().norm() * b.double().norm()))


def test_every_pair_of_layers_is_the_cosine_with_the_mean():
    resid = make_states(4, 9, 16)
    answer, patches = [6, 8], [0, 1, 5]
    maps = contextual_maps(resid, answer, patches)
    assert maps.shape == (4, 4, 3)
    for l1 in range(4):
        for l2 in range(4):
            mean = (resid[l1, 6] + resid[l1, 8]) / 2
            expected = [cosine(mean, resid[l2, patch]) for patch in patches]
            np.testing.assert_allclose(maps[l1, l2], expected, atol=1e-6)
            np.testing.assert_allclose(contextual_map(resid, answer, patches, l1, l2), expected, atol=1e-6)


def test_the_mean_is_taken_before_the_length():
    resid = torch.tensor([[[10.0, 0.0], [0.0, 1.0], [1.0, 1.0]]])
    assert float(contextual_map(resid, [0, 1], [2], 0, 0)) == pytest.approx(11 / (101 * 2) ** 0.5)


def test_a_state_of_length_zero_is_like_nothing():
    resid = make_states(2, 4, 8)
    resid[1, 0] = 0
    resid[0, 2], resid[0, 3] = 1, -1
    maps = contextual_maps(resid, [2, 3], [0, 1])
    assert torch.isfinite(maps).all()
    assert not maps[0].any() and not maps[1, 1, 0] and maps[1, 1, 1]


def test_the_channel_of_an_answer_joins_a_reading(tmp_path):
    trace = load("demo").trace(make_scene(3).image, "Describe the picture.", steps=True, layers=[0, 2, 5, 8])
    reading = trace.read(top_k=2)
    rows = np.flatnonzero(reading.positions.step >= 0)
    channel = contextual_answer(trace.resid, trace.captured.layers, rows, 5)
    patches = np.flatnonzero(reading.positions.kind == "patch")
    np.testing.assert_allclose(
        channel.values[1, patches], contextual_map(trace.resid, rows, patches, 2, 1), atol=1e-6
    )
    whole = dataclasses.replace(reading, channels=(channel,))
    again = open_reading(whole.save(tmp_path / "a.safetensors")).channels[0]
    assert (again.name, again.axes, again.unit) == ("contextual_answer", ("layer", "pos"), "cosine")
    np.testing.assert_array_equal(again.values, channel.values)
    assert "contextual_answer" not in page(reading)
    assert len(page(whole)) > len(page(reading))


@pytest.mark.parametrize(
    ("answer", "patches", "layers", "says"),
    [
        ([], [1], (0, 1), "no answer row was named"),
        ([1], [], (0, 1), "no patch row was named"),
        ([5], [1], (0, 1), "answer row 5 does not exist: the states have rows 0 to 4"),
        ([1], [-1], (0, 1), "patch row -1 does not exist"),
        ([1], [2], (0, 2), "layer 2 is not among the 2 given"),
        ([1], [2], (-1, 0), "layer -1 is not among the 2 given"),
    ],
)
def test_what_is_not_there_is_refused(answer, patches, layers, says):
    with pytest.raises(SelectionError, match=says):
        contextual_map(make_states(2, 5), answer, patches, *layers)


def test_a_layer_that_was_not_kept_and_a_state_that_is_not_finite_are_refused():
    resid = make_states(2, 5)
    with pytest.raises(SelectionError, match="layer 1 was not kept: choose one of 0, 4"):
        contextual_answer(resid, (0, 4), [1], 1)
    resid[1, 3] = torch.nan
    with pytest.raises(NumericsError, match="a state is not finite"):
        contextual_maps(resid, [0], [3])


def test_a_reading_tells_how_like_its_answer_each_state_is():
    model = load("demo")
    trace = model.trace(make_scene(3).image, "Describe the picture.", layers=[0, 2, 8], positions="patches")
    (channel,) = trace.read(top_k=2, channels=["contextual"]).channels
    told = model.trace(make_scene(3).image, "Describe the picture.", layers=[0, 2, 8], steps=True)
    # with steps the answer's last token has no position, since it predicts nothing
    inputs = prepare(model.adapter, "Describe the picture.", told.pictures, answer_ids=told.answer.ids)
    resid = capture(model.adapter, inputs, layers=[0, 2, 8]).resid
    answer = resid[:, inputs.n_prompt :].mean(1)
    patches = resid[:, list(trace.captured.positions)]
    expected = torch.cosine_similarity(patches, answer[:, None], dim=-1)
    np.testing.assert_allclose(channel.values, expected.numpy(), atol=1e-5)
    assert channel.axes == ("layer", "pos") and "the same layer" in channel.description


def test_likeness_to_an_answer_needs_an_answer_and_patches():
    silent = load("demo").trace(make_scene(3).image, "What is this?", max_new_tokens=0)
    with pytest.raises(SelectionError, match="there is no answer for patches to be like"):
        silent.read(channels=["contextual"])
    crossing = load("demo-cross").trace(make_scene(3).image, "What is this?")
    with pytest.raises(SelectionError, match="demo-cross shows no patch among its positions"):
        crossing.read(channels=["contextual"])
    with pytest.raises(SelectionError, match=r"no channel 'nonsense': choose of .*contextual"):
        crossing.read(channels=["nonsense"])
