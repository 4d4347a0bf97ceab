import numpy as np
import pytest
import torch
from PIL import Image

from patchlens.attention import contributions
from patchlens.attention.channels import with_answer_channels
from patchlens.capture import capture
from patchlens.errors import SelectionError
from patchlens.lens import CrossLens
from patchlens.lens.cross import fully_attended
from patchlens.reading.store import open_reading
from patchlens.run import Model, load
from patchlens.scenes.scene import make_scene
from tiny import tiny_llava, tiny_mllama

NOISE = Image.effect_noise((40, 28), 90).convert("RGB")
WIDE = Image.effect_noise((90, 30), 90).convert("RGB")


def traced(pictures=NOISE, prompt="what is left of the dog?", **more):
    return Model(tiny_mllama()).trace(pictures, prompt, **{"max_new_tokens": 3, **more})


def naive_write(adapter, block, state):
    """tanh(gate) * sum over heads of W_O^h W_V^kv(h) s of one vision state, from the modules' own weights."""
    layer = adapter.blocks[block]
    attention = layer.cross_attn
    dim, per_group = attention.head_dim, attention.num_heads // attention.num_key_value_heads
    total = torch.zeros(adapter.d_model)
    for head in range(attention.num_heads):
        group = head // per_group
        value = attention.v_proj.weight[group * dim : (group + 1) * dim] @ state
        total += attention.o_proj.weight[:, head * dim : (head + 1) * dim] @ value
    return (torch.tanh(layer.cross_attn_attn_gate) * total).detach()


@pytest.mark.parametrize("block", [1, 4])
def test_a_patch_says_the_unembedding_of_what_would_be_written_of_it(block):
    trace = traced()
    adapter, vision = trace.adapter, trace.captured.vision
    reading = trace.read(CrossLens(), top_k=4)
    for row in (0, 7, 15):
        state = vision[reading.positions.index[row]]
        wrote = naive_write(adapter, block, state)
        torch.testing.assert_close(fully_attended(adapter.heads(block), state[None])[0], wrote)
        best = adapter.unembed.logits(wrote).log_softmax(-1).topk(4)
        layer = reading.layer_row(block + 1)
        assert reading.top_ids[layer, row].tolist() == best.indices.tolist()
        np.testing.assert_allclose(reading.top_logprobs[layer, row], best.values.detach(), atol=1e-4)


def test_full_attention_is_what_the_terms_are_without_their_weights():
    trace = traced()
    taken = contributions(trace.adapter, trace.inputs, queries=[-1], blocks=trace.adapter.cross_blocks)
    for block in taken.blocks:
        alone = fully_attended(trace.adapter.heads(block.block), trace.captured.vision)
        everything = torch.einsum("hp,phk,dhk->d", block.alpha[:, 0], *_by_head(block))
        torch.testing.assert_close(block.write()[0], everything * block.gain[0] + block.bias[0])
        values, matrix = _by_head(block)
        torch.testing.assert_close(alone, torch.einsum("phk,dhk->pd", values, matrix) * block.gain)


