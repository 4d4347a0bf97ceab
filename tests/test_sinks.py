"""Planted sinks are found, whatever plants them, and the one rule says what it is."""

import numpy as np
import pytest
import torch
from PIL import Image

from patchlens.attention import SinkRule
from patchlens.errors import SelectionError
from patchlens.fit.states import SINKS, exclusions
from patchlens.run import Model
from tiny import tiny_llava, tiny_mllama

NOISE = Image.effect_noise((80, 52), 90).convert("RGB")


def f1(found, planted):
    hits = (found & planted).sum().item()
    return 2 * hits / (found.sum() + planted.sum()).item()


def crowd(seed, layers=12, n=600, d_model=64):
    """States whose lengths spread as those of a model do, patches twice as long as words."""
    generator = torch.Generator().manual_seed(seed)
    resid = torch.randn(layers, n, d_model, generator=generator)
    resid *= torch.exp(0.5 * torch.randn(layers, n, 1, generator=generator))
    is_patch = torch.arange(n) >= 60
    resid[:, is_patch] *= 2
    return resid, is_patch, generator


@pytest.mark.parametrize("seed", range(5))
def test_planted_long_states_are_found(seed):
    resid, is_patch, generator = crowd(seed)
    planted = torch.rand(resid.shape[:2], generator=generator) < 0.01
    length = 15 + 60 * torch.rand(resid.shape[:2], generator=generator)
    middle = torch.where(is_patch, 16.0, 8.0)
    unit = resid / resid.norm(dim=-1, keepdim=True)
    resid = torch.where(planted[..., None], unit * (length * middle)[..., None], resid)
    assert planted.any(1).all() and f1(SinkRule().find(resid, is_patch), planted) >= 0.95
    assert f1(SinkRule(factor=200.0).find(resid, is_patch), planted) < 0.5


@pytest.mark.parametrize("seed", range(5))
def test_planted_massive_dimensions_are_found_where_they_are_named(seed):
    resid, is_patch, generator = crowd(seed, d_model=4096, layers=2)
    planted = torch.rand(resid.shape[:2], generator=generator) < 0.02
    rms = resid.square().mean(-1).sqrt()
    sign = torch.where(torch.rand(planted.shape, generator=generator) < 0.5, -1, 1)
    resid[..., 1415] = torch.where(planted, 40 * rms * sign, resid[..., 1415])
    by_name = SinkRule(None, (7, 1415))
    assert f1(by_name.find(resid, is_patch), planted) >= 0.95
    assert not SinkRule(None, (7,)).find(resid, is_patch).any()
    assert not SinkRule().find(resid, is_patch)[planted].all()
    both = SinkRule(10.0, (1415,)).find(resid, is_patch)
    assert f1(both, planted) >= 0.95
    resid[1, 80] *= 200
    longer = SinkRule(10.0, (1415,)).find(resid, is_patch)
    assert longer[1, 80] and not by_name.find(resid, is_patch)[1, 80] and not both[1, 80]


def test_sinks_planted_in_a_model_are_found_and_take_precedence():
    adapter = tiny_llava()
    tokens = [adapter.tokenizer.convert_tokens_to_ids(piece) for piece in ("Ġcat", "Ġdog")]
    with torch.no_grad():
        adapter.model.get_input_embeddings().weight[tokens] *= 40
    projector = adapter.model.model.multi_modal_projector
    rows = torch.tensor([2, 5])

    def plant(_, __, output):
        output = output.clone()
        output[..., rows, :] *= 40
        return output

    handle = projector.register_forward_hook(plant)
    trace = Model(adapter).trace(NOISE, "what is left of the cat and the dog?", max_new_tokens=0)
    own = trace.attend("left")
    handle.remove()
    inputs = trace.inputs
    planted = sum(inputs.ids == token for token in tokens) > 0
    patches = np.flatnonzero(inputs.places.kind == "patch")
    planted[patches[rows]] = True
    assert planted.sum() == 4
    first = own.at(1)
    assert f1(first.sink, planted) >= 0.95
    on_planted = own.at(1).attention[0, planted].sum()
    assert first.shares[:, 0, -1].mean().item() == pytest.approx(on_planted.item(), abs=1e-6)
    others = ~planted & (inputs.places.kind == "patch")
    assert first.shares[:, 0, 0].mean().item() == pytest.approx(
        own.at(1).attention[0, others].sum().item(), abs=1e-6
    )
    assert not trace.attend("left", rule=SinkRule(1e6)).share("sink").any()


def test_padding_of_vision_states_is_never_a_sink_nor_hides_one():
    trace = Model(tiny_mllama()).trace(NOISE.resize((40, 28)), "what is it?", max_new_tokens=0)
    states, places = trace.captured.vision, trace.inputs.vision_places
    real = places.tile < len(trace.inputs.grids[0].tiles)
    assert not real.all()
    own = trace.attend(rule=SinkRule(1.01))
    is_patch = torch.from_numpy(places.kind == "patch")
    expected = SinkRule(1.01).find(states[torch.from_numpy(real)][None], is_patch[real])[0]
    for layer in (2, 5):
        assert np.array_equal(own.at(layer).sink[real], expected) and expected.any()
        assert not own.at(layer).sink[~real].any()


def test_fits_leave_out_what_attention_calls_a_sink():
    resid, is_patch, _ = crowd(0, layers=3, n=100)
    resid[1, 70] *= 100
    kinds = ["patch" if own else "text" for own in is_patch]
    left_out = exclusions(resid, kinds, has_picture=True)[2]
    assert left_out.equal(SINKS.find(resid, is_patch).any(0)) and left_out[70]
    assert SinkRule() == SINKS


def test_the_rule_says_what_it_is():
    assert "over 10 times as long as the median" in str(SinkRule())
    assert "dimension" not in str(SinkRule())
    both = str(SinkRule(6.0, (1415, 2533), 25.0))
    assert "over 6 times" in both and "dimension 1415 or 2533 over 25 times its root mean square" in both
    assert "median" not in str(SinkRule(None, (3,)))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0.0,), "above 0"),
        ((-1.0,), "above 0"),
        ((float("nan"),), "above 0"),
        ((float("inf"),), "above 0"),
        ((10.0, (), 0.0), "above 0"),
        ((None,), "a factor or dimensions"),
    ],
)
def test_a_rule_that_is_none_is_refused(arguments, words):
    with pytest.raises(SelectionError, match=words):
        SinkRule(*arguments)
