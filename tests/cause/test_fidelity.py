"""Fidelity is 1 where the lens is the model, at chance where directions are shuffled; others are refused."""

import json

import numpy as np
import pytest
import torch

from patchlens.causal import Replace
from patchlens.cause.cases import as_cases
from patchlens.cause.fidelity import cause_fidelity, foretold
from patchlens.cause.fidelity.directions import Axes, lens_axes, principal_axes
from patchlens.cause.settings import FidelitySettings
from patchlens.data.item import Item
from patchlens.errors import DataError, LensError, SelectionError
from patchlens.lens import CrossLens, LogitLens
from patchlens.lens.embedding import EmbeddingLens
from patchlens.run import Model
from tiny import tiny_llava, tiny_mllama

QUESTIONS = ("what is in the picture?", "is there a cat?", "how many dogs are there?", "the cat is left of")


def cases(start, count):
    rng = np.random.default_rng(start)
    pictures = rng.integers(0, 255, (count, 40, 60, 3), np.uint8)
    return as_cases([Item(f"{start}:{n}", QUESTIONS[n % 4], (p,)) for n, p in enumerate(pictures)])


def fidelity(adapter, lenses, own, reference, settings=None, **more):
    return cause_fidelity(Model(adapter), own, settings, lenses=lenses, reference=reference, **more)


def rows(finding):
    return {row.name: row for row in finding.rows}


@pytest.fixture(scope="module")
def idle():
    """A model whose last two blocks write nothing, so that from layer 2 on the logit lens is the model."""
    adapter = tiny_llava()
    with torch.no_grad():
        for block in adapter.blocks[2:]:
            block.self_attn.o_proj.weight.zero_()
            block.mlp.down_proj.weight.zero_()
    return adapter


@pytest.mark.parametrize("basis", ["principal", "lens"])
def test_where_the_lens_is_the_model_it_foretells_everything(idle, basis):
    settings = FidelitySettings(layers=(1, 2, 3), basis=basis, directions=12)
    found = rows(fidelity(idle, {"logit": LogitLens()}, cases(0, 6), cases(1, 24), settings))
    for layer in (2, 3):
        assert found[f"logit, layer {layer}, against size"].value.value == pytest.approx(1, abs=1e-3)
    assert found["logit, layer 1, against size"].value.value < 0.99
    assert abs(found["logit"].control.value) < 0.35 and found["logit"].stands_out
    assert "logit, against another layer's lens" not in found


def test_foretold_and_true_are_the_same_numbers_at_the_last_layer(tmp_path):
    adapter = tiny_llava()
    settings = FidelitySettings(layers=(-1,), directions=8)
    path = tmp_path / "a.jsonl"
    found = fidelity(adapter, {"logit": LogitLens()}, cases(0, 3), cases(1, 16), settings, out=path)
    for line in path.read_text().splitlines()[1:]:
        own = json.loads(line)["logit"]
        assert own["foretold"][0] == pytest.approx(own["true"][0], abs=1e-5)
        assert own["word"][0] == pytest.approx(own["true_word"][0], abs=1e-5)
        assert max(own["true"][0]) > 1e-4
    assert rows(found)["logit, answer's word"].value.value == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("basis", "times"), [("principal", 1), ("lens", 2)])
def test_a_change_that_lenses_share_is_made_once(monkeypatch, basis, times):
    made = []

    def counted(states, positions, layer):
        made.append(layer)
        return Replace(states, positions, layer)

    monkeypatch.setattr(foretold, "Replace", counted)
    settings = FidelitySettings(layers=(1, 2), basis=basis, directions=3)
    lenses = {"logit": LogitLens(), "again": LogitLens()}
    found = rows(fidelity(tiny_llava(), lenses, cases(0, 2), cases(1, 8), settings))
    assert len(made) == times * 2 * 2 * 3
    assert found["again, against size"].value == found["logit, against size"].value


def test_the_size_of_a_step_alone_is_told_and_doubted():
    found = fidelity(tiny_llava(), {"logit": LogitLens()}, cases(0, 4), cases(1, 24))
    assert "size of the step alone" in found.sentence
    assert rows(found)["logit, against size"].control.value is not None


