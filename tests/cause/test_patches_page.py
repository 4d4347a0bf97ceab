"""The maps of ablated patches as channels of a reading, where the patches stand."""

import numpy as np
import pytest

from patchlens import open_reading
from patchlens.causal import patch_numbers
from patchlens.cause.cases import as_cases
from patchlens.cause.patches import measure
from patchlens.cause.patches_choice import settle
from patchlens.cause.patches_page import read_with_maps
from patchlens.cause.settings import PatchesSettings
from patchlens.data.item import Item
from patchlens.demo import demo_pictures
from patchlens.errors import SelectionError
from patchlens.models.inputs import prepare
from patchlens.run import load

PICTURE = next(picture.file for picture in demo_pictures() if picture.file.stem == "cat")


@pytest.mark.parametrize(("model", "lens", "layer"), [("demo", "logit", 2), ("demo-cross", "cross", 6)])
@pytest.mark.parametrize("step", [1, 2])
def test_maps_stand_on_their_patches_and_the_sentence_comes_first(model, lens, layer, step, tmp_path):
    loaded = load(model)
    cases = as_cases([Item("cat", "What is this?", (PICTURE,))])
    settings = PatchesSettings(layer=layer, above=0.1, block=3, step=step, draws=1)
    ablation, _ = settle(loaded, cases, settings, lens)
    record = measure(ablation, cases[0])
    reading = read_with_maps(ablation, cases[0], record, "It matters.")
    assert reading.notes[0] == "It matters."
    channels = {channel.name: channel for channel in reading.channels}
    causal = reading.on_grid(channels["causal_word"].values)
    assert np.isfinite(causal).sum() == (100 if step == 1 else 25)
    numbers = patch_numbers(prepare(loaded.adapter, cases[0].prompt, cases[0].open()))
    for name, key in (("causal_word", "causal_map"), ("causal_answer", "causal_answer")):
        shown = reading.on_grid(channels[name].values)
        by_number = shown.ravel()[np.argsort(numbers.ravel())]  # tile after tile, where there are tiles
        np.testing.assert_allclose(by_number[np.isfinite(by_number)], record[key], rtol=1e-5)
    assert np.isfinite(causal[step // 2 :: step, step // 2 :: step]).all()
    pointed = reading.on_grid(channels["pointed_word"].values)
    assert pointed.sum() == record["pointed"] and set(np.unique(pointed)) == {0, 1}
    by_lens = reading.on_grid(channels["lens_word"].values[reading.layer_row(layer)])
    assert by_lens[pointed == 1].min() >= 0.1 * by_lens.max() > by_lens[pointed == 0].max()
    said = np.exp(reading.patch_map(reading.answer.ids[0], layer))
    assert (by_lens >= said - 1e-5).all()  # every form of the word, so no less than the one said
    assert np.isnan(channels["causal_word"].values[reading.positions.kind != "patch"]).all()
    reading.save(tmp_path / "a.safetensors")
    assert {c.name for c in open_reading(tmp_path / "a.safetensors").channels} == set(channels)
    other = {**record, "patches": 99}
    with pytest.raises(SelectionError, match="have other patches"):
        read_with_maps(ablation, cases[0], other, "It matters.")
    with pytest.raises(SelectionError, match="answered nothing"):
        read_with_maps(ablation, cases[0], {"answer": None}, "It matters.")
