"""Every lens of ours passes the check that users are given; lenses that break a rule fail it by name."""

import pytest
import torch
from test_tuned import made

from patchlens import load
from patchlens.axes import FIT_KINDS
from patchlens.errors import LensError, SelectionError
from patchlens.fit.contexts import build_bank
from patchlens.lens import FunctionLens, Lens, LogitLens, TunedLens, check_lens
from patchlens.lens.embedding import EmbeddingLens
from patchlens.lens.latent import LatentLens
from patchlens.lens.similar import similarity_statistics
from patchlens.run import Model
from tiny import CORPUS, tiny_gpt2, tiny_llama, tiny_mllama


@pytest.fixture(scope="module")
def demo():
    return load("demo")


@pytest.fixture(scope="module")
def llama():
    return tiny_llama()


def halved(states, layer):
    return states / (1 + layer)


@pytest.mark.parametrize(
    "lens",
    ["logit", "embedding", "tuned", "jacobian", "latent", FunctionLens(halved, name="halved")],
    ids=lambda lens: getattr(lens, "name", lens),
)
def test_the_lenses_of_ours_pass(demo, lens):
    check_lens(lens, demo)


@pytest.mark.parametrize("lens", ["logit", "cross", "tuned", "jacobian"])
def test_those_of_a_cross_attention_model_pass(lens):
    check_lens(lens, load("demo-cross"))


def test_it_needs_no_eyes_and_takes_16_bit_models():
    check_lens("logit", tiny_gpt2())
    adapter = tiny_llama()
    adapter.model.to(torch.bfloat16)
    adapter = type(adapter)(adapter.model, adapter.processing, name="tiny")
    check_lens("logit", adapter)
    check_lens(TunedLens.identity(adapter.n_layers, adapter.d_model), adapter)
    check_lens(EmbeddingLens.of(adapter), adapter)
    check_lens(LatentLens(build_bank(Model(adapter), CORPUS, per_type=2)), adapter)


class Centred(LogitLens):
    name = "centred"

    def normed(self, resid_layer, layer, unembed):
        return unembed.norm(resid_layer - resid_layer.mean(0))


class Noisy(LogitLens):
    name = "noisy"

    def normed(self, resid_layer, layer, unembed):
        return unembed.norm(resid_layer + torch.randn_like(resid_layer))


class Wide(LogitLens):
    name = "wide"

    def normed(self, resid_layer, layer, unembed):
        return unembed.norm(resid_layer).repeat(1, 2)


class OneForAll(LogitLens):
    name = "one for all"

    def normed(self, resid_layer, layer, unembed):
        return unembed.norm(resid_layer)[:1]


class Infinite(LogitLens):
    name = "infinite"

    def normed(self, resid_layer, layer, unembed):
        return unembed.norm(resid_layer) / (layer - 1)


class Double(LogitLens):
    name = "double"

    def normed(self, resid_layer, layer, unembed):
        return unembed.norm(resid_layer).double()


class Overwriting(LogitLens):
    name = "overwriting"

    def normed(self, resid_layer, layer, unembed):
        return unembed.norm(resid_layer.mul_(2))


class Training(LogitLens):
    name = "training"

    def normed(self, resid_layer, layer, unembed):
        unembed.weight[0, 0] += 1e-3
        return unembed.norm(resid_layer)


class Hooking(LogitLens):
    name = "hooking"

    def normed(self, resid_layer, layer, unembed):
        unembed.final_norm.register_forward_hook(lambda *_: None)
        return unembed.norm(resid_layer)


class BySlot(LogitLens):
    """Tells layers apart by where they stand among those asked for."""

    name = "by slot"

    def read(self, resid, final, unembed, kinds, *, layers, **asked):
        scaled = resid * torch.arange(1, len(layers) + 1)[:, None, None] ** 2 + 1
        return super().read(scaled, final, unembed, kinds, layers=layers, **asked)


class Unnamed(Lens):
    pass


class Unspeakable(LogitLens):
    name = "unspeakable"

    def params(self):
        return {"matrix": torch.eye(2)}


class Clipped(EmbeddingLens):
    name = "clipped"

    def read(self, resid, final, unembed, kinds, **asked):
        bank = self.token_bank(unembed)
        wanted = {key: asked[key] for key in ("top_k",)}
        return similarity_statistics(resid[:1], final, unembed, bank, 0.05, **wanted)


@pytest.mark.parametrize(
    ("lens", "says"),
    [
        (Centred(), "centred fails the check positions: the same states read alone give another"),
        (Noisy(), "noisy fails the check determinism"),
        (Wide(), r"wide returned float32 \(\d+, 64\) for the states of layer 0: return a float tensor"),
        (OneForAll(), r"one for all returned float32 \(1, 32\)"),
        (Infinite(), "infinite fails the check finite: layer 1"),
        (Double(), r"double fails the check dtype: torch.float64 at layer 0"),
        (Overwriting(), "overwriting fails the check untouched: reading changed the states"),
        (Training(), "training fails the check"),
        (Hooking(), "hooking fails the check untouched: reading changed the model's hooks"),
        (BySlot(), "by slot fails the check layers"),
        (Unnamed(), "this Unnamed has none: give it one"),
        (Unspeakable(), "the parameter 'matrix' of the lens unspeakable is tensor"),
        (FunctionLens(lambda states: states - states.mean(0), name="mine"), "mine fails the check positions"),
    ],
    ids=lambda value: getattr(value, "name", None) or type(value).__name__,
)
def test_a_lens_that_breaks_a_rule_fails_by_its_name(lens, says):
    with pytest.raises(LensError, match=says):
        check_lens(lens, tiny_llama())


def test_fewer_rows_than_asked_for_are_seen(llama):
    with pytest.raises(LensError, match="clipped fails the check shape"):
        check_lens(Clipped(EmbeddingLens.of(llama).embeddings), llama)


def test_a_lens_for_other_models_says_so(demo, llama):
    with pytest.raises(SelectionError, match="the cross lens reads pictures that a model attends to"):
        check_lens("cross", demo)
    with pytest.raises(LensError, match="a lens reads a model, and 'demo' is none"):
        check_lens("logit", "demo")
    lens = made("after_norm", FIT_KINDS)
    with pytest.raises(LensError, match="a tuned lens for states 16 wide cannot read this model's, 32 wide"):
        check_lens(lens, llama)
    check_lens("logit", tiny_mllama())