def _by_head(block):
    shared = block.values.repeat_interleave(len(block.alpha) // block.values.shape[1], 1)
    return shared, block.matrix


def test_positions_are_the_patches_then_those_that_predict_the_answer():
    trace = traced([NOISE, WIDE], "<|image|><|image|> what is it?", steps=True)
    reading = trace.read(CrossLens())
    places, n_patches = trace.inputs.vision_places, int((trace.inputs.vision_places.kind == "patch").sum())
    p = reading.positions
    assert reading.lens == "cross" and reading.vision is None
    assert reading.layers.tolist() == [2, 5]
    assert (p.kind[:n_patches] == "patch").all() and not (p.kind[n_patches:] == "patch").any()
    assert len(np.unique(p.index)) == len(p.index)
    for name in ("image", "tile", "row", "col", "box"):
        told, true = getattr(p, name)[:n_patches], getattr(places, name)[p.index[:n_patches]]
        np.testing.assert_array_equal(told, true)
    assert (p.step[:n_patches] == -1).all() and not p.generated[:n_patches].any()
    assert p.step[n_patches:].tolist() == list(range(len(trace.answer.ids)))
    assert p.generated[n_patches:].tolist() == [False] + [True] * (len(trace.answer.ids) - 1)
    assert reading.patch_map(int(reading.top_ids[0, 0, 0]), layer=2).shape == (4, 8)
    assert any("attended to nothing else" in note for note in reading.notes)


def test_the_answers_own_row_is_the_logit_lens():
    trace = traced(steps=True)
    reading, plain = trace.read(CrossLens(), targets=["cat"]), trace.read(targets=["cat"])
    for step in range(len(trace.answer.ids)):
        ours, theirs = reading.step_row(step), plain.step_row(step)
        rows = [plain.layer_row(layer) for layer in (2, 5)]
        np.testing.assert_array_equal(reading.top_ids[:, ours], plain.top_ids[rows, theirs])
        np.testing.assert_allclose(reading.kl_to_final[:, ours], plain.kl_to_final[rows, theirs], atol=1e-5)
        np.testing.assert_allclose(
            reading.target_logprobs[:, ours], plain.target_logprobs[rows, theirs], atol=1e-5
        )


def test_a_patchs_kl_is_from_the_models_answer():
    trace = traced()
    reading = trace.read(CrossLens(), top_k=4)
    unembed = trace.adapter.unembed
    final = unembed.logits(trace.captured.final[-1]).log_softmax(-1)
    state = trace.captured.vision[reading.positions.index[3]]
    said = unembed.logits(naive_write(trace.adapter, 4, state)).log_softmax(-1)
    expected = (final.exp() * (final - said)).sum()
    assert reading.kl_to_final[1, 3] == pytest.approx(expected.item(), abs=1e-4)


def test_only_layers_that_were_kept_are_read():
    assert traced(layers=[5, -1]).read(CrossLens()).layers.tolist() == [5]
    for more in ({"layers": [0, 1]}, {"positions": [0, 1]}):
        with pytest.raises(SelectionError, match="position 8, before the answer, and a layer of 2, 5"):
            traced(**more).read(CrossLens())


def test_what_has_no_vision_states_is_refused():
    with pytest.raises(SelectionError, match="give a picture"):
        traced(None).read(CrossLens())
    trace = Model(tiny_llava()).trace(NOISE, "what is it?", max_new_tokens=0)
    with pytest.raises(SelectionError, match="take another lens"):
        trace.read(CrossLens())


def test_most_patches_of_a_drawn_thing_say_its_name():
    model = load("demo-cross")
    named = total = 0
    for seed in range(9_000_000, 9_000_010):
        scene = make_scene(seed, "one")
        reading = model.trace(scene.image, "What is this?", max_new_tokens=1).read(CrossLens(), top_k=5)
        covered = scene.coverage(10, 10)[0] >= 0.5
        words = ["".join(reading.pieces[int(i)] for i in ids) for ids in reading.top_ids[1, :100]]
        for row, text in enumerate(words):
            p = reading.positions
            if covered[p.row[row], p.col[row]]:
                total += 1
                named += any(key[:3] in text for key in scene.objects[0].keys)
    assert total > 50 and named / total > 0.8


CHANNELS = ("contribution", "attention")


def test_channels_hold_what_was_taken_from_each_vision_state(tmp_path):
    trace = traced()
    reading = trace.read(channels=CHANNELS)
    taken = contributions(
        trace.adapter, trace.inputs, queries=[trace.inputs.n_prompt - 1], blocks=trace.adapter.cross_blocks
    )
    toward = taken.toward([trace.answer.ids[0]])[:, 0, :, 0]
    contribution, attention = reading.channels
    assert contribution.name == "contribution_answer" and contribution.axes == ("layer", "vision")
    assert attention.name == "attention_answer" and attention.axes == ("layer", "head", "vision")
    for layer in range(trace.adapter.n_layers + 1):
        if layer - 1 in trace.adapter.cross_blocks:
            block = trace.adapter.cross_blocks.index(layer - 1)
            np.testing.assert_allclose(contribution.values[layer], toward[block], atol=1e-6)
            np.testing.assert_array_equal(attention.values[layer], taken.blocks[block].alpha[:, 0])
        else:
            assert np.isnan(contribution.values[layer]).all() and np.isnan(attention.values[layer]).all()
    again = open_reading(reading.save(tmp_path / "reading.safetensors"))
    np.testing.assert_array_equal(again.channels[1].values, attention.values)


def test_channels_of_a_cross_reading_lie_on_its_patches():
    trace = traced()
    reading, plain = trace.read(CrossLens(), channels=CHANNELS), trace.read(channels=CHANNELS)
    contribution = reading.channels[0]
    assert contribution.axes == ("layer", "pos")
    states = reading.positions.index[:-1]
    expected = plain.channels[0].values[reading.layers][:, states]
    np.testing.assert_array_equal(contribution.values[:, :-1], expected)
    assert np.isnan(contribution.values[:, -1]).all()


def test_channels_of_self_attention_lie_on_the_positions_kept():
    kept = [3, 0, -1]
    trace = Model(tiny_llava()).trace(NOISE, "what is it?", max_new_tokens=0, positions=kept, layers=[0, 2])
    reading = trace.read(channels=["attention", "contribution"])
    taken = contributions(trace.adapter, trace.inputs, queries=[-1], blocks=[1])
    contribution, attention = reading.channels
    assert attention.axes == ("layer", "head", "pos")
    np.testing.assert_array_equal(attention.values[1], taken.blocks[0].alpha[:, 0, kept])
    said = int(trace.captured.logits.argmax())
    np.testing.assert_allclose(contribution.values[1], taken.toward([said])[0, 0, kept, 0], atol=1e-6)
    assert np.isnan(contribution.values[0]).all()


def test_an_answer_before_the_picture_sees_none_of_it():
    adapter = tiny_mllama()
    trace = Model(adapter).trace(NOISE, "the red cat <|image|>", max_new_tokens=0)
    early = trace.inputs.tensors["cross_attention_mask"]
    early[0, -1] = 0
    reading = with_answer_channels(trace.read(), adapter, trace.inputs, CHANNELS, 5)
    assert all(np.isnan(channel.values).all() for channel in reading.channels)


def test_channels_that_do_not_exist_are_refused():
    trace = traced()
    with pytest.raises(SelectionError, match="no channel 'heat': choose of contribution, attention"):
        trace.read(channels=["heat"])
    with pytest.raises(SelectionError, match="need a layer that is the output"):
        traced(layers=[0, 1]).read(channels=["attention"])
    without = traced(None).read(channels=["attention"])
    assert without.channels[0].axes == ("layer", "head", "pos")


def test_capturing_again_gives_the_same_states():
    trace = traced()
    before = trace.captured.vision.clone()
    trace.read(CrossLens(), channels=CHANNELS)
    assert capture(trace.adapter, trace.inputs).vision.equal(before)
