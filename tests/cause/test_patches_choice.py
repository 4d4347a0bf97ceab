"""Layer and number of patches are chosen on validation scenes, and by what they do there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from patchlens.causal.pointing import Above, Top
from patchlens.cause import patches_choice
from patchlens.cause.cases import as_cases
from patchlens.cause.patches_choice import cause_patches, choose, settle
from patchlens.cause.settings import PatchesSettings
from patchlens.data.item import Item
from patchlens.errors import SelectionError
from patchlens.lens import CrossLens, Lens, LogitLens
from patchlens.run import Model, load
from tiny import BUILDERS

PICTURE = np.random.default_rng(0).integers(0, 255, (56, 56, 3), np.uint8)
CASES = as_cases([Item("mine", "what is this?", (PICTURE,))])


@dataclass(frozen=True)
class GoodAt(Lens):
    """The logit lens at one layer; at others it gives every patch the same."""

    layer: int
    name: str = "good-at"

    def normed(self, resid_layer, layer, unembed):
        normed = LogitLens().normed(resid_layer, layer, unembed)
        return normed if layer == self.layer else torch.zeros_like(normed)


@pytest.fixture(scope="module")
def model():
    return load("demo")


def test_the_layer_that_tells_something_is_chosen_on_validation_scenes_only(model, monkeypatch):
    given = PatchesSettings(layer=1, above=0.5, word="cat")
    ablation, _ = settle(model, CASES, given, GoodAt(3))
    asked: list[tuple[int, ...]] = []
    original = patches_choice.drawn_cases

    def spied(*arguments, **more):
        cases = original(*arguments, **more)
        asked.append(tuple(int(case.name.split()[1]) for case in cases))
        return cases

    monkeypatch.setattr(patches_choice, "drawn_cases", spied)
    chosen = choose(ablation, layers=[1, 3, 5], scenes=3)
    assert chosen.layer == 3 and chosen.scenes == 3
    assert len(chosen.scores) == 3 + 4 and chosen.scores[0][1] > 0.5
    of_others = [score for (layer, _), score in chosen.scores if layer != 3]
    assert of_others == [0.0, 0.0]  # all patches are pointed at, so as many at random are the same
    assert all(9_000_000 <= number < 9_500_000 for numbers in asked for number in numbers)
    assert "3 other drawn scenes" in str(chosen)


def test_what_is_given_is_kept_and_a_picture_unlike_the_scenes_is_said_to_be(model):
    ablation, notes = settle(model, CASES, PatchesSettings(layer=-2, top=0.2))
    assert (ablation.layer, ablation.pointing, ablation.lens.name) == (7, Top(0.2), "logit")
    assert (ablation.draws, ablation.step) == (20, 1)
    assert "were given" in notes[0] and "unlike the drawn scenes" in notes[1]
    several, _ = settle(model, CASES * 2, PatchesSettings(layer=-2, top=0.2))
    assert (several.draws, several.step) == (3, 2)
    with pytest.raises(SelectionError, match="layer 99 does not exist"):
        settle(model, CASES, PatchesSettings(layer=99))


def test_other_models_get_a_layer_by_rule_and_are_told_so():
    for family, lens in (("llava", LogitLens), ("mllama", CrossLens)):
        model = Model(BUILDERS[family]())
        ablation, (note,) = settle(model, CASES, PatchesSettings())
        assert isinstance(ablation.lens, lens)
        if lens is CrossLens:
            assert ablation.layer - 1 in model.adapter.cross_blocks
        else:
            assert abs(ablation.layer - 2 / 3 * model.n_layers) <= 0.5
        assert ablation.pointing == Above(0.1) and "chosen on no pictures" in note
        kept, _ = settle(model, CASES, PatchesSettings(layer=1, draws=9))
        assert (kept.layer, kept.draws, kept.pointing) == (1, 9, Above(0.1))


def test_one_call_settles_and_measures():
    model = Model(BUILDERS["llava"]())
    settings = PatchesSettings(layer=2, above=0.5, block=1, draws=2)
    items = [Item("mine", "what is this?", (PICTURE,))]
    found = cause_patches(model, items, settings)
    again = cause_patches(model, CASES, replace(settings, by="mean"), about="mine")
    assert found == again and found.experiment == "patches" and found.about.startswith("mine: ")
    assert list(found.records) == ["mine"] and "records" not in found.to_json()