def test_patches_can_be_changed_where_they_have_states():
    settings = FidelitySettings(at="patches", directions=4, layers=(0, 2))
    found = fidelity(tiny_llava(), {"logit": LogitLens()}, cases(0, 2), cases(1, 4), settings)
    assert rows(found)["logit"].value.value is not None
    with pytest.raises(SelectionError, match="change the states of the last position"):
        fidelity(tiny_mllama(), {"logit": LogitLens()}, cases(0, 1), cases(1, 3), settings)


def test_cross_attention_models_work_at_the_last_position():
    settings = FidelitySettings(directions=6, layers=(-1,))
    found = fidelity(tiny_mllama(), {"logit": LogitLens()}, cases(0, 2), cases(1, 12), settings)
    assert rows(found)["logit"].value.value == pytest.approx(1, abs=1e-3)


def test_lenses_without_a_distribution_are_refused():
    adapter = tiny_llava()
    for lens in (EmbeddingLens.of(adapter), CrossLens()):
        with pytest.raises(LensError, match="gives no distribution"):
            fidelity(adapter, {lens.name: lens}, cases(0, 1), cases(1, 4))


def test_what_makes_no_sense_is_refused():
    with pytest.raises(SelectionError, match="choose of last, patches"):
        FidelitySettings(at="first")  # pyright: ignore[reportArgumentType]
    with pytest.raises(SelectionError, match="cannot be ranked"):
        FidelitySettings(directions=2)
    with pytest.raises(DataError, match="two pictures or more"):
        fidelity(tiny_llava(), {"logit": LogitLens()}, cases(0, 1), cases(1, 1))


def test_one_picture_has_no_interval():
    found = fidelity(tiny_llava(), {"logit": LogitLens()}, cases(0, 1), cases(1, 8))
    row = rows(found)["logit"]
    assert row.value.value is not None and row.value.low is None and not row.stands_out
    assert any("no interval" in note for note in found.notes)


def test_a_stopped_run_goes_on_and_ends_the_same(tmp_path):
    adapter, path = tiny_llava(), tmp_path / "a.jsonl"
    asked = adapter, {"logit": LogitLens()}, cases(0, 3), cases(1, 8), FidelitySettings(directions=5)
    whole = fidelity(*asked)

    def stop(what, done, total):
        if what == "cases" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fidelity(*asked, out=path, progress=stop)
    assert len(path.read_text().splitlines()) == 3
    assert fidelity(*asked, out=path).rows == whole.rows
    with pytest.raises(DataError, match="directions was 5, now 4"):
        fidelity(*asked[:4], FidelitySettings(directions=4), out=path)


def test_a_direction_is_set_to_its_mean_and_nothing_else_moves():
    states = torch.randn(200, 6) * torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0, 0.0]) + 1
    axes = principal_axes(states, 9)
    assert axes.directions.shape == (5, 6)  # there is nothing along the sixth
    assert axes.directions @ axes.directions.T == pytest.approx(torch.eye(5), abs=1e-4)
    assert axes.directions[0].abs().argmax() == 0
    changed = axes.ablated(states[:3])
    for number, own in enumerate(changed):
        along = (own - axes.mean) @ axes.directions.T
        before = (states[:3] - axes.mean) @ axes.directions.T
        before[:, number] = 0
        assert along == pytest.approx(before, abs=1e-4)
    assert axes.sizes(states[:1]) == pytest.approx(((states[:1] - axes.mean) @ axes.directions.T).abs()[0])
    assert isinstance(axes, Axes)


def test_a_lens_that_reads_one_direction_has_that_one_first():
    adapter = tiny_llava()
    read = torch.nn.functional.normalize(torch.randn(adapter.d_model, generator=torch.manual_seed(3)), dim=0)

    class Narrow(LogitLens):
        def normed(self, resid_layer, layer, unembed):
            return (resid_layer @ read)[:, None] * unembed.weight[7]

    states = torch.randn(400, adapter.d_model, generator=torch.manual_seed(4))
    found = lens_axes(states, 4, Narrow(), 1, adapter.unembed, 0)
    assert abs(float(found.directions[0] @ read)) > 0.95
    assert found.directions @ found.directions.T == pytest.approx(torch.eye(4), abs=1e-3)
    assert (found.directions[1:] @ read).abs().max() < 0.4
