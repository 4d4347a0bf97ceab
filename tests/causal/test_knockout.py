"""Knocked-out attention against attention written out by hand."""

import math

import pytest
import torch
from acting import ANSWER, acted, logits, run_attention

from patchlens.attention import contributions
from patchlens.capture import capture
from patchlens.causal import Knockout, Patches, intervening
from patchlens.causal.places import Stage
from patchlens.errors import InterventionError, SelectionError, UnsupportedModelError

FAMILIES = ("llava", "mllama", "qwen_vl")
KINDS = pytest.mark.parametrize("kind", ["eager", "sdpa"])
CASES = {
    "last -> patches": ("last", "patches", range(1, 3)),
    "answer -> image": ("answer", "image", None),
    "text -> patches": ("text", "patches", [0, 1, 4 - 1]),
    "last -> text": ("last", "text", range(2)),
    "answer -> some patches": ("answer", Patches([0, 3, 4]), range(4)),
    "positions -> positions": ([-2, -1], [2, 5, -3], [1, 2]),
    "all -> text": ("all", "text", [0, 2]),
    "everything before itself": ([4], range(5), [2]),
}


def rotated(states, cos, sin):
    half = states.shape[-1] // 2
    turned = torch.cat([-states[..., half:], states[..., :half]], -1)
    return states * cos[:, None] + turned * sin[:, None]


