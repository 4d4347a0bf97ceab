"""Lenses by name or file, and what to do where there is none."""

import numpy as np
import pytest
import torch

from patchlens import load
from patchlens.demo import bundled_lenses, bundled_models
from patchlens.errors import LensError, PatchlensError, SelectionError
from patchlens.lens import FunctionLens, LogitLens, open_lens, save_lens
from patchlens.scenes.scene import make_scene
from tiny import tiny_gpt2


@pytest.mark.parametrize("name", bundled_models())
def test_a_bundled_model_is_read_through_its_bundled_lens(name):
    model = load(name)
    lens = open_lens("tuned", model.adapter)
    kinds = {"text", "answer"} | ({"patch"} if name == "demo" else set())
    assert set(lens.kinds) == kinds
    kl = {"tuned": [], "raw": []}
    for seed in range(50_000_000, 50_000_004):
        trace = model.trace(make_scene(seed, "one").image, "What is this?")
        for which, own in (("tuned", lens), ("raw", LogitLens())):
            kl[which].append(trace.read(own, top_k=1).kl_to_final.mean())
    assert np.mean(kl["tuned"]) < 0.6 * np.mean(kl["raw"])


def test_unknown_lenses_say_what_to_do(tmp_path):
    adapter = tiny_gpt2()
    assert isinstance(open_lens("logit", adapter), LogitLens)
    assert torch.equal(open_lens("embedding", adapter).embeddings, adapter.unembed.weight)  # they are tied
    assert bundled_lenses("tiny-gpt2") == {}
    with pytest.raises(SelectionError, match="there is no lens 'crystal': choose logit, cross, embedding"):
        open_lens("crystal", adapter)
    with pytest.raises(SelectionError, match="patchlens fit tuned --model tiny-gpt2"):
        open_lens("tuned", adapter)
    with pytest.raises(PatchlensError, match="no such file"):
        open_lens(str(tmp_path / "none.safetensors"), adapter)
    with pytest.raises(PatchlensError, match="fitted for another model"):
        open_lens(str(bundled_lenses("demo")["tuned"]), adapter)


def test_a_lens_is_saved_for_a_model_and_opened_by_a_path_for_that_one(tmp_path):
    model = load("demo")
    lens = open_lens("tuned", model)
    path = save_lens(lens, tmp_path / "mine.safetensors", model, report={"kl": 0.5})
    for given in (path, str(path)):
        again = open_lens(given, model)
        assert torch.equal(again.kinds["patch"].weight, lens.kinds["patch"].weight)
    with pytest.raises(LensError, match="fitted for another model"):
        open_lens(path, load("demo-cross"))
    for other in (LogitLens(), FunctionLens(torch.clone, name="mine")):
        with pytest.raises(LensError, match=f"'{other.name}' cannot be opened again"):
            save_lens(other, tmp_path / "other.safetensors", model)
    assert not (tmp_path / "other.safetensors").exists()
