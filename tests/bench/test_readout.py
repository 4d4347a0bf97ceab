"""Reading for the bench agrees with the engine, and what it adds up agrees with sums by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from patchlens.axes import FIT_KINDS
from patchlens.bench.exam import drawn
from patchlens.bench.null_lenses import GREY, grey, shifted, twin
from patchlens.bench.readout import ScoredStates, ask_known, read_out, states_for
from patchlens.data.words import ConceptIds, concept_ids, scene_forms
from patchlens.lens import Lens, LogitLens
from patchlens.run import load


@dataclass(frozen=True)
class TurnedLens(Lens):
    """Adds the layer's number to every coordinate before the norm: a lens that cares about layer and kind."""

    by: float = 1.0
    name: str = "turned"

    def normed(self, resid_layer, layer, unembed):
        return unembed.norm(resid_layer + self.by * layer * torch.arange(unembed.d_model))


@dataclass(frozen=True)
class KindsLens(Lens):
    name: str = "kinds"

    def for_kind(self, kind):
        return TurnedLens(0.001 * (1 + FIT_KINDS.index(kind)))


@pytest.fixture(scope="module")
def model():
    return load("demo")


@pytest.fixture(scope="module")
def adapter(model):
    return model.adapter


@pytest.fixture(scope="module")
def concepts(adapter):
    return concept_ids(adapter.tokenizer, *scene_forms())


def states_of(model, seed: int) -> ScoredStates:
    return states_for(LogitLens(), ask_known(model, drawn(seed)))


@pytest.fixture(scope="module")
def both(model) -> tuple[ScoredStates, ScoredStates]:
    return states_of(model, 50_000_001), states_of(model, 50_000_002)


@pytest.mark.parametrize("lens", [LogitLens(), KindsLens()], ids=["logit", "kinds"])
def test_words_concepts_and_kl_are_the_engines(adapter, concepts, both, lens, monkeypatch) -> None:
    monkeypatch.setattr("patchlens.bench.readout._LOGITS_AT_ONCE", 40 * adapter.vocab_size)  # several chunks
    states, other = both
    found = read_out(states, lens, concepts, (), other)
    rows = torch.cat(list(states.at.values()))
    kinds = [kind for kind, own in states.at.items() for _ in own]
    ids = sorted(concepts.ids["cat"])
    engine = lens.read(
        *(states.resid[:, rows], states.final[rows], adapter.unembed, kinds),
        layers=states.layers,
        n_layers=adapter.n_layers,
        top_k=5,
        target_ids=ids,
    )
    patches = np.array(kinds) == "patch"
    np.testing.assert_array_equal(found.top_ids, engine.top_ids.numpy()[:, patches])
    expected = engine.target_logprobs.logsumexp(-1).numpy()[:, patches]
    np.testing.assert_allclose(found.concepts[..., concepts.keys.index("cat")], expected, atol=2e-4)
    for kind, drift in found.drift.items():
        own = np.array(kinds) == kind
        assert drift.n == own.sum()
        np.testing.assert_allclose(drift.kl, engine.kl_to_final.numpy()[:, own].sum(1), atol=2e-3)


def test_sums_over_positions_are_those_of_whole_distributions(adapter, concepts, both) -> None:
    states, other = both
    drift = read_out(states, LogitLens(), concepts, (), other).drift["answer"]
    own, them = states.at["answer"], other.at["answer"]
    them = them[torch.arange(len(own)) % len(them)]
    with torch.inference_mode():
        log_p = adapter.unembed.logits(states.final[own]).log_softmax(-1).double()
        log_o = adapter.unembed.logits(other.final[them]).log_softmax(-1).double()
        log_q = adapter.unembed.logits(states.resid[:, own]).log_softmax(-1).double()
    np.testing.assert_allclose(drift.entropy, -(log_p.exp() * log_p).sum(), rtol=1e-4)
    np.testing.assert_allclose(np.exp(drift.log_final), log_p.exp().sum(0), rtol=1e-4)
    np.testing.assert_allclose(drift.log_lens, log_q.logsumexp(1), atol=1e-3)
    np.testing.assert_allclose(drift.kl_other, (log_o.exp() * (log_o - log_q)).sum((1, 2)), rtol=1e-4)


def test_positions_are_told_apart_and_the_answer_is_all_there(model) -> None:
    picture, states = drawn(50_000_001), states_of(model, 50_000_001)
    assert len(states.at["patch"]) == 100 == len(states.boxes)
    answer = model.tokenizer.encode(f" {picture.answer}", add_special_tokens=False)
    assert len(states.at["answer"]) == len(answer)
    assert int(states.at["answer"][-1]) == states.resid.shape[1] - 1
    assert len(set(torch.cat(list(states.at.values())).tolist())) == sum(map(len, states.at.values()))
    assert 0 not in states.at["text"]  # the start token is special


def test_a_model_that_sees_by_cross_attention_has_no_patches_to_read() -> None:
    cross = load("demo-cross")
    states = states_of(cross, 50_000_001)
    assert set(states.at) == {"text", "answer"}
    assert len(states.boxes) == 0
    found = read_out(states, LogitLens(), ConceptIds({"cat": frozenset({1})}, ()), (), states)
    assert found.top_ids.shape == (cross.n_layers + 1, 0, 5)
    assert set(found.drift) == {"text", "answer"}


def test_a_twin_shuffles_what_was_learnt_and_keeps_what_says_words(model, adapter) -> None:
    before = {name: p.clone() for name, p in adapter.model.named_parameters()}
    one, two, again = (twin(model, seed).adapter for seed in (1, 2, 1))
    moved = 0
    for (name, p), q, r in zip(
        one.model.named_parameters(), two.model.parameters(), again.model.parameters(), strict=True
    ):
        torch.testing.assert_close(p, r)
        torch.testing.assert_close(p.flatten().sort().values, before[name].flatten().sort().values)
        moved += not torch.equal(p, q)
    assert moved > 20
    torch.testing.assert_close(one.unembed.weight, adapter.unembed.weight)
    torch.testing.assert_close(one.final_norm.weight, adapter.final_norm.weight)
    embeddings = [a.model.get_input_embeddings().weight for a in (one, adapter)]
    torch.testing.assert_close(*embeddings)
    for name, p in adapter.model.named_parameters():
        assert torch.equal(p, before[name])
    block = next(name for name in before if ".layers.0." in name and name.endswith("q_proj.weight"))
    assert not torch.equal(dict(one.model.named_parameters())[block], before[block])


def test_a_shift_reads_each_layer_as_another_but_the_last(adapter) -> None:
    n = adapter.n_layers
    for lens in (TurnedLens(), KindsLens()):
        moved = shifted(lens, n)
        own, other = (x.for_kind("text") if isinstance(lens, KindsLens) else x for x in (lens, moved))
        state = torch.randn(3, adapter.d_model)
        with torch.inference_mode():
            for layer in range(n):
                expected = own.normed(state, (layer + n // 2) % n, adapter.unembed)
                torch.testing.assert_close(other.normed(state, layer, adapter.unembed), expected)
            last = own.normed(state, n, adapter.unembed)
            torch.testing.assert_close(other.normed(state, n, adapter.unembed), last)


def test_a_blank_picture_keeps_size_and_question() -> None:
    picture = drawn(50_000_001)
    blank = grey(picture)
    assert blank.picture.shape == picture.picture.shape
    assert (blank.picture == GREY).all()
    assert (blank.prompt, blank.answer) == (picture.prompt, picture.answer)
