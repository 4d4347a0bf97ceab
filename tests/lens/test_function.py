"""A function as a lens: what it gets, what it may return, and what is refused in one line."""

import numpy as np
import pytest
import torch

import patchlens as pl
from patchlens.errors import LensError
from patchlens.lens import EmbeddingLens, FunctionLens, JacobianLens, Lens, LogitLens, open_lens
from patchlens.scenes.scene import make_scene


@pytest.fixture(scope="module")
def trace():
    return pl.load("demo").trace(make_scene(50_000_000, "one").image, "What is this?", max_new_tokens=1)


@pytest.fixture(scope="module")
def logit(trace):
    return trace.read(LogitLens(), top_k=3)


def turned(states, layer):
    return states if layer % 2 else -states


def test_states_come_normed_and_go_to_the_unembedding_as_they_are(trace, logit):
    reading = trace.read(FunctionLens(turned, name="turned", params={"even": "minus"}), top_k=3)
    assert (reading.lens, reading.lens_params) == ("turned", {"even": "minus"})
    assert np.array_equal(reading.top_ids[1::2], logit.top_ids[1::2])
    worst = (-(trace.adapter.unembed.logits(trace.resid[2]))).argmax(-1)
    assert np.array_equal(reading.top_ids[2, :, 0], worst.numpy())


def scaled(states, by=1.0):
    return states * by


@pytest.mark.parametrize(
    "function",
    [
        lambda states: states,
        scaled,
        lambda states, layer: states,
        lambda states, *, layer: states,
        lambda states, number: states if isinstance(number, int) else None,
        torch.clone,
        torch.nn.Identity(),
        lambda states: states.double(),
        torch.nn.Linear(128, 128).requires_grad_().__call__,
    ],
)
def test_any_function_of_states_will_do(trace, logit, function):
    reading = trace.read(FunctionLens(function, name="mine"), top_k=3)
    if "Linear" not in repr(function):
        assert np.array_equal(reading.top_logprobs, logit.top_logprobs)


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda states: states[:, :7], r"mine returned float32 \(\d+, 7\) for the states of layer 0: return"),
        (lambda states: states.mean(0), r"mine returned float32 \(128,\)"),
        (lambda states: states.argmax(-1), r"mine returned int64 \(\d+,\)"),
        (lambda states: states.long(), r"mine returned int64 \(\d+, 128\)"),
        (lambda states: None, "mine returned NoneType for the states of layer 0"),
        (lambda states, layer: states / (layer - 3), "mine returned values that are not finite at layer 3"),
    ],
)
def test_what_is_no_state_is_refused_in_one_line(trace, function, says):
    with pytest.raises(LensError, match=says) as error:
        trace.read(FunctionLens(function, name="mine"))
    assert "\n" not in str(error.value)


def test_it_has_a_name_of_its_own_and_plain_parameters():
    with pytest.raises(LensError, match="this FunctionLens has none: give it one, such as name='mine'"):
        FunctionLens(scaled)
    for name in ("", "  ", "two\nlines"):
        with pytest.raises(LensError, match="a lens has a name"):
            FunctionLens(scaled, name=name)
    with pytest.raises(LensError, match="the name 'tuned' is taken"):
        FunctionLens(scaled, name="tuned")
    for value in (float("nan"), torch.ones(2), [1]):
        with pytest.raises(LensError, match="the parameter 'by' of the lens mine is"):
            FunctionLens(scaled, name="mine", params={"by": value})
    assert repr(FunctionLens(scaled, name="mine")) == "FunctionLens(scaled, name='mine')"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (turned, r"turned is a function, not a lens: write FunctionLens\(turned, name='mine'\)"),
        (LogitLens, r"LogitLens is a class, not a lens: write LogitLens\(\)"),
        (JacobianLens, r"JacobianLens is a class, not a lens: open_lens\('jacobian', model\) opens one"),
        (EmbeddingLens, r"open_lens\('embedding', model\) opens one"),
        (7, "7 is no lens: give the name or file of one"),
        (["logit"], "list is no lens"),
    ],
)
def test_what_is_no_lens_says_how_to_get_one(trace, given, says):
    with pytest.raises(LensError, match=says):
        trace.read(given)


def test_a_lens_class_of_ones_own_is_taken_and_one_without_name_is_not(trace, logit):
    class Mine(Lens):
        name = "mine"

        def normed(self, resid_layer, layer, unembed):
            return unembed.norm(resid_layer)

    assert np.array_equal(trace.read(Mine(), top_k=3).top_ids, logit.top_ids)

    class Silent(Lens):
        name = "silent"

    with pytest.raises(LensError, match="the lens silent gives no state for the unembedding"):
        trace.read(Silent())

    class Unnamed(Mine):
        name = ""

    with pytest.raises(LensError, match="this Unnamed has none"):
        trace.read(Unnamed())
    mine = Mine()
    assert open_lens(mine, trace) is mine
