"""Gradient fits: they learn, and never give back anything worse on held-out states."""

import pytest
import torch
from fitted import D_MODEL, N_LAYERS, Rotated, closed, plain_unembed
from lens_oracle import make_unembed, oracle

from patchlens.errors import FitError
from patchlens.fit.gradient import _steps, before_norm, lowest, mean_kl, refine
from patchlens.fit.states import StateBatch
from patchlens.lens.tuned import TunedLens

KINDS = ("text", "patch")


@pytest.fixture(scope="module")
def noisy():
    states = Rotated(noise=1.0, kinds=KINDS)
    return states.batches(8), states.batches(3)


def roughly(noisy, unembed):
    """A closed form from few states, which leaves something to learn."""
    return closed([noisy[0][0]], unembed)


def fitted(lens, noisy, unembed, **kwargs):
    train, held_out = noisy
    return refine(
        lens, lambda: train, lambda: held_out, unembed, **{"epochs": 8, "rate": 1.0, "rows": 64} | kwargs
    )


@pytest.mark.parametrize("form", ["before_norm", "after_norm"])
def test_it_learns_from_identity(noisy, form):
    unembed = plain_unembed()
    start = TunedLens.identity(N_LAYERS, D_MODEL, form=form, kinds=KINDS)
    lens = fitted(start, noisy, unembed, rate=1.0)
    before, after = (mean_kl(own, lambda: noisy[1], unembed) for own in (start, lens))
    for kind in KINDS:
        assert (after[kind] < before[kind] / 2).all()
    assert lens.form == form
    assert lens.how == "identity+gradient"
    assert torch.equal(start.kinds["text"].bias, torch.zeros(N_LAYERS, D_MODEL))


def test_it_goes_on_from_the_closed_form(noisy):
    unembed = make_unembed(120, D_MODEL, bias=True, softcap=6.0)
    start = roughly(noisy, unembed)
    lens = fitted(start, noisy, unembed)
    before, after = (mean_kl(own, lambda: noisy[1], unembed) for own in (start, lens))
    for kind in KINDS:
        assert (after[kind] < before[kind] - 0.005).all()
    assert lens.how == "closed_form+gradient"
    assert lens.positions == start.positions


def test_a_harmful_fit_gives_back_what_it_was_given(noisy):
    """Trained on other states than it is judged on, at a rate that breaks everything."""
    unembed, wrong = plain_unembed(), Rotated(noise=1.0, kinds=("patch", "text"), seed=9).batches(4)
    start = roughly(noisy, unembed)
    told = []
    lens = fitted(
        start, (wrong, noisy[1]), unembed, rate=1000.0, patience=2, progress=lambda *at: told.append(at)
    )
    for kind in KINDS:
        assert torch.equal(lens.kinds[kind].weight, start.kinds[kind].weight)
        assert torch.equal(lens.kinds[kind].bias, start.kinds[kind].bias)
    assert [at[:2] for at in told] == [(1, 8), (2, 8)]


def test_no_layer_of_any_kind_gets_worse_on_held_out(noisy):
    """One layer is good and trained on states turned round, which only does harm; the others learn."""
    unembed = plain_unembed()
    train = [StateBatch(b.resid.clone(), b.final, b.kinds) for b in noisy[0]]
    for batch in train:
        batch.resid[1] *= -1
    start = closed(noisy[0], unembed)
    for own in start.kinds.values():
        own.weight[[0, 2]] *= 0.5
    lens = fitted(start, (train, noisy[1]), unembed)
    before, after = (mean_kl(own, lambda: noisy[1], unembed) for own in (start, lens))
    for kind in KINDS:
        assert (after[kind] <= before[kind]).all()
        assert torch.equal(lens.kinds[kind].weight[1], start.kinds[kind].weight[1])
        assert not torch.equal(lens.kinds[kind].weight[0], start.kinds[kind].weight[0])


def test_a_kind_that_was_not_held_out_stays_as_it_was(noisy):
    unembed = plain_unembed()
    text_only = [batch.of_kind("text") for batch in noisy[1]]
    start = roughly(noisy, unembed)
    lens = fitted(start, (noisy[0], text_only), unembed)
    assert torch.equal(lens.kinds["patch"].weight, start.kinds["patch"].weight)
    assert not torch.equal(lens.kinds["text"].weight, start.kinds["text"].weight)
    with pytest.raises(FitError, match="no held-out position"):
        fitted(start, (noisy[0], []), unembed)


def test_a_seed_gives_the_same_again(noisy):
    unembed = plain_unembed()
    one, same, other = (fitted(roughly(noisy, unembed), noisy, unembed, seed=s, epochs=2) for s in (1, 1, 2))
    assert torch.equal(one.kinds["text"].weight, same.kinds["text"].weight)
    assert not torch.equal(one.kinds["text"].weight, other.kinds["text"].weight)


