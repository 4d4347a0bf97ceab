"""The report's numbers against a naive computation with everything held at once."""

import numpy as np
import pytest
import torch

from patchlens.fit.measure import KindSums, Sums, measure
from patchlens.fit.report import headline, kind_report, scores
from patchlens.fit.states import StateBatch
from patchlens.lens import LogitLens
from patchlens.lens.tuned import Translators, TunedLens
from patchlens.run import Model
from pictures_of import noise
from tiny import tiny_gemma2, tiny_gpt2, tiny_llava


@pytest.fixture(scope="module")
def llava():
    return tiny_llava()


def batches_of(adapter, prompts, *, pictures=False):
    batches = []
    for seed, prompt in enumerate(prompts):
        images = noise(seed) if pictures else None
        trace = Model(adapter).trace(images, prompt, max_new_tokens=3, steps=True)
        batches.append(StateBatch(trace.resid, trace.captured.final, tuple(trace.fit_kinds)))
    return batches


def some_lens(adapter, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def translators():
        shape = (adapter.n_layers, adapter.d_model, adapter.d_model)
        weight = torch.eye(adapter.d_model) + 0.2 * torch.randn(shape, generator=generator)
        return Translators(weight, 0.1 * torch.randn(shape[:2], generator=generator))

    return TunedLens("after_norm", {kind: translators() for kind in ("text", "patch", "answer")})


def naive(adapter, lens, batches, kind):
    """KL, bias in bits, cross-entropy and agreement by layer, from all distributions at once."""
    unembed = adapter.unembed
    final = torch.cat([b.of_kind(kind).final for b in batches])
    resid = torch.cat([b.of_kind(kind).resid for b in batches], 1)
    model = unembed.logits(final).double().log_softmax(-1)
    rows = []
    for layer in range(adapter.n_layers):
        normed = (
            lens.for_kind(kind).normed(resid[layer], layer, unembed)
            if hasattr(lens, "for_kind")
            else (lens.normed(resid[layer], layer, unembed))
        )
        own = unembed.finish(normed @ unembed.weight.T).double().log_softmax(-1)
        target = model.argmax(-1)
        p, q = model.exp().mean(0), own.exp().mean(0)
        rows.append(
            [
                (model.exp() * (model - own)).sum(-1).mean(),
                (p * (p / q).log2()).sum(),
                -own[range(len(own)), target].mean(),
                (own.argmax(-1) == target).double().mean(),
            ]
        )
    return torch.tensor(rows).T.numpy()


@pytest.mark.parametrize("make", [tiny_llava, tiny_gpt2, tiny_gemma2])
def test_measures_are_those_of_the_whole_table(make, monkeypatch):
    adapter = make()
    pictures = make is tiny_llava
    batches = batches_of(adapter, ["a red cat sits", "what is in the picture", "dog"], pictures=pictures)
    monkeypatch.setattr("patchlens.fit.measure._BLOCK_BYTES", 4 * adapter.vocab_size * 3)
    lenses = {"raw": LogitLens(), "tuned": some_lens(adapter)}
    with torch.no_grad():
        found = measure(lenses, enumerate(batches), adapter.unembed, n_groups=3, n_layers=adapter.n_layers)
        assert set(found) == {"text", "answer"} | ({"patch"} if pictures else set())
        for kind, sums in found.items():
            assert sums.count.tolist() == [b.kinds.count(kind) for b in batches]
            for name, lens in lenses.items():
                own = scores(sums, name)
                got = np.array([own.kl, own.bias_bits, own.cross_entropy, own.top1])
                np.testing.assert_allclose(got, naive(adapter, lens, batches, kind), rtol=2e-4, atol=2e-6)


def test_the_engine_gives_the_same_kl(llava):
    (batch,) = batches_of(llava, ["a red cat"], pictures=True)
    lens = some_lens(llava)
    layers = tuple(range(llava.n_layers + 1))
    asked = {"layers": layers, "n_layers": llava.n_layers, "top_k": 1}
    seen = lens.read(batch.resid, batch.final, llava.unembed, batch.kinds, **asked)
    own = measure({"tuned": lens}, [(0, batch)], llava.unembed, n_groups=1, n_layers=llava.n_layers)
    for kind, sums in own.items():
        at = [i for i, each in enumerate(batch.kinds) if each == kind]
        kl = seen.kl_to_final[:-1, at].mean(1)
        np.testing.assert_allclose(sums.mean("tuned", "kl"), kl, rtol=1e-4, atol=1e-5)
        hits = (seen.top_ids[:, at, 0] == seen.top_ids[-1, at, 0]).float().mean(1)[:-1]
        np.testing.assert_allclose(sums.mean("tuned", "top1"), hits)


def test_a_report_is_of_means_over_positions_and_pictures(llava):
    batches = batches_of(llava, ["a red cat", "what is it", "a blue dog", "is there"], pictures=True)
    lenses = {"raw": LogitLens(), "tuned": some_lens(llava)}
    asked = {"n_groups": 2, "n_layers": llava.n_layers}
    held = measure(lenses, [(0, batches[0]), (1, batches[1])], llava.unembed, **asked)["text"]
    train = measure(lenses, [(0, batches[2]), (0, batches[3])], llava.unembed, **asked)["text"]
    report = kind_report(held, train, fitted=64, d_model=32, strength=0.1)
    assert report.per_dimension == 2
    assert report.positions == {"held_out": int(held.count.sum()), "train": int(train.count.sum())}
    gap = np.array(report.scores["held_out"]["tuned"].kl) - report.scores["train"]["tuned"].kl
    np.testing.assert_allclose(report.overfit, gap)
    for half, span in (("first half", slice(0, 2)), ("second half", slice(2, 4))):
        for lens in lenses:
            estimate = report.headline[half][lens]
            assert estimate.value == pytest.approx(np.mean(report.scores["held_out"][lens].kl[span]))
            assert estimate.low <= estimate.value <= estimate.high


def test_one_held_out_picture_has_no_interval_and_a_mean_kl_none_below_zero(llava):
    (batch,) = batches_of(llava, ["a red cat"], pictures=True)
    lenses = {"raw": LogitLens(), "tuned": some_lens(llava)}
    one = measure(lenses, [(0, batch)], llava.unembed, n_groups=1, n_layers=llava.n_layers)["text"]
    report = kind_report(one, one, fitted=64, d_model=32, strength=0.1)
    for by_lens in report.headline.values():
        for estimate in by_lens.values():
            assert estimate.low is None and "to" not in str(estimate)
    count = np.ones(3)
    sums = Sums(np.array([[0.1], [0.1], [9.0]]), *(np.zeros((3, 1)) for _ in range(3)))
    found = headline(KindSums(count, np.zeros(1), {"raw": sums}))["second half"]["raw"]
    assert 0 <= found.low < found.value < found.high
