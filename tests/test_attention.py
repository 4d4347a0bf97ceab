from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM

from patchlens.attention import BlockTerms, contributions
from patchlens.errors import IdentityCheckError, SelectionError, TargetError, UnsupportedModelError
from patchlens.models.encoder import Processing
from patchlens.models.load import load_adapter
from patchlens.models.text import TextAdapter
from patchlens.scenes.scene import make_scene
from tiny import (
    BUILDERS,
    VISION,
    text_settings,
    tiny_gemma2,
    tiny_llama,
    tiny_llava,
    tiny_mllama,
    tiny_qwen_vl,
    tiny_tokenizer,
    unsettle,
)

NOISE = Image.effect_noise((80, 52), 90).convert("RGB")
WIDE = Image.effect_noise((120, 30), 90).convert("RGB")
EVERY = pytest.mark.parametrize("family", BUILDERS)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
MIDDLE = "the red cat <|image|> what is left of it?"


def encoded(family, prompt="what is left of the dog?", pictures=None, dtype=torch.float32):
    adapter = biased(BUILDERS[family](dtype=dtype))
    shown = pictures if pictures is not None else [NOISE] if family in VISION else []
    return adapter, cast(adapter.encode(prompt, shown), dtype)


def biased(adapter):
    """Biases are 0 in a new model; give every projection of the decoder that has one some."""
    generator = torch.Generator().manual_seed(3)
    for name, parameter in adapter.model.get_decoder().named_parameters():
        if name.endswith("bias") and "attn" in name:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
    return adapter


def cast(inputs, dtype):
    for name, tensor in inputs.tensors.items():
        if tensor.is_floating_point():
            inputs.tensors[name] = tensor.to(dtype)
    return inputs


def all_queries(adapter, inputs, **more):
    return contributions(adapter, inputs, queries=range(len(inputs)), **more)


def eager_attentions(adapter, inputs):
    """Transformers' own attentions by block; only the decoder is switched, for the very same embeddings."""
    sees = adapter.image_token_id is not None
    adapter.model.set_attn_implementation({"text_config": "eager"} if sees else "eager")
    with torch.no_grad():
        theirs = adapter.model(**inputs.tensors, output_attentions=True).attentions
    usual = "eager" if isinstance(adapter.model, Gemma2ForCausalLM) else "sdpa"
    adapter.model.set_attn_implementation(usual)
    return theirs


def written(adapter, inputs):
    """What each block's attention adds, as the difference of the residual stream in a usual pass."""
    before, after, handles = {}, {}, []
    for index, block in enumerate(adapter.blocks):
        heads = adapter.heads(index)
        handles += [
            block.register_forward_pre_hook(
                lambda _, args, kwargs, i=index: before.__setitem__(
                    i, (args[0] if args else kwargs["hidden_states"])[0]
                ),
                with_kwargs=True,
            ),
            heads.following.register_forward_pre_hook(
                lambda _, args, i=index: after.__setitem__(i, args[0][0])
            ),
        ]
    with torch.no_grad():
        adapter.model(**inputs.tensors)
    for handle in handles:
        handle.remove()
    return {index: after[index] - before[index] for index in after}


def relative(got, expected):
    return ((got - expected).norm(dim=-1) / expected.norm(dim=-1)).max().item()


@EVERY
def test_the_weights_are_transformers_own_to_the_last_bit(family):
    adapter, inputs = encoded(family)
    theirs = eager_attentions(adapter, inputs)
    some = contributions(adapter, inputs, queries=[-1, 2])
    assert some.queries == (len(inputs) - 1, 2)
    assert [block.block for block in some.blocks] == list(range(adapter.n_layers))
    for block, weights in zip(some.blocks, theirs, strict=True):
        assert block.alpha.equal(weights[0][:, [-1, 2]])
        torch.testing.assert_close(block.alpha.sum(-1), torch.ones(block.alpha.shape[:2]), atol=1e-6, rtol=0)


