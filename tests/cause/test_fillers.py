"""What stands in the place of patches: never a case's own states, unless there are no others."""

import numpy as np
import pytest
import torch

from patchlens.causal import Mean, Noise, Other, Zero, patch_states
from patchlens.cause import fillers
from patchlens.cause.cases import as_cases
from patchlens.cause.fillers import case_rng, make_fillers
from patchlens.data.item import Item
from patchlens.errors import SelectionError
from patchlens.models.inputs import prepare
from patchlens.run import Model, load
from tiny import BUILDERS

PICTURES = [np.random.default_rng(seed).integers(0, 255, (56, 56, 3), np.uint8) for seed in range(3)]


@pytest.fixture(scope="module", params=["llava", "mllama"])
def model(request):
    return Model(BUILDERS[request.param]())


def cases(n=3):
    return as_cases([Item(f"p{i}", "what is this?", (PICTURES[i],)) for i in range(n)])


def states(model, number):
    return patch_states(model.adapter, [prepare(model.adapter, "what is this?", [PICTURES[number]])])


def test_the_mean_is_that_of_the_other_pictures(model):
    made = make_fillers(model, cases(), "mean")
    expected = torch.cat([states(model, 0), states(model, 2)]).float().mean(0)
    by = made.by(cases()[1])
    assert isinstance(by, Mean)
    torch.testing.assert_close(by.states([0], model.d_model)[0], expected)
    assert made.name == "the mean patch of the other pictures"


def test_a_single_picture_is_its_own_reference_and_has_no_other(model):
    made = make_fillers(model, cases(1), "mean")
    torch.testing.assert_close(
        made.by(cases()[0]).states([0], model.d_model)[0], states(model, 0).float().mean(0)
    )
    assert "the picture itself" in made.name
    with pytest.raises(SelectionError, match="no other to take patches from"):
        make_fillers(model, cases(1), "other")


def test_the_other_kinds(model):
    assert isinstance(make_fillers(model, cases(), "zero").by(cases()[0]), Zero)
    assert isinstance(make_fillers(model, cases(), "noise").by(cases()[0]), Noise)
    made = make_fillers(model, cases(), "other")
    by = made.by(cases()[0])
    assert isinstance(by, Other)
    assert any(torch.equal(by.picture, states(model, other)) for other in (1, 2))
    with pytest.raises(SelectionError, match="mean, zero, noise, other, not by 'grey'"):
        make_fillers(model, cases(), "grey")


def test_a_bundled_model_has_drawn_scenes_that_nothing_is_reported_on(monkeypatch):
    monkeypatch.setattr(fillers, "DRAWN", 2)
    made = make_fillers(load("demo"), cases(1), "mean")
    assert len(made.reference) == 2
    numbers = [int(name.split()[1]) for name in made.reference]
    assert all(9_500_000 <= number < 10_000_000 for number in numbers)


def test_random_numbers_follow_the_case_and_the_seed():
    first, second, _ = cases()
    draws = [case_rng(case, seed).integers(10**9) for case, seed in ((first, 0), (first, 1), (second, 0))]
    assert len(set(draws)) == 3
    assert case_rng(cases()[0], 0).integers(10**9) == draws[0]
