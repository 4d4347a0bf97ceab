"""The composed path on the bundled models and tiny random ones: a reading says what the model says."""

import numpy as np
import pytest
import torch
from PIL import Image

from patchlens.demo.domain import SceneDomain
from patchlens.errors import PatchlensError, SelectionError, TargetError
from patchlens.lens import LogitLens
from patchlens.models.positions import select_positions
from patchlens.reading.store import open_reading
from patchlens.run import Model, load
from patchlens.scenes.scene import make_scene
from tiny import tiny_gpt2, tiny_llama, tiny_llava, tiny_mllama, tiny_qwen_vl

BUILDERS = {
    "demo": lambda: load("demo").adapter,
    "demo-cross": lambda: load("demo-cross").adapter,
    "llava": tiny_llava,
    "mllama": tiny_mllama,
    "qwen": tiny_qwen_vl,
    "llama": tiny_llama,
    "gpt2": tiny_gpt2,
}
SEEING = ("demo", "demo-cross", "llava", "mllama", "qwen")


def picture(width=70, height=50, seed=0):
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    return Image.fromarray(noise)


def traced(family, **options):
    model = Model(BUILDERS[family]())
    images = picture() if family in SEEING else None
    return model, model.trace(images, "what is in the picture?", **options)


@pytest.mark.parametrize("family", BUILDERS)
def test_the_last_layer_is_the_model_s_own_distribution(family):
    model, trace = traced(family, max_new_tokens=3)
    reading = trace.read(LogitLens(), top_k=20, targets=["cat"])
    with torch.inference_mode():
        logits = model.adapter.model(**trace.inputs.tensors).logits[0].float().log_softmax(-1)
    for position in range(len(trace.inputs)):
        ids = torch.from_numpy(reading.top_ids[-1, position].astype(np.int64))
        expected = logits[position, ids].numpy()
        np.testing.assert_allclose(reading.top_logprobs[-1, position], expected, atol=1e-5)
    assert np.abs(reading.kl_to_final[-1]).max() < 1e-5
    np.testing.assert_allclose(
        reading.target_logprobs[-1, :, 0], logits[:, reading.targets[0].token].numpy(), atol=1e-5
    )


@pytest.mark.parametrize("family", BUILDERS)
def test_every_step_s_reading_ends_in_the_word_that_was_generated(family):
    _, trace = traced(family, max_new_tokens=6, steps=True)
    reading = trace.read(top_k=3)
    assert len(reading.answer.ids) >= 1
    for step, token in enumerate(reading.answer.ids):
        row = reading.step_row(step)
        assert reading.top_ids[-1, row, 0] == token
        assert reading.positions.generated[row] == (step > 0)
        if step:
            assert reading.positions.token[row] == reading.answer.ids[step - 1]


@pytest.mark.parametrize("family", SEEING)
def test_every_patch_has_its_place(family):
    _, trace = traced(family)
    reading = trace.read(top_k=2)
    places = reading.vision if reading.vision is not None else reading.positions
    grid = reading.pictures[0].grid
    patch = places.kind == "patch"
    assert (grid.width, grid.height) == (70, 50)
    assert len({(r, c) for r, c in zip(places.row[patch], places.col[patch], strict=True)}) == patch.sum()
    if reading.vision is None:
        layer_map = reading.on_grid(reading.entropy[1])
        assert layer_map.shape == (grid.rows, grid.cols)
        assert not np.isnan(layer_map).any()


@pytest.mark.parametrize("family", BUILDERS)
def test_a_part_reads_as_the_whole_does(family):
    _, whole = traced(family, max_new_tokens=0)
    _, part = traced(family, max_new_tokens=0, layers=[1, -1], positions=[0, -1])
    a, b = whole.read(top_k=4), part.read(top_k=4)
    rows = [1, len(a.layers) - 1]
    columns = [0, len(a.positions.index) - 1]
    np.testing.assert_array_equal(b.top_ids, a.top_ids[np.ix_(rows, columns)])
    np.testing.assert_allclose(b.kl_to_final, a.kl_to_final[np.ix_(rows, columns)], atol=1e-5)
    assert b.layers.tolist() == rows and b.positions.index.tolist() == columns


