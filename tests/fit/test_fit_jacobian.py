"""A Jacobian lens that cannot tell words apart says so, in its note and on the command line."""

import dataclasses

import pytest
import torch

from patchlens.data.item import Item
from patchlens.fit.jacobian import degenerate, fit_jacobian, spreads
from patchlens.fit.settings import JacobianSettings
from patchlens.lens.jacobian import JacobianLens, Jacobians
from patchlens.run import Model, load


def flat(d_model, n_layers, *layers):
    """Matrices that are the identity but for some layers, which keep one direction."""
    matrices = torch.eye(d_model).repeat(n_layers + 1, 1, 1)
    for layer in layers:
        matrices[layer] = torch.zeros(d_model, d_model)
        matrices[layer, 0, 0] = 1
    return matrices


def test_layers_with_one_direction_are_named():
    model = load("demo")
    adapter = model.adapter
    matrices = flat(adapter.d_model, adapter.n_layers, 0, 3)
    lens = JacobianLens({"text": Jacobians(matrices, 1), "image": Jacobians(flat(adapter.d_model, 8), 1)})
    found = spreads(model, lens)
    assert found["text"].effective_rank[[0, 3]].tolist() == pytest.approx([1, 1], abs=1e-3)
    (note,) = degenerate(found)
    assert note.startswith("version text is degenerate at layers 0, 3: ") and "span 1.0 directions" in note


def test_a_fit_carries_what_it_cannot_tell_apart(monkeypatch):
    model = load("demo")
    items = [Item("text", "Is a cat an animal?")]
    fitted = fit_jacobian(model, items, JacobianSettings(versions=("text",), max_new_tokens=1))
    assert fitted.note == ""
    adapter = model.adapter
    poor = dataclasses.replace(
        fitted, versions={"text": Jacobians(flat(adapter.d_model, adapter.n_layers, 2), 1)}
    )
    monkeypatch.setattr("patchlens.fit.jacobian.mean_jacobians", lambda *_, **__: poor)
    noted = fit_jacobian(Model(adapter), items, JacobianSettings(versions=("text",), max_new_tokens=1))
    assert "degenerate at layers 2:" in noted.note and noted.params()["note"] == noted.note