def by_hand(attention, n_heads, n_kv_heads, queries, sources):
    """The forward of an attention, from its projections, with -inf for the pairs given."""

    def forward(
        hidden_states, position_embeddings=None, attention_mask=None, cross_attention_states=None, **_
    ):
        crossing = cross_attention_states is not None
        attended = cross_attention_states.flatten(0, -2)[None] if crossing else hidden_states
        query = attention.q_proj(hidden_states).unflatten(-1, (n_heads, -1)).transpose(1, 2)
        key = attention.k_proj(attended).unflatten(-1, (n_kv_heads, -1)).transpose(1, 2)
        value = attention.v_proj(attended).unflatten(-1, (n_kv_heads, -1)).transpose(1, 2)
        if crossing:
            query, key = attention.q_norm(query), attention.k_norm(key)
        else:
            query, key = rotated(query, *position_embeddings), rotated(key, *position_embeddings)
        key, value = (part.repeat_interleave(n_heads // n_kv_heads, 1) for part in (key, value))
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        if crossing:
            scores = scores + attention_mask
        else:
            scores = scores.masked_fill(torch.ones_like(scores[0, 0]).triu(1).bool(), -torch.inf)
        pairs = torch.zeros_like(scores[0, 0]).bool()
        pairs[torch.tensor(queries)[:, None], torch.tensor(sources)] = True
        weights = scores.masked_fill(pairs, -torch.inf).softmax(-1).nan_to_num(0.0)
        mixed = (weights @ value).transpose(1, 2).flatten(2)
        return attention.o_proj(mixed), weights

    return forward


def reference(adapter, inputs, knockout, monkeypatch):
    stage = Stage(adapter, inputs)
    queries, sources = stage.find(knockout.queries).positions, stage.find(knockout.sources)
    config = adapter.text_config
    with monkeypatch.context() as patched:
        for block in range(adapter.n_layers) if knockout.blocks is None else knockout.blocks:
            crossing = block in adapter.cross_blocks
            cut = sources.states if crossing else sources.positions
            if cut:
                attention = adapter.heads(block).attention
                heads = config.num_attention_heads, config.num_key_value_heads
                patched.setattr(attention, "forward", by_hand(attention, *heads, queries, cut))
        return logits(adapter, inputs)


@KINDS
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_knockout_is_attention_written_out_by_hand(family, case, kind, monkeypatch):
    adapter, inputs = acted(family, dtype=torch.float64)
    run_attention(adapter, kind)
    knockout = Knockout(*CASES[case])
    got, plain = logits(adapter, inputs, knockout), logits(adapter, inputs)
    expected = reference(adapter, inputs, knockout, monkeypatch)
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=0)
    assert (expected - plain).abs().max() > 1e-3
    assert logits(adapter, inputs).equal(plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_cutting_nothing_by_hand_is_the_model_itself(family, monkeypatch):
    """Else the reference would prove nothing."""
    adapter, inputs = acted(family, dtype=torch.float64)
    harmless = Knockout([3], [len(inputs) - 1])  # a later position, which nobody sees anyway
    expected = reference(adapter, inputs, harmless, monkeypatch)
    torch.testing.assert_close(logits(adapter, inputs), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(logits(adapter, inputs, harmless), expected, atol=1e-6, rtol=0)


@KINDS
def test_both_forms_of_mask_are_met(kind):
    """Torch's kernel is given none where attention is causal, so that one has to be made."""
    adapter, inputs = acted("llava")
    run_attention(adapter, kind)
    masks = []
    for interventions in ((), Knockout("last", "patches", [1])):
        with intervening(adapter, inputs, interventions), torch.no_grad():
            handle = adapter.heads(1).attention.register_forward_pre_hook(
                lambda module, args, kwargs: masks.append(kwargs["attention_mask"]), with_kwargs=True
            )
            adapter.model(**inputs.tensors)
            handle.remove()
    assert (masks[0] is None) == (kind == "sdpa")
    assert masks[1].dtype == (torch.bool if kind == "sdpa" else torch.float32)


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_of_cut_pairs_are_zero_and_the_rest_sums_to_one(family):
    adapter, inputs = acted(family)
    stage = Stage(adapter, inputs)
    some = stage.find(Patches([1, 2]))
    with intervening(adapter, inputs, Knockout("answer", Patches([1, 2]))):
        taken = contributions(adapter, inputs, queries=range(inputs.n_prompt - 1, len(inputs)))
    seen = 0
    for block in taken.blocks:
        cut = some.states if block.over == "vision" else some.positions
        if cut:
            assert block.alpha[:, :, list(cut)].eq(0).all()
            torch.testing.assert_close(
                block.alpha.sum(-1), torch.ones(block.alpha.shape[:2]), atol=1e-6, rtol=0
            )
            seen += 1
    assert seen == (len(adapter.cross_blocks) or adapter.n_layers)


def test_a_query_that_may_look_at_no_vision_state_gets_nothing_from_the_attention():
    adapter, inputs = acted("mllama")
    block = adapter.cross_blocks[0]
    wrote = []
    handle = adapter.heads(block).attention.register_forward_hook(lambda *args: wrote.append(args[2][0][0]))
    logits(adapter, inputs)
    logits(adapter, inputs, Knockout("last", "image", [block]))
    handle.remove()
    last = inputs.n_prompt - 1
    assert wrote[0][last].abs().max() > 1e-3
    assert wrote[1][last].eq(0).all()
    assert wrote[1][last - 1].equal(wrote[0][last - 1])


def test_an_output_bias_is_still_written():
    adapter, inputs = acted("gpt2")
    output = adapter.heads(1).output
    torch.nn.init.normal_(output.bias, generator=torch.Generator().manual_seed(1))
    wrote = []
    handle = output.register_forward_hook(lambda *args: wrote.append(args[2][0]))
    logits(adapter, inputs, Knockout([3], range(4), [1]))
    handle.remove()
    torch.testing.assert_close(wrote[0][3], output.bias)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "granite"])
def test_a_position_no_longer_feels_what_it_may_not_see(family):
    adapter, inputs = acted(family)
    last = inputs.n_prompt - 1
    ids = inputs.tensors["input_ids"]
    said = []
    for token in (7, 11):
        ids[0, 3] = token
        said.append(logits(adapter, inputs, Knockout(range(4, len(inputs)), [3]))[last])
    torch.testing.assert_close(said[0], said[1], atol=0, rtol=0)
    ids[0, 3] = 7
    assert not torch.allclose(logits(adapter, inputs)[last], said[1], atol=1e-3)


def test_knockouts_hold_together_in_any_order_and_when_nested():
    adapter, inputs = acted("llava")
    one, two = Knockout("last", Patches([0, 1])), Knockout("last", Patches([2]), [1, 2])
    both = logits(adapter, inputs, one + two)
    assert both.equal(logits(adapter, inputs, two + one))
    with intervening(adapter, inputs, one):
        torch.testing.assert_close(logits(adapter, inputs, two), both, atol=1e-6, rtol=0)


def test_a_window_without_the_right_blocks_changes_nothing():
    adapter, inputs = acted("mllama")
    plain = logits(adapter, inputs)
    assert logits(adapter, inputs, Knockout("last", "patches", [0, 2, 3])).equal(plain)


def test_states_before_the_window_are_the_plain_ones():
    adapter, inputs = acted("qwen_vl")
    plain = capture(adapter, inputs)
    with intervening(adapter, inputs, Knockout("answer", "patches", [2])):
        cut = capture(adapter, inputs)
    for layer in range(3):
        assert cut.resid[layer].equal(plain.resid[layer])
    assert not cut.resid[3, inputs.n_prompt - 1].equal(plain.resid[3, inputs.n_prompt - 1])
    torch.testing.assert_close(cut.resid[3, : inputs.n_prompt - 1], plain.resid[3, : inputs.n_prompt - 1])


def test_a_kernel_that_takes_no_mask_is_refused():
    adapter, inputs = acted("llama")
    adapter.model.config._attn_implementation = "flash_attention_2"
    with (
        pytest.raises(UnsupportedModelError, match="'flash_attention_2'"),
        intervening(adapter, inputs, Knockout("last", "text")),
    ):
        pass


@pytest.mark.parametrize(
    ("knockout", "error", "says"),
    [
        (Knockout("last", "patches", [4]), SelectionError, "block 4 does not exist"),
        (Knockout("last", "patches", [-1]), SelectionError, "block -1 does not exist"),
        (Knockout("last", "patches", []), SelectionError, "no block"),
        (Knockout("last", Patches([9])), SelectionError, "patch 9 does not exist"),
        (Knockout("last", [99]), SelectionError, "position 99 does not exist"),
        (Knockout("last", []), SelectionError, "no position"),
        (Knockout("last", "sky"), SelectionError, "none of all, patches"),
        (Knockout([3, 3], "text"), SelectionError, "named twice"),
    ],
)
def test_what_does_not_exist_is_refused(knockout, error, says):
    adapter, inputs = acted("llava")
    with pytest.raises(error, match=says) as caught, intervening(adapter, inputs, knockout):
        pass
    assert "\n" not in str(caught.value)


def test_vision_states_ask_for_nothing():
    adapter, inputs = acted("mllama")
    with (
        pytest.raises(InterventionError, match="attend to nothing"),
        intervening(adapter, inputs, Knockout("patches", "text")),
    ):
        pass


def test_patches_of_a_prompt_without_picture_are_refused():
    for family in ("llama", "mllama"):
        adapter, inputs = acted(family, picture=None, answer=ANSWER)
        with (
            pytest.raises(SelectionError, match="no picture"),
            intervening(adapter, inputs, Knockout("last", "patches")),
        ):
            pass


def test_a_pass_of_another_length_is_refused():
    adapter, inputs = acted("llava")
    with (
        intervening(adapter, inputs, Knockout("last", "patches")),
        pytest.raises(InterventionError, match="cache"),
    ):
        adapter.model.generate(**inputs.tensors, max_new_tokens=3)