@DTYPES
@EVERY
def test_all_terms_sum_to_what_the_attention_writes(family, dtype):
    adapter, inputs = encoded(family, dtype=dtype)
    truth = written(adapter, inputs)
    taken = all_queries(adapter, inputs)
    assert len(taken.blocks) == len(truth) == adapter.n_layers
    for block in taken.blocks:
        assert block.write().dtype == dtype
        assert relative(block.write(), truth[block.block]) < 1e-5


@DTYPES
def test_a_bias_of_the_output_projection_is_no_sources_share(dtype):
    tokenizer = tiny_tokenizer()
    config = LlamaConfig(**text_settings(tokenizer, attention_bias=True, num_hidden_layers=2))
    adapter = TextAdapter(unsettle(LlamaForCausalLM(config)).to(dtype), Processing(tokenizer), name="biased")
    inputs = biased(adapter).encode("the cat is left of the dog", [])
    truth = written(adapter, inputs)
    for block in all_queries(adapter, inputs).blocks:
        assert relative(block.write(), truth[block.block]) < 1e-5
        attention = adapter.blocks[block.block].self_attn
        silent = attention.o_proj(attention.v_proj.bias.view(2, 8).repeat_interleave(2, 0).flatten())
        torch.testing.assert_close(block.bias[0], silent.detach())


@DTYPES
@pytest.mark.parametrize("pictures", [[NOISE], [WIDE, NOISE]])
def test_terms_sum_for_several_tiles_and_before_the_marker(pictures, dtype):
    prompt = MIDDLE if len(pictures) == 1 else MIDDLE + " and <|image|> this?"
    adapter, inputs = encoded("mllama", prompt, pictures, dtype)
    assert max(len(grid.tiles) for grid in inputs.grids) > 1
    truth = written(adapter, inputs)
    for block in all_queries(adapter, inputs).blocks:
        assert relative(block.write(), truth[block.block]) < 1e-5


@DTYPES
def test_terms_sum_in_the_bundled_model(dtype):
    adapter = load_adapter("demo-cross", dtype=dtype)
    inputs = cast(adapter.encode("What is this?", [make_scene(9_000_001, "several").image]), dtype)
    truth = written(adapter, inputs)
    taken = all_queries(adapter, inputs)
    assert [block.block for block in taken.over("vision")] == list(adapter.cross_blocks)
    for block in taken.blocks:
        assert relative(block.write(), truth[block.block]) < 1e-5


def test_padding_gets_exactly_nothing_and_text_before_the_marker_is_told():
    adapter, inputs = encoded("mllama", MIDDLE, [WIDE.resize((40, 28))])
    marker = int(np.flatnonzero(inputs.ids == adapter.image_token_id)[0])
    padding = torch.from_numpy(inputs.vision_places.tile >= len(inputs.grids[0].tiles))
    assert padding.any() and marker > 2
    for block in all_queries(adapter, inputs).over("vision"):
        assert block.seeing.tolist() == [False] * marker + [True] * (len(inputs) - marker)
        assert not block.alpha[:, block.seeing][..., padding].any()
        assert not block.norms()[:, block.seeing][..., padding].any()
        assert block.alpha[:, ~block.seeing][..., padding].any()


def test_cross_attention_stays_out_of_a_text_only_pass():
    adapter, inputs = encoded("mllama", pictures=[])
    taken = all_queries(adapter, inputs)
    assert [block.block for block in taken.blocks] == [0, 2, 3, 5, 6]
    assert taken.toward([5]).shape[0] == 5
    with pytest.raises(SelectionError, match="no attention over 'vision'"):
        taken.over("vision")


