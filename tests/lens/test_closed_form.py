"""The closed form on states whose right lens is known, its temperature, and what it refuses."""

import pytest
import torch
from fitted import D_MODEL, N_LAYERS, Rotated, closed, plain_unembed, rotations
from lens_oracle import make_states, make_unembed

from patchlens.errors import FitError
from patchlens.fit.closed_form import ClosedForm, best_temperatures
from patchlens.fit.reservoir import Reservoir
from patchlens.fit.states import StateBatch
from patchlens.lens import LogitLens
from patchlens.lens.engine.divergence import kl_to_final
from patchlens.lens.tuned import TunedLens, after_norm


def read(batch, lens, unembed):
    return lens.read(
        batch.resid,
        batch.final,
        unembed,
        batch.kinds,
        layers=range(N_LAYERS + 1),
        n_layers=N_LAYERS,
        top_k=3,
    )


def test_the_inverse_rotation_is_found_where_the_logit_lens_is_at_chance():
    unembed, states = plain_unembed(), Rotated()
    lens = closed(states.batches(), unembed, strength=1e-9)
    torch.testing.assert_close(lens.kinds["text"].weight, rotations().mT, atol=1e-3, rtol=0)
    torch.testing.assert_close(lens.kinds["text"].bias, torch.zeros(N_LAYERS, D_MODEL), atol=1e-3, rtol=0)
    fresh = states.batch(300)
    raw, tuned = read(fresh, LogitLens(), unembed), read(fresh, lens, unembed)
    agrees = (raw.top_ids[:-1, :, 0] == raw.top_ids[-1, :, 0]).float().mean()
    assert agrees < 0.06
    assert raw.kl_to_final[:-1].mean() > 4
    assert torch.equal(tuned.top_ids[:-1, :, 0], tuned.top_ids[-1:, :, 0].expand(N_LAYERS, -1))
    assert tuned.kl_to_final.max() < 1e-4


def test_each_kind_gets_its_own_inverse():
    unembed, states = plain_unembed(), Rotated(kinds=("text", "patch", "answer"))
    lens = closed(states.batches(), unembed, strength=1e-9)
    for place, kind in enumerate(("text", "patch", "answer")):
        torch.testing.assert_close(lens.kinds[kind].weight, rotations(3 + place).mT, atol=1e-3, rtol=0)
    assert read(states.batch(60), lens, unembed).kl_to_final.max() < 1e-4
    mixed = closed(
        [StateBatch(b.resid, b.final, ("text",) * len(b.final)) for b in states.batches()], unembed
    )
    assert read(states.batch(60), mixed, unembed).kl_to_final[:-1].mean() > 0.5


@pytest.mark.parametrize("form", [{}, {"bias": True, "scale": 0.5}, {"softcap": 5.0}], ids=str)
def test_the_temperature_is_the_best_of_a_fine_grid(form):
    unembed = make_unembed(**form)
    final = make_states(1, 40)[0] * 0.5
    noise = make_states(3, 40, seed=4)
    states = torch.stack([0.3 * final + 0.02 * noise[0], 2.5 * final + 0.4 * noise[1], final + noise[2]])
    found = best_temperatures(states, final, unembed)
    grid = torch.logspace(-3, 3, 1201, base=2.0)
    kl = torch.stack([kl_to_final(states * factor, final, unembed).mean(-1) for factor in grid])
    best = grid[kl.argmin(0)]
    torch.testing.assert_close(found.log(), best.log(), atol=8e-3, rtol=0)
    assert found.max() / found.min() > 2
    at_found = kl_to_final(states * found[:, None, None], final, unembed).mean(-1)
    torch.testing.assert_close(at_found, kl.amin(0), atol=1e-3, rtol=0)


def test_the_temperature_makes_a_thin_fit_less_sure():
    """Found on positions the regression has seen, it would stay near one."""
    unembed, states = plain_unembed(), Rotated(noise=1.0)
    train, fresh = states.batch(40), states.batch(400)
    for batch in (train, fresh):
        batch.final[:] += 1
    fit = ClosedForm(N_LAYERS, D_MODEL, unembed)
    fit.add(train.resid, train.final, train.kinds)
    lens = fit.solve(1e-3).kinds["text"]
    stronger = 1e-3 * 20 * D_MODEL / 40  # the fewer the positions, the more it is held to the logit lens
    weight, bias = (p.float() for p in fit._grams["text"].ridge(stronger, prior=torch.eye(D_MODEL)))
    factors = lens.weight.flatten(1).norm(dim=1) / weight.flatten(1).norm(dim=1)
    torch.testing.assert_close(lens.bias, bias * factors[:, None])
    assert bias.abs().mean() > 0.1
    seen, y = after_norm(unembed.norm(train.resid[:-1]), weight, bias), unembed.norm(train.final)
    assert (factors < best_temperatures(seen, y, unembed) - 0.05).all()
    x, y = unembed.norm(fresh.resid[:-1]), unembed.norm(fresh.final)
    plain, cooled = (
        kl_to_final(after_norm(x, *own), y, unembed).mean()
        for own in ((weight, bias), (lens.weight, lens.bias))
    )
    assert cooled < plain - 0.05


