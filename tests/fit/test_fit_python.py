"""Lenses are fitted from Python, to a model in memory, from a path or items, by what ``pl.`` offers."""

import pytest
import torch

import patchlens as pl
from pictures_of import folder_of_noise
from tiny import tiny_llava


@pytest.fixture(scope="module")
def model():
    adapter = tiny_llava()

    class Processor:
        tokenizer = adapter.tokenizer
        image_processor = adapter.processing.image_processor
        chat_template = adapter.chat_template

    return pl.load(adapter.model, processor=Processor(), name="mine")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return folder_of_noise(tmp_path_factory.mktemp("pictures"), 6)


def read(model, pictures, lens):
    return model.trace(pictures / "000.png", "what is it?", max_new_tokens=2).read(lens)


def test_a_tuned_lens(model, pictures, tmp_path):
    out = tmp_path / "lens.safetensors"
    settings = pl.TunedSettings(method="gradient", epochs=2, max_new_tokens=2)
    result = pl.fit_tuned(model, pictures, settings, prompt="what is it?", out=out)
    assert result.report.data == str(pictures) and result.report.model["name"] == "mine"
    assert result.report.settings["patience"] is None and result.report.settings["rate"] > 0
    found = read(model, pictures, out)
    assert found.lens == "tuned"
    assert found.kl_to_final[:-1].mean() < read(model, pictures, "logit").kl_to_final[:-1].mean()


def test_a_jacobian_lens(model, pictures):
    items = pl.read_items(pictures, "what is it?")[:2]
    lens = pl.fit_jacobian(model, items, pl.JacobianSettings(versions=("image",), max_new_tokens=1))
    assert lens.data == "2 items" and set(lens.versions) == {"image"}
    assert read(model, pictures, lens).lens == "jacobian"


def test_a_latent_lens_of_texts_or_items_of_text(model, pictures):
    texts = ["a red cat sits on the sand", "two dogs and a cat"]
    lens = pl.fit_latent(model, texts, pl.LatentSettings(per_type=2))
    items = pl.fit_latent(model, [pl.Item(text, text) for text in texts], pl.LatentSettings(per_type=2))
    assert torch.equal(lens.bank.states, items.bank.states)
    assert lens.bank.sentences == tuple(texts)
    assert read(model, pictures, lens).lens == "latent"