def test_a_text_only_reading_of_a_cross_attention_model_keeps_the_layer_numbers():
    model = Model(tiny_mllama())
    reading = model.trace(prompt="what is this?").read(top_k=2)
    assert reading.layers.tolist() == list(range(model.adapter.n_layers + 1))
    for block in model.adapter.cross_blocks:
        np.testing.assert_array_equal(reading.entropy[block], reading.entropy[block + 1])
    assert reading.pictures == () and reading.vision is None


def test_groups_of_positions():
    _, trace = traced("llava", max_new_tokens=4, steps=True)
    kind = trace.inputs.places.kind
    assert select_positions(trace.adapter, trace.inputs, "all") is None
    assert (
        select_positions(trace.adapter, trace.inputs, "patches") == np.flatnonzero(kind == "patch").tolist()
    )
    assert select_positions(trace.adapter, trace.inputs, "text") == np.flatnonzero(kind == "text").tolist()
    n_answer = max(1, len(trace.answer.ids))
    assert len(select_positions(trace.adapter, trace.inputs, "answer") or []) == n_answer
    with pytest.raises(SelectionError, match="is none of"):
        select_positions(trace.adapter, trace.inputs, "words")
    _, text = traced("gpt2", max_new_tokens=0)
    with pytest.raises(SelectionError, match="no position of the group"):
        select_positions(text.adapter, text.inputs, "patches")


def test_a_reading_of_two_pictures_survives_its_file(tmp_path):
    model = Model(tiny_llava())
    reading = model.trace([picture(), picture(40, 90, 1)], "compare").read(top_k=3, targets=["cat", "dog"])
    again = open_reading(reading.save(tmp_path / "a.safetensors"))
    assert [p.grid for p in again.pictures] == [p.grid for p in reading.pictures]
    np.testing.assert_array_equal(again.patch_map("cat", 2, image=1), reading.patch_map("cat", 2, image=1))


def test_what_cannot_be_read_is_a_typed_error():
    _, trace = traced("gpt2", max_new_tokens=0)
    for options in ({"top_k": 0}, {"top_k": 10**6}):
        with pytest.raises(SelectionError):
            trace.read(**options)
    with pytest.raises(TargetError):
        trace.read(targets=[""])
    model = Model(tiny_gpt2())
    for images, prompt in ((picture(), "a"), (None, "")):
        with pytest.raises(PatchlensError):
            model.trace(images, prompt)


@pytest.mark.parametrize("name", ["demo", "demo-cross"])
def test_a_bundled_model_says_when_a_picture_is_strange_to_it(name):
    model = load(name)
    for image, strange in ((picture(140, 140), True), (make_scene(77).image, False)):
        notes = model.trace(image, "What is this?", max_new_tokens=0).notes
        part = model.trace(image, "What is this?", max_new_tokens=0, layers=[1], positions=[-1, 0]).notes
        assert any("unlike the drawn scenes" in note for note in notes) == strange
        assert part == notes
    assert not model.trace(prompt="What is this?", max_new_tokens=0).notes


def test_what_tells_strange_pictures_is_read_once(monkeypatch):
    model, folders = load("demo"), []
    read = SceneDomain.load
    monkeypatch.setattr(SceneDomain, "load", lambda folder: folders.append(folder) or read(folder))
    for seed in (0, 1):
        assert model.trace(picture(140, 140, seed), "What is this?", max_new_tokens=0).notes
    assert len(folders) <= 1  # none if the process has read it before


def test_a_target_of_several_tokens_is_noted():
    _, trace = traced("demo", max_new_tokens=0)
    assert trace.read(targets=["cat"]).notes == trace.notes
    note = trace.read(targets=["cat", "giraffe"]).notes[-1]
    assert note.startswith("target 'giraffe' is 2 tokens (▁g iraffe): the first stands for it")


def test_progress_is_told_to_the_end():
    told = []
    _, trace = traced("llama", progress=lambda *step: told.append(step))
    trace.read(progress=lambda *step: told.append(step))
    last = {what: (done, total) for what, done, total in told}
    assert last.keys() == {"answer", "capture", "lens"}
    assert all(done == total for done, total in last.values())