def test_the_learning_rate_falls_linearly(noisy, monkeypatch):
    rates = []

    class Watched(torch.optim.SGD):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    monkeypatch.setattr(torch.optim, "SGD", Watched)
    unembed = plain_unembed()
    fitted(roughly(noisy, unembed), noisy, unembed, epochs=4, rate=0.2)
    assert sorted(set(rates), reverse=True) == pytest.approx([0.02, 0.015, 0.01, 0.005])
    assert rates == sorted(rates, reverse=True)


def test_mean_kl_is_the_mean_over_positions(noisy):
    unembed = make_unembed(120, D_MODEL, bias=True)
    identity = TunedLens.identity(N_LAYERS, D_MODEL, kinds=("text",))
    found = mean_kl(identity, lambda: noisy[1], unembed)
    resid = torch.cat([batch.of_kind("text").resid for batch in noisy[1]], 1)
    torch.testing.assert_close(found["text"], oracle(resid, unembed).kl[:-1].mean(1).float())
    assert list(found) == ["text"]


def test_every_position_is_taken_once_and_pictures_are_mixed():
    batches = [
        StateBatch(torch.full((1, 30, 2), float(i)), torch.full((30, 2), float(i)), ("patch",) * 30)
        for i in range(9)
    ]
    steps = [step for _, step in _steps(batches, ("text", "patch"), 16, torch.Generator().manual_seed(0))]
    taken = torch.cat([step.final[:, 0] for step in steps])
    assert torch.equal(taken.sort().values, torch.arange(9.0).repeat_interleave(30))
    assert all(len(step.final[:, 0].unique()) > 1 for step in steps)
    assert all(torch.equal(step.resid[0], step.final) for step in steps)
    assert max(len(step.final) for step in steps) <= 24


def test_the_model_gets_no_gradient(noisy):
    norm = torch.nn.RMSNorm(D_MODEL)
    weight = torch.nn.Parameter(torch.randn(50, D_MODEL, generator=torch.Generator().manual_seed(0)))
    unembed = type(plain_unembed())(norm, weight)
    fitted(TunedLens.identity(N_LAYERS, D_MODEL, kinds=KINDS), noisy, unembed, epochs=1)
    assert norm.weight.grad is None
    assert weight.grad is None


@pytest.mark.parametrize("centred", [False, True])
def test_the_closed_form_is_put_before_the_norm(noisy, centred):
    """States of one size say the same in both forms, but for how sure they are; raw layers stay raw."""
    norm = torch.nn.LayerNorm(D_MODEL) if centred else torch.nn.RMSNorm(D_MODEL)
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(D_MODEL, generator=draw))
        if centred:
            norm.bias.copy_(torch.randn(D_MODEL, generator=draw))
    unembed = type(plain_unembed())(norm, torch.randn(50, D_MODEL, generator=draw))
    start = closed(noisy[0], unembed)
    start.kinds["text"].weight[1], start.kinds["text"].bias[1] = torch.eye(D_MODEL), 0
    resid = torch.randn(N_LAYERS, 40, D_MODEL, generator=draw)
    resid -= resid.mean(-1, keepdim=True)
    resid *= 3 / resid.square().mean(-1, keepdim=True).sqrt()
    states = StateBatch(resid, resid[-1], ("text", "patch") * 20)
    lens = before_norm(start, [states], unembed)
    assert lens.form == "before_norm" and lens.how == start.how
    torch.testing.assert_close(lens.kinds["text"].weight[1], torch.zeros(D_MODEL, D_MODEL), atol=1e-5, rtol=0)
    torch.testing.assert_close(lens.kinds["text"].bias[1], torch.zeros(D_MODEL), atol=1e-5, rtol=0)
    for kind in KINDS:
        own = states.of_kind(kind)
        for layer in range(N_LAYERS):
            after, before = (
                one.for_kind(kind).normed(own.resid[layer], layer, unembed) for one in (start, lens)
            )
            said = (after - norm(torch.zeros(D_MODEL))) / norm.weight
            if centred:
                said = said - said.mean(-1, keepdim=True)
            expected = norm(said)
            torch.testing.assert_close(before, expected, atol=2e-3, rtol=1e-3)


def test_each_layer_is_of_the_lens_that_is_lowest_there(noisy):
    unembed = plain_unembed()
    good, bad = roughly(noisy, unembed), roughly(noisy, unembed)
    bad.kinds["text"].weight[0] *= -1
    good.kinds["text"].weight[2] *= -1
    mixed = lowest([good, bad], lambda: noisy[1], unembed)
    assert torch.equal(mixed.kinds["text"].weight[0], good.kinds["text"].weight[0])
    assert torch.equal(mixed.kinds["text"].weight[2], bad.kinds["text"].weight[2])
