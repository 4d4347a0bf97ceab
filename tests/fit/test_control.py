"""The control tells a lens that reads the answer from one that has learnt which answers are common."""

import numpy as np
import pytest
import torch

from patchlens.fit.batches import Batches
from patchlens.fit.control import surviving
from patchlens.fit.gather import Gathered
from patchlens.fit.settings import TunedSettings
from patchlens.fit.states import StateStore
from patchlens.fit.tuned import _Fit
from tiny import tiny_llama

ITEMS, HELD, EACH = 120, 40, 4
SKEWED, EQUAL = (0.7, 0.1, 0.1, 0.1), (1 / 24,) * 24


@pytest.fixture(scope="module")
def adapter():
    built = tiny_llama()
    with torch.no_grad():
        built.unembed.weight.mul_(8)
    return built


def gathered(adapter, folder, *, answer_in_state, prior=EQUAL):
    """Answer positions whose answer follows from the state, turned at each layer, or not at all."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(5)
    d_model, n_layers = adapter.d_model, adapter.n_layers
    prototypes = 3 * torch.randn(len(prior), d_model, generator=generator)
    turns = torch.linalg.qr(torch.randn(n_layers, d_model, d_model, generator=generator)).Q
    store = StateStore(folder)
    for index in range(ITEMS):
        answer = torch.multinomial(torch.tensor(prior), EACH, replacement=True, generator=generator)
        final = prototypes[answer] + 0.02 * torch.randn(EACH, d_model, generator=generator)
        source = final if answer_in_state else 3 * torch.randn(EACH, d_model, generator=generator)
        resid = torch.cat([source @ turns, final[None]])
        store.put(index, resid, ["answer"] * EACH, [0] * 4)
    sides = ("held_out",) * HELD + ("train",) * (ITEMS - HELD)
    return Gathered(store, tuple(range(ITEMS)), sides)


def fitted(adapter, folder, **case):
    fit = _Fit(
        adapter, gathered(adapter, folder, **case), TunedSettings(strengths=(1e-3,)), lambda *_, **__: None
    )
    return fit.run("constructed").report


def test_an_answer_in_the_state_survives(adapter, tmp_path):
    report = fitted(adapter, tmp_path / "in", answer_in_state=True)
    control = report.control
    assert np.mean(control.top1["tuned"]) > 0.9
    assert control.surviving_top1.value > 0.9
    # the rest of this gain is that nonsense is said with less certainty, which the control learns too
    assert 0.3 < control.surviving_logprob.value < 0.7
    by_layer = control.surviving_by_layer
    for layer in range(adapter.n_layers):
        raw, tuned, shuffled = (control.top1[lens][layer] for lens in ("raw", "tuned", "control"))
        assert by_layer["top1"][layer] == pytest.approx(1 - max(0, shuffled - raw) / (tuned - raw))
        assert 0.2 < by_layer["logprob"][layer] < 0.8
    assert report.kinds["answer"].headline["first half"]["tuned"].value < 0.3
    assert "survives" in control.sentence and "40 held-out pictures (160 answer positions" in control.sentence


def test_an_answer_that_is_not_in_the_state_does_not(adapter, tmp_path):
    control = fitted(adapter, tmp_path / "out", answer_in_state=False, prior=SKEWED).control
    assert np.mean(control.logprob["tuned"]) > np.mean(control.logprob["raw"]) + 1
    assert abs(control.surviving_logprob.value) < 0.1
    assert abs(control.surviving_top1.value) < 0.2


def test_control_batches_pair_states_with_other_answers(adapter, tmp_path):
    some = gathered(adapter, tmp_path / "pairs", answer_in_state=True)
    batches = Batches(some.store, (3, 4), {3: 7, 4: 3})
    own, paired = some.store.batch(3), batches[0]
    assert torch.equal(paired.resid, own.resid)
    assert torch.equal(paired.final, some.store.batch(7).final)
    assert not torch.equal(paired.final, own.final)
    assert len(list(batches)) == 2


def test_the_surviving_share():
    raw, tuned, control = np.zeros(5), np.array([2.0, 2, 2, 0, -1]), np.array([1.0, 2, -3, 0, -2])
    shares = surviving([x[:, None] for x in (raw, tuned, control)])
    np.testing.assert_array_equal(shares, [0.5, 0.0, 1.0, np.nan, np.nan])
    two_layers = [np.array([[0.0, 0.0]]), np.array([[1.0, 3.0]]), np.array([[1.0, -9.0]])]
    np.testing.assert_array_equal(surviving(two_layers), [0.75])