def test_few_positions_make_a_logit_lens_rather_than_nothing():
    unembed, batch = plain_unembed(), Rotated().batch(3)
    still = StateBatch(batch.final.repeat(N_LAYERS, 1, 1), batch.final, batch.kinds)
    lens = closed([still], unembed, strength=1.0)
    torch.testing.assert_close(lens.kinds["text"].weight, torch.eye(D_MODEL).expand(N_LAYERS, -1, -1))


def test_a_noisy_fit_beats_the_logit_lens_and_is_the_same_again():
    unembed, states = plain_unembed(), Rotated(noise=1.0, kinds=("text", "answer"))
    train, fresh = states.batches(), states.batch(200)
    lens = closed(train, unembed, seed=4)
    gain = read(fresh, LogitLens(), unembed).kl_to_final - read(fresh, lens, unembed).kl_to_final
    assert (gain[:-1].mean(1) > 2).all()
    again = closed(train, unembed, seed=4)
    for kind, own in lens.kinds.items():
        assert torch.equal(own.weight, again.kinds[kind].weight)
    assert lens.positions == {"text": 500, "answer": 500}
    assert lens.params()["how"] == "closed_form"


def test_thin_fits_are_noted():
    unembed, states = plain_unembed(), Rotated(kinds=("text", "patch", "patch", "patch", "patch"))
    lens = closed(states.batches(count=4), unembed)
    assert lens.note == "text: fitted on 80 positions, 5.0 per dimension; 20 to 35 are wanted"


def test_what_cannot_be_fitted_is_refused():
    unembed, batch = plain_unembed(), Rotated().batch(8)
    with pytest.raises(FitError, match="no position was given"):
        ClosedForm(N_LAYERS, D_MODEL, unembed).solve()
    one = StateBatch(batch.resid[:, :1], batch.final[:1], ("text",))
    with pytest.raises(
        FitError, match="text positions: a regression needs at least 2 positions, and found 1"
    ):
        closed([one], unembed)
    with pytest.raises(FitError, match="text positions: layer 0: 8 positions do not determine 16"):
        closed([batch], unembed, strength=0.0)
    with pytest.raises(FitError, match="expected the states of 3 layers"):
        ClosedForm(N_LAYERS, D_MODEL, unembed).add(batch.resid[:2], batch.final, batch.kinds)
    with pytest.raises(FitError, match="7 kinds"):
        ClosedForm(N_LAYERS, D_MODEL, unembed).add(batch.resid, batch.final, batch.kinds[:7])
    broken = batch.resid.clone()
    broken[1, 2, 3] = torch.nan
    with pytest.raises(FitError, match="not finite"):
        ClosedForm(N_LAYERS, D_MODEL, unembed).add(broken, batch.final, batch.kinds)


def test_the_last_layer_may_be_given_and_plays_no_part():
    unembed, batches = plain_unembed(), Rotated(noise=0.5).batches()
    short = [StateBatch(b.resid[:-1], b.final, b.kinds) for b in batches]
    one, other = closed(batches, unembed), closed(short, unembed)
    assert isinstance(one, TunedLens)
    assert torch.equal(one.kinds["text"].weight, other.kinds["text"].weight)


def test_the_reservoir_keeps_each_pair_with_the_same_chance():
    count, size, rounds = 40, 10, 400
    x = torch.arange(count, dtype=torch.float32)[None, :, None]
    kept = torch.zeros(count)
    for seed in range(rounds):
        reservoir = Reservoir(size, seed)
        for at in torch.arange(count).split(7):
            reservoir.add(x[:, at], x[0, at])
        own, shared = reservoir.pairs(size)
        assert torch.equal(own[0], shared)
        assert len(own[0].unique()) == size
        kept[own.flatten().long()] += 1
    expected = rounds * size / count
    spread = (rounds * size / count * (1 - size / count)) ** 0.5
    assert (kept - expected).abs().max() < 4 * spread
