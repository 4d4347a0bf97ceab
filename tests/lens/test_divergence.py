"""KL and its written-out gradient, against autograd on a full softmax in float64."""

import pytest
import torch
from lens_oracle import all_logits, make_states, make_unembed
from test_memory import peak_bytes

from patchlens.lens.engine import divergence
from patchlens.lens.engine.chunks import make_plan
from patchlens.lens.engine.divergence import kl_to_final

FORMS = [
    {},
    {"bias": True},
    {"scale": 0.3},
    {"softcap": 4.0},
    {"bias": True, "scale": 1.7, "softcap": 6.0},
]


def naive(states, final, unembed):
    """KL over the whole vocabulary, differentiable."""
    reference = all_logits(final, unembed).log_softmax(-1)
    return (reference.exp() * (reference - all_logits(states, unembed).log_softmax(-1))).sum(-1)


@pytest.fixture(params=[(None, None), (2, 17)], ids=["one block", "many"])
def cut(request, monkeypatch):
    """Optionally cut positions and vocabulary into many small pieces."""
    block, chunk = request.param

    def small(layers, positions, weight, _):
        plan = make_plan(layers, positions, weight, chunk)
        return plan if block is None else type(plan)(positions, block, plan.rows, chunk, plan.n_chunks)

    monkeypatch.setattr(divergence, "make_plan", small)


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_value_and_gradient_are_those_of_autograd(form):
    unembed = make_unembed(**form)
    states = make_states(3, 5).double().requires_grad_()
    final = make_states(1, 5, seed=2)[0].double()
    weights = torch.rand(3, 5, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    expected = naive(states, final, unembed)
    (wanted,) = torch.autograd.grad((expected * weights).sum(), states)
    found = kl_to_final(states, final, unembed)
    (gradient,) = torch.autograd.grad((found * weights).sum(), states)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradient, wanted, rtol=1e-9, atol=1e-12)
    assert wanted.abs().max() > 0.01


def test_a_numeric_derivative_agrees():
    unembed = make_unembed(20, 4, bias=True, softcap=3.0, scale=0.7)
    states, final = make_states(2, 3, 4).double().requires_grad_(), make_states(1, 3, 4, seed=2)[0].double()
    assert torch.autograd.gradcheck(lambda s: kl_to_final(s, final, unembed), states)


def test_float32_is_within_1e_5_of_float64():
    unembed = make_unembed(5000, 64, bias=True)
    states, final = make_states(4, 50, 64), make_states(1, 50, 64, seed=2)[0]
    found = kl_to_final(states, final, unembed)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), naive(states, final, unembed), rtol=1e-5, atol=1e-5)
    same = kl_to_final(final[None], final, unembed)
    assert same.abs().max() < 1e-5


def test_16_bit_weights_are_multiplied_in_float32():
    unembed = make_unembed(300, 16, dtype=torch.bfloat16)
    states, final = make_states(2, 5), make_states(1, 5, seed=2)[0].bfloat16()
    torch.testing.assert_close(
        kl_to_final(states, final, unembed).double(), naive(states, final, unembed), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("layers", "positions", "vocab"), [(12, 200, 5_000), (12, 200, 20_000), (40, 200, 5_000)]
)
def test_memory_is_bounded_whatever_the_vocabulary(layers, positions, vocab):
    unembed, final = make_unembed(vocab, 32), make_states(1, positions, 32)[0]
    states = make_states(layers, positions, 32).requires_grad_()
    peak, largest = peak_bytes(lambda: kl_to_final(states, final, unembed).sum().backward())
    assert 1_000_000 < peak < 40_000_000
    assert largest < 10_000_000 < 4 * layers * positions * vocab / 4
