"""Sums over a stream and the ridge regression from them, against NumPy on all pairs at once."""

import numpy as np
import pytest
import torch

from patchlens.errors import FitError
from patchlens.fit.gram import Gram

LAYERS, PAIRS, D = 2, 60, 7


@pytest.fixture
def pairs():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(LAYERS, PAIRS, D, generator=g) * torch.logspace(-1, 1, D) + 5
    y = torch.randn(PAIRS, D, generator=g) + x[0] @ torch.randn(D, D, generator=g)
    return x, y


def filled(x, y, cuts=()):
    gram = Gram(LAYERS, D)
    for at in torch.arange(len(y)).tensor_split(list(cuts)):
        gram.add(x[:, at], y[at])
    return gram


def test_cut_up_and_whole_are_the_same(pairs):
    x, y = pairs
    whole, cut = filled(x, y), filled(x, y, (1, 17, 40))
    assert whole.n == cut.n == PAIRS
    for name in ("x", "y", "xx", "xy"):
        torch.testing.assert_close(getattr(cut, name), getattr(whole, name), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(whole.xy[1], x[1].double().T @ y.double())


@pytest.mark.parametrize(
    "prior",
    [None, torch.eye(D), torch.arange(1.0, 1 + D * D).view(D, D) / 9],
    ids=["zero", "identity", "some"],
)
@pytest.mark.parametrize("strength", [1e-6, 1e-2, 0.7])
def test_ridge_is_least_squares_with_penalty_rows(pairs, strength, prior):
    x, y = pairs
    weight, bias = filled(x, y, (30,)).ridge(strength, prior=prior)
    pulled = np.zeros((D, D)) if prior is None else prior.double().numpy()
    for layer in range(LAYERS):
        xs, ys = (t.double().numpy() - t.double().numpy().mean(0) for t in (x[layer], y))
        penalty = strength * np.mean(np.sum(xs**2, axis=0))
        rows = np.vstack([xs, np.sqrt(penalty) * np.eye(D)])
        expected = np.linalg.lstsq(rows, np.vstack([ys, np.sqrt(penalty) * pulled.T]), rcond=None)[0].T
        np.testing.assert_allclose(weight[layer], expected, rtol=1e-7, atol=1e-9)
        middle = y.double().mean(0) - weight[layer] @ x[layer].double().mean(0)
        torch.testing.assert_close(bias[layer], middle)
    assert weight.dtype == torch.float64


def test_the_penalty_means_the_same_at_every_scale_and_number(pairs):
    x, y = pairs
    weight, _ = filled(x, y).ridge(0.3)
    larger, _ = filled(100 * x, y).ridge(0.3)
    twice, _ = filled(x.repeat(1, 2, 1), y.repeat(2, 1)).ridge(0.3)
    torch.testing.assert_close(larger * 100, weight)
    torch.testing.assert_close(twice, weight)


def test_pairs_can_be_left_out(pairs):
    x, y = pairs
    some = [3, 50, 51, 7]
    rest = [i for i in range(PAIRS) if i not in some]
    left_out = filled(x, y).ridge(0.1, without=(x[:, some], y[some]))
    torch.testing.assert_close(left_out, filled(x[:, rest], y[rest]).ridge(0.1))
    with pytest.raises(FitError, match="at least 2 positions, and found 1"):
        filled(x, y).ridge(0.1, without=(x[:, 1:], y[1:]))


def test_too_few_pairs_are_refused(pairs):
    x, y = pairs
    with pytest.raises(FitError, match="at least 2 positions, and found 1"):
        filled(x[:, :1], y[:1]).ridge()
    with pytest.raises(FitError, match="5 positions do not determine 7 dimensions"):
        filled(x[:, :5], y[:5]).ridge(0.0)
    filled(x[:, :5], y[:5]).ridge(1e-2)


def test_states_that_never_change_are_refused(pairs):
    x, y = pairs
    with pytest.raises(FitError, match="layer 0"):
        filled(torch.ones_like(x), y).ridge()
