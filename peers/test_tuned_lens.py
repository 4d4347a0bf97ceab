"""The tuned-lens package reads what we write, and we what it writes: the same logits at every layer."""

from __future__ import annotations

import pytest
import torch
from tuned_lens import TunedLens as PackageLens
from tuned_lens import model_surgery

from patchlens.lens.belrose import read_tuned_lens, unembed_hash, write_tuned_lens
from patchlens.lens.tuned import TunedLens
from patchlens.models.adapter import Adapter
from tiny import tiny_gpt2, tiny_llama

LAYERS = {tiny_llama: 4, tiny_gpt2: 3}


@pytest.fixture(autouse=True)
def _without_transformer_lens(monkeypatch):
    """The package looks for a class that transformer-lens 4 no longer has."""
    monkeypatch.setattr(model_surgery, "_transformer_lens_available", False)


def drawn(adapter: Adapter) -> PackageLens:
    """A lens of the package with translators far from identity."""
    lens = PackageLens.from_model(adapter.model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part in lens.layer_translators.parameters():
            part.copy_(0.2 * torch.randn(part.shape, generator=generator))
    return lens


@torch.no_grad()
def check(adapter: Adapter, lens: TunedLens, package: PackageLens) -> None:
    """Hold the logits of both against each other at every layer."""
    own, unembed = lens.for_kind("text"), adapter.unembed
    states = torch.randn(lens.n_layers, 7, adapter.d_model, generator=torch.Generator().manual_seed(1))
    for layer, resid in enumerate(states):
        ours = unembed.finish(own.normed(resid, layer, unembed) @ unembed.weight.T)
        torch.testing.assert_close(ours, package(resid, layer), atol=1e-5, rtol=1e-5)
        assert (unembed.logits(resid) - ours).abs().mean() > 0.05


@pytest.mark.parametrize("build", LAYERS)
def test_we_read_what_the_package_writes(build, tmp_path):
    """Its own checkpoint, hash of the lm_head included."""
    adapter = build()
    package = drawn(adapter)
    package.save(tmp_path)
    lens = read_tuned_lens(tmp_path, adapter.unembed)
    assert package.config.unembed_hash == unembed_hash(adapter.unembed)
    assert lens.n_layers == LAYERS[build]
    check(adapter, lens, package)


@pytest.mark.parametrize("build", LAYERS)
def test_the_package_reads_what_we_write(build, tmp_path):
    """A checkpoint of ours, in the package's own loader, without a warning about the hash."""
    adapter = build()
    drawn(adapter).save(tmp_path / "theirs")
    lens = read_tuned_lens(tmp_path / "theirs", adapter.unembed)
    folder = write_tuned_lens(lens, tmp_path / "ours", model=adapter.name, unembed=adapter.unembed)
    check(adapter, lens, PackageLens.from_model_and_pretrained(adapter.model, str(folder)))