def naive_terms(adapter, inputs, index):
    """c[t, h, p] of a block by loops, from the modules' own weights and the eager attentions."""
    heads, block = adapter.heads(index), adapter.blocks[index]
    module, weights = heads.attention, eager_attentions(adapter, inputs)[index][0]
    kept = {}
    handle = module.v_proj.register_forward_pre_hook(lambda _, args: kept.update(seen=args[0]))
    with torch.no_grad():
        adapter.model(**inputs.tensors)
    handle.remove()
    states = kept["seen"].flatten(0, -2)
    dim = module.head_dim
    gate = torch.tanh(block.cross_attn_attn_gate) if hasattr(block, "cross_attn") else 1.0
    terms = torch.zeros(len(inputs), weights.shape[0], len(states), adapter.d_model)
    for h in range(weights.shape[0]):
        shared = h // (module.q_proj.out_features // module.v_proj.out_features)
        w_v = module.v_proj.weight[shared * dim : (shared + 1) * dim]
        w_o = module.o_proj.weight[:, h * dim : (h + 1) * dim]
        for t in range(len(inputs)):
            for p in range(len(states)):
                terms[t, h, p] = gate * weights[h, t, p] * (w_o @ (w_v @ states[p]))
    return terms.detach()


@pytest.mark.parametrize(
    ("make", "index"), [(tiny_mllama, 4), (tiny_mllama, 3), (tiny_qwen_vl, 2), (tiny_llava, 1)]
)
def test_every_term_is_what_loops_give(make, index):
    adapter = biased(make())
    inputs = adapter.encode("what is it?", [NOISE])
    terms = naive_terms(adapter, inputs, index)
    taken = all_queries(adapter, inputs, blocks=[index])
    (block,) = taken.blocks
    torch.testing.assert_close(block.norms(), terms.norm(dim=-1).transpose(0, 1))
    directions = torch.randn(len(inputs), 3, adapter.d_model, generator=torch.Generator().manual_seed(0))
    expected = torch.einsum("thpd,tkd->tpk", terms, directions)
    torch.testing.assert_close(block.along(directions), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(block.write() - block.bias, terms.sum((1, 2)), atol=1e-5, rtol=1e-4)
    has_bias = adapter.heads(index).value.bias is not None
    assert bool(block.bias.any()) == has_bias
    share = taken.toward([7, 40])
    rms = (taken.final.square().mean(-1, keepdim=True) + adapter.final_norm.variance_epsilon).sqrt()
    norm = adapter.final_norm.weight / rms
    toward = torch.einsum("thpd,wd,td->tpw", terms, adapter.unembed.weight[[7, 40]], norm)
    torch.testing.assert_close(share[0], toward.detach(), atol=1e-5, rtol=1e-4)


@EVERY
def test_a_final_state_along_a_tokens_direction_is_its_logit(family):
    adapter, inputs = encoded(family)
    taken = all_queries(adapter, inputs, blocks=[0])
    ids = [5, 60, 301]
    shares = (taken.directions(ids) * taken.final[:, None]).sum(-1)
    logits = adapter.unembed.logits(taken.final)[:, ids]
    if adapter.unembed.softcap is not None:
        logits = torch.atanh(logits / adapter.unembed.softcap) * adapter.unembed.softcap
    bias = getattr(adapter.final_norm, "bias", None)
    offset = 0 if bias is None else adapter.unembed.weight[ids] @ bias
    torch.testing.assert_close(shares, (logits - offset).detach(), atol=2e-5, rtol=1e-4)


def test_only_the_rows_asked_for_are_kept():
    adapter, inputs = encoded("llava")
    for block in contributions(adapter, inputs, queries=[-1]).blocks:
        assert block.alpha.untyped_storage().nbytes() == block.alpha.numel() * block.alpha.element_size()
        assert block.matrix.data_ptr() == adapter.heads(block.block).output.weight.data_ptr()


def fingerprint(adapter):
    model = adapter.model
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
    ways = [m.config._attn_implementation for m in model.modules() if hasattr(m, "config")]
    return hooks, ways, [m.training for m in model.modules()], torch.is_grad_enabled()


@EVERY
def test_the_model_is_left_as_it_was(family):
    adapter, inputs = encoded(family)
    contributions(adapter, inputs, queries=[-1])  # the first time, some towers set up hooks
    adapter.model.train()
    if family in VISION:
        adapter.model.config.vision_config._attn_implementation = "eager"
    before = fingerprint(adapter)
    assert family == "gemma2" or "sdpa" in before[1]
    contributions(adapter, inputs, queries=[-1])
    assert fingerprint(adapter) == before

    def fail(*_):
        raise RuntimeError("half way")

    handle = adapter.heads(2).following.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="half way"):
        contributions(adapter, inputs, queries=[-1])
    handle.remove()
    assert fingerprint(adapter) == before


