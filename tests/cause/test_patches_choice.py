"""Layer and number of patches are chosen on validation scenes, and by what they do there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from patchlens.causal.pointing import Above, Top
from patchlens.cause.cases import own_cases
from patchlens.cause.patches import choice
from patchlens.cause.patches.choice import choose, settle
from patchlens.cause.patches.measure import Settings, Subject, subject_of
from patchlens.cause.patches.replacing import make_replacing
from patchlens.data.item import Item
from patchlens.errors import SelectionError
from patchlens.lens import CrossLens, Lens, LogitLens
from patchlens.run import load
from tiny import BUILDERS

PICTURE = np.random.default_rng(0).integers(0, 255, (56, 56, 3), np.uint8)


def silent(*_):
    pass


@dataclass(frozen=True)
class GoodAt(Lens):
    """The logit lens at one layer; at others it gives every patch the same."""

    layer: int
    name: str = "good-at"

    def normed(self, resid_layer, layer, unembed):
        normed = LogitLens().normed(resid_layer, layer, unembed)
        return normed if layer == self.layer else torch.zeros_like(normed)


@pytest.fixture(scope="module")
def subject():
    adapter = load("demo").adapter
    return subject_of(adapter, GoodAt(3), make_replacing(adapter, (), "mean"), ())


def test_the_layer_that_tells_something_is_chosen_on_validation_scenes_only(subject, monkeypatch):
    asked: list[tuple[int, ...]] = []
    original = choice.drawn_cases

    def spied(*arguments, **more):
        cases = original(*arguments, **more)
        asked.append(tuple(int(case.name.split()[1]) for case in cases))
        return cases

    monkeypatch.setattr(choice, "drawn_cases", spied)
    chosen = choose(subject, Settings(word="cat"), silent, layers=[1, 3, 5], scenes=3)
    assert chosen.layer == 3 and chosen.scenes == 3
    assert len(chosen.scores) == 3 + 4 and chosen.scores[0][1] > 0.5
    of_others = [score for (layer, _), score in chosen.scores if layer != 3]
    assert of_others == [0.0, 0.0]  # all patches are pointed at, so as many at random are the same
    assert all(9_000_000 <= number < 9_500_000 for numbers in asked for number in numbers)
    assert "3 other drawn scenes" in str(chosen)


def test_what_is_given_is_kept(subject):
    cases = own_cases([Item("mine", "What is this?", (PICTURE,))])
    settings, note = settle(subject, cases, Settings(), -2, Top(0.2), silent)
    assert (settings.layer, settings.pointing) == (7, Top(0.2)) and "were given" in note
    with pytest.raises(SelectionError, match="layer 99 does not exist"):
        settle(subject, cases, Settings(), 99, None, silent)


def test_other_models_get_a_layer_by_rule_and_are_told_so():
    cases = own_cases([Item("mine", "what is this?", (PICTURE,))])
    for family, lens, expected in (("llava", LogitLens(), None), ("mllama", CrossLens(), "cross")):
        adapter = BUILDERS[family]()
        subject = Subject(adapter, lens, make_replacing(adapter, cases, "mean"))
        settings, note = settle(subject, cases, Settings(), None, None, silent)
        if expected:
            assert settings.layer - 1 in adapter.cross_blocks
        else:
            assert abs(settings.layer - 2 / 3 * adapter.n_layers) <= 0.5
        assert settings.pointing == Above(0.1) and "chosen on no pictures" in note
        kept, _ = settle(subject, cases, replace(Settings(), draws=9), 1, None, silent)
        assert (kept.layer, kept.draws) == (1, 9)