def test_a_vision_tower_keeps_its_own_attention(monkeypatch):
    adapter, inputs = encoded("llava")
    seen = []
    tower = next(m for m in adapter.model.modules() if type(m).__name__ == "CLIPAttention")
    tower.register_forward_pre_hook(lambda module, _: seen.append(module.config._attn_implementation))
    contributions(adapter, inputs, queries=[-1])
    assert seen == ["sdpa"]


def test_facts_that_are_wrong_are_refused():
    adapter, inputs = encoded("mllama")
    adapter.cross_blocks = (1,)
    with pytest.raises(IdentityCheckError, match="block 4's attention"):
        contributions(adapter, inputs, queries=[-1])
    adapter, inputs = encoded("granite")
    adapter.blocks[1].residual_multiplier = 0.7  # as a block that scales by a rule of its own
    contributions(adapter, inputs, queries=[-1])
    adapter.heads = lambda block: replace(type(adapter).heads(adapter, block), multiplier=1.0)
    with pytest.raises(IdentityCheckError, match="cannot be taken apart"):
        contributions(adapter, inputs, queries=[-1])


def test_what_cannot_be_taken_apart_is_refused():
    adapter, inputs = encoded("llama")
    adapter.blocks[1].self_attn.values = adapter.blocks[1].self_attn.v_proj
    del adapter.blocks[1].self_attn.v_proj
    with pytest.raises(UnsupportedModelError, match="a value projection named one of"):
        contributions(adapter, inputs, queries=[-1])


def test_a_norm_that_is_no_scale_is_refused():
    adapter = tiny_llama()
    inputs = adapter.encode("a cat", [])
    taken = contributions(adapter, inputs, queries=[-1])
    odd = torch.nn.Sequential(adapter.final_norm, torch.nn.Tanh())
    object.__setattr__(taken.unembed, "final_norm", odd)
    with pytest.raises(UnsupportedModelError, match="split into shares"):
        taken.toward([5])


@pytest.mark.parametrize("more", [{"queries": [99]}, {"queries": []}, {"queries": [0], "blocks": [4]}])
def test_what_does_not_exist_is_refused(more):
    adapter, inputs = encoded("llama")
    with pytest.raises(SelectionError):
        contributions(adapter, inputs, **more)


def test_a_token_that_does_not_exist_is_refused():
    adapter, inputs = encoded("llama")
    with pytest.raises(TargetError, match="token id 9999"):
        contributions(adapter, inputs, queries=[-1]).toward([9999])


def test_a_norm_behind_the_attention_is_part_of_the_gain():
    adapter = tiny_gemma2()
    inputs = adapter.encode("a cat", [])
    for block in all_queries(adapter, inputs).blocks:
        assert isinstance(block, BlockTerms)
        assert block.gain.shape == (len(inputs), adapter.d_model)


def test_bfloat16_terms_sum_within_its_rounding():
    adapter = tiny_llava(dtype=torch.bfloat16)
    inputs = cast(adapter.encode("what is it?", [NOISE]), torch.bfloat16)
    taken = all_queries(adapter, inputs)
    truth = written(adapter, inputs)
    for block in taken.blocks:
        assert block.write().dtype == torch.float32
        assert relative(block.write(), truth[block.block].float()) < 0.05
