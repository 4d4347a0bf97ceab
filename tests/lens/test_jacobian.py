"""Jacobians against forward-mode derivatives, finite differences and models whose Jacobian is known."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import GPT2Config, GPT2LMHeadModel

from patchlens.capture import capture
from patchlens.errors import FitError, FormatError, NumericsError, SelectionError
from patchlens.fit.vjp import mean_jacobians, positions, settled
from patchlens.lens import LogitLens, files
from patchlens.lens.engine.rank import concept_spread, effective_rank, norm_gain
from patchlens.lens.jacobian import JacobianLens, Jacobians
from patchlens.models.encoder import Processing
from patchlens.models.text import TextAdapter
from tiny import (
    BUILDERS,
    VISION,
    tiny_gemma2,
    tiny_gpt2,
    tiny_llama,
    tiny_llava,
    tiny_tokenizer,
    unsettle,
)

NOISE = Image.effect_noise((80, 52), 90).convert("RGB")
EVERY = pytest.mark.parametrize("family", BUILDERS)
PROMPT = "what is left of the dog?"


def encoded(family, prompt=PROMPT, *, picture=True, answer=(11, 42), **more):
    adapter = BUILDERS[family](**more)
    pictures = [NOISE] if family in VISION and picture else []
    return adapter, adapter.encode(prompt, pictures, answer_ids=answer)


def shifted_output(adapter, inputs, layer, sources, targets):
    """The function that the lens derives: from a shift at a layer's sources to the sum over the targets."""
    mask = torch.zeros(len(inputs), 1, dtype=adapter.dtype)
    mask[sources] = 1
    ran = [block for block in range(adapter.n_layers) if inputs.grids or block not in adapter.cross_blocks]

    def run(shift):
        last = {}

        def before(module, args, kwargs):
            if args:
                return (args[0] + mask * shift, *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": kwargs["hidden_states"] + mask * shift}

        def after(module, args, output):
            last["state"] = output[0] if isinstance(output, tuple) else output

        taking = next((block for block in ran if block >= layer), None)
        hooks = [adapter.blocks[ran[-1]].register_forward_hook(after)]
        if taking is not None:
            hooks.append(adapter.blocks[taking].register_forward_pre_hook(before, with_kwargs=True))
        try:
            with sdpa_kernel(SDPBackend.MATH):
                adapter.model(**inputs.tensors, use_cache=False, logits_to_keep=1)
        finally:
            for hook in hooks:
                hook.remove()
        return last["state"][0, targets].sum(0)

    return run


def versions_of(adapter, inputs):
    return ("text", "answer", "image") if "patch" in inputs.places.kind else ("text",)


@EVERY
@pytest.mark.parametrize("picture", [True, False])
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own, on the first jvp
def test_jvp_equals_vjp(family, picture):
    if not picture and family not in VISION:
        pytest.skip("shown no picture anyway")
    adapter, inputs = encoded(family, picture=picture, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    for version in versions_of(adapter, inputs):
        sources, targets = positions(inputs, version)
        lens = mean_jacobians(adapter, [inputs], version, cotangents=5)
        matrices = lens.versions[version].matrices
        assert matrices.shape == (adapter.n_layers + 1, adapter.d_model, adapter.d_model)
        for layer in range(adapter.n_layers):
            direction = torch.randn(adapter.d_model, generator=generator, dtype=torch.float64)
            function = shifted_output(adapter, inputs, layer, sources, targets)
            _, moved = torch.func.jvp(function, (torch.zeros_like(direction),), (direction,))
            torch.testing.assert_close(
                matrices[layer] @ direction, moved / len(sources), rtol=1e-4, atol=1e-5
            )


@EVERY
def test_the_last_layer_is_the_models_own(family):
    adapter, inputs = encoded(family)
    captured = capture(adapter, inputs)
    for version in versions_of(adapter, inputs):
        lens = mean_jacobians(adapter, [inputs], version)
        last = lens.versions[version].matrices[-1]
        assert torch.equal(last, torch.eye(adapter.d_model))
        asked = {"layers": captured.layers, "n_layers": adapter.n_layers, "top_k": 3}
        kinds = ["patch" if kind == "patch" else "text" for kind in inputs.places.kind]
        through = [
            own.read(captured.resid, captured.final, adapter.unembed, kinds, **asked)
            for own in (lens, LogitLens())
        ]
        assert torch.equal(through[0].top_logprobs[-1], through[1].top_logprobs[-1])
        assert through[0].kl_to_final[-1].abs().max() < 1e-5
        assert not torch.allclose(through[0].top_logprobs[0], through[1].top_logprobs[0])


def small_gpt2() -> TextAdapter:
    """Two layers of width 8; its norms keep float64, which finite differences need."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer(bos=False)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=32,
        n_embd=8,
        n_layer=2,
        n_head=2,
        bos_token_id=0,
        eos_token_id=1,
    )
    model = unsettle(GPT2LMHeadModel(config)).double()
    with torch.no_grad():
        for parameter in model.transformer.h.parameters():
            if parameter.ndim > 1:
                parameter.mul_(5)  # so that attention moves a lot between positions
    return TextAdapter(model, Processing(tokenizer), name="small-gpt2")


def finite_differences(adapter, inputs, layer, step=1e-5):
    """``d h_L[t', o] / d h_l[t, i]`` of all positions, ``[t', o, t, i]``, by central differences."""
    n, d_model = len(inputs), adapter.d_model
    everywhere = torch.zeros(n, d_model, n, d_model, dtype=torch.float64)
    state = {}
    keep = adapter.blocks[-1].register_forward_hook(lambda module, args, out: state.update(last=out[0]))
    with torch.no_grad():
        for t in range(n):
            for i in range(d_model):
                ends = []
                for sign in (1, -1):

                    def push(module, args, kwargs, t=t, i=i, sign=sign):
                        hidden = (args[0] if args else kwargs["hidden_states"]).clone()
                        hidden[0, t, i] += sign * step
                        return (
                            ((hidden, *args[1:]), kwargs)
                            if args
                            else (args, {**kwargs, "hidden_states": hidden})
                        )

                    handle = adapter.blocks[layer].register_forward_pre_hook(push, with_kwargs=True)
                    adapter.model(**inputs.tensors, use_cache=False)
                    handle.remove()
                    ends.append(state["last"].clone().reshape(n, d_model))
                everywhere[:, :, t, i] = (ends[0] - ends[1]) / (2 * step)
    keep.remove()
    return everywhere


def test_the_definition_by_finite_differences():
    adapter = small_gpt2()
    inputs = adapter.encode("what is left of the dog", [])
    allowed = np.zeros(len(inputs), bool)
    allowed[[1, 3, 4]] = True
    lens = mean_jacobians(adapter, [inputs], "text", cotangents=3, keep=lambda _: allowed)
    for layer in range(2):
        every = finite_differences(adapter, inputs, layer)
        n = len(inputs)
        backward = [every[later, :, t].abs().max() for t in range(n) for later in range(t)]
        assert max(backward) == 0
        expected = sum(every[later, :, t] for t in (1, 3, 4) for later in (1, 3, 4) if later >= t) / 3
        across = every[4, :, 1]
        assert across.norm() > 0.05 * expected.norm()
        torch.testing.assert_close(lens.versions["text"].matrices[layer], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("build", [tiny_llama, tiny_llava, tiny_gpt2])
def test_blocks_of_known_linear_maps(build, monkeypatch):
    adapter = build(dtype=torch.float64)
    pictures = [NOISE] if adapter.image_token else []
    inputs = adapter.encode(PROMPT, pictures)
    d_model = adapter.d_model
    generator = torch.Generator().manual_seed(3)
    maps = [
        torch.linalg.qr(torch.randn(d_model, d_model, generator=generator, dtype=torch.float64)).Q * 1.2
        for _ in adapter.blocks
    ]
    for block, own in zip(adapter.blocks, maps, strict=True):
        monkeypatch.setattr(block, "forward", lambda hidden_states, *_, own=own, **__: hidden_states @ own.T)
    lens = mean_jacobians(adapter, [inputs, inputs], "text")
    downstream = torch.eye(d_model, dtype=torch.float64)
    for layer in range(adapter.n_layers, -1, -1):
        torch.testing.assert_close(lens.versions["text"].matrices[layer], downstream)
        if layer:
            downstream = downstream @ maps[layer - 1]
    if pictures:
        nothing = mean_jacobians(adapter, [inputs], "answer").versions["answer"].matrices
        assert not nothing[:-1].any()
        assert torch.equal(nothing[-1], torch.eye(d_model, dtype=torch.float64))
    states = capture(adapter, inputs).resid
    expected = adapter.final_norm(states[-1])
    for layer in range(adapter.n_layers + 1):
        read = lens.for_kind("text").normed(states[layer], layer, adapter.unembed)
        torch.testing.assert_close(read, expected)


def test_versions_pick_their_sources_and_targets():
    _, inputs = encoded("llava", "the cat <image> is what", answer=(11, 42, 7))
    kind = inputs.places.kind
    patches = np.flatnonzero(kind == "patch")
    text = np.flatnonzero(kind == "text")
    answer = np.arange(inputs.n_prompt - 1, len(inputs))
    assert patches.size == 9
    assert kind[0] == "special"
    assert text[0] == 1 < patches[0]
    for version, (sources, targets) in {
        "text": (text, text),
        "image": (patches, patches),
        "answer": (patches, answer),
    }.items():
        found = positions(inputs, version)
        assert found[0].tolist() == sources.tolist()
        assert found[1].tolist() == targets.tolist()
    some = positions(inputs, "answer", lambda one: np.arange(len(one)) % 2 == 0)
    assert some[0].tolist() == [p for p in patches if p % 2 == 0]
    assert some[1].tolist() == answer.tolist()


def test_early_positions_are_left_out():
    adapter = tiny_gpt2()
    short, long = adapter.encode("the cat", []), adapter.encode("the cat is " * 20, [])
    assert np.flatnonzero(~settled(short)).tolist() == [0]
    assert np.flatnonzero(~settled(long)).tolist() == list(range(16))
    assert 0 not in positions(short, "text")[0]


def test_prompts_weigh_the_same_and_batches_do_not_matter():
    adapter = tiny_llama()
    inputs = [adapter.encode(text, []) for text in ("what is left of the dog?", "a red cat", "two dogs")]
    alone = [mean_jacobians(adapter, [one], "text").versions["text"].matrices for one in inputs]
    told = []
    lens = mean_jacobians(
        adapter, (one for one in inputs), "text", cotangents=7, progress=lambda *at: told.append(at)
    )
    own = lens.versions["text"]
    torch.testing.assert_close(own.matrices, torch.stack(alone).mean(0))
    assert own.prompts == 3
    assert told == [(1, 1), (2, 2), (3, 3)]
    halves = (alone[0] + alone[2]) / 2, alone[1]
    expected = math.sqrt(2) / 3 * (halves[0] - halves[1])[0].norm() / own.matrices[0].norm()
    assert own.errors[0].item() == pytest.approx(expected.item(), rel=1e-5)
    assert own.errors[-1] == 0
    assert mean_jacobians(adapter, inputs[:1], "text").versions["text"].errors is None


def test_random_directions_are_unbiased_within_the_stated_error():
    """On copies of one prompt the directions are the only source of error, so the stated one is theirs."""
    adapter = small_gpt2()
    inputs = adapter.encode("what is left of the dog", [])
    exact = mean_jacobians(adapter, [inputs], "text").versions["text"].matrices
    fits = [
        mean_jacobians(adapter, [inputs] * 6, "text", probes=2, seed=seed).versions["text"]
        for seed in range(40)
    ]
    found = torch.stack([fit.matrices for fit in fits])[:, :-1]
    size = found.square().sum((2, 3))
    true = ((found - exact[:-1]).square().sum((2, 3)) / size).mean(0).sqrt()
    stated = torch.stack([fit.errors[:-1] for fit in fits]).square().mean(0).sqrt()
    assert true.min() > 0.1
    torch.testing.assert_close(true.float(), stated, rtol=0.15, atol=0)
    bias = (found.mean(0) - exact[:-1]).square().sum((1, 2)).sqrt()
    spread = (found - found.mean(0)).square().sum((2, 3)).mean(0).sqrt() / math.sqrt(len(fits))
    assert (bias < 1.5 * spread).all()
    again = mean_jacobians(adapter, [inputs] * 6, "text", probes=2, seed=3).versions["text"].matrices
    assert torch.equal(again, fits[3].matrices)


def test_prompts_share_out_a_whole_basis():
    adapter, inputs = encoded("llama")
    exact = mean_jacobians(adapter, [inputs], "text").versions["text"].matrices
    shared = mean_jacobians(adapter, [inputs] * 8, "text", probes=8).versions["text"]
    torch.testing.assert_close(shared.matrices, exact, rtol=1e-4, atol=1e-5)
    assert shared.errors.max() < 1e-5


def used(family):
    """An adapter whose model has run once: some vision towers set up hooks of their own the first time."""
    adapter, inputs = encoded(family)
    capture(adapter, inputs)
    adapter.model.train()
    adapter.blocks[0].eval()
    for number, parameter in enumerate(adapter.model.parameters()):
        parameter.requires_grad_(number % 3 > 0)
    if family == "qwen_vl":
        adapter.model.model.rope_deltas = torch.tensor([[7]])
    return adapter, inputs


def fingerprint(adapter):
    model = adapter.model
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
    modes = tuple(module.training for module in model.modules())
    weights = [parameter.detach().double().sum().item() for parameter in model.parameters()]
    wanted = [(parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    rope = getattr(model.model, "rope_deltas", None) if hasattr(model, "model") else None
    return hooks, modes, weights, wanted, rope, torch.is_grad_enabled(), torch.is_inference_mode_enabled()


@EVERY
def test_the_model_is_left_as_it_was(family):
    adapter, inputs = used(family)
    before = fingerprint(adapter)
    mean_jacobians(adapter, [inputs], "text", probes=2)
    assert fingerprint(adapter) == before
    with torch.no_grad():
        mean_jacobians(adapter, [inputs], "text", probes=2)

    def fail(*_):
        raise RuntimeError("half way")

    handle = adapter.blocks[2].register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="half way"):
        mean_jacobians(adapter, [inputs], "text")
    handle.remove()
    assert fingerprint(adapter) == before


def test_it_can_be_fitted_where_nothing_has_gradients():
    adapter, inputs = encoded("llama")
    expected = mean_jacobians(adapter, [inputs], "text").versions["text"].matrices
    adapter.model.requires_grad_(False)
    with torch.inference_mode():
        found = mean_jacobians(adapter, [inputs], "text").versions["text"].matrices
    torch.testing.assert_close(found, expected)


def test_what_cannot_be_fitted_is_refused():
    adapter, inputs = encoded("llama")
    for wanted, match in [
        ({"version": "image"}, "no such position"),
        ({"version": "text", "cotangents": 0}, "at least 1"),
        ({"version": "text", "probes": 0}, "got 0 probes"),
        ({"version": "text", "probes": 32}, "got 32 probes"),
    ]:
        with pytest.raises(SelectionError, match=match):
            mean_jacobians(adapter, [inputs], **wanted)
    with pytest.raises(FitError, match="at least one prompt"):
        mean_jacobians(adapter, [], "text")
    mllama, seen = encoded("mllama")
    with pytest.raises(SelectionError, match="'text' is the only version"):
        mean_jacobians(mllama, [seen], "answer")


@pytest.mark.parametrize("weight", [1e38, math.inf])
def test_what_is_not_finite_is_refused(weight):
    adapter, inputs = encoded("llama")
    with torch.no_grad():
        adapter.blocks[1].mlp.down_proj.weight.fill_(weight)
    with pytest.raises(NumericsError, match="not finite"):
        mean_jacobians(adapter, [inputs], "text")


def test_each_kind_is_read_through_its_version():
    adapter, inputs = encoded("llava")
    fits = {version: mean_jacobians(adapter, [inputs], version) for version in ("text", "answer", "image")}
    text = fits["text"]
    assert {text.read_by(kind) for kind in ("text", "patch", "answer")} == {"text"}
    both = text.joined(fits["answer"])
    assert [both.read_by(kind) for kind in ("text", "patch", "answer")] == ["text", "answer", "text"]
    assert both.joined(fits["image"]).read_by("patch") == "image"
    assert both.params()["patch_read_by"] == "answer"
    assert both.params()["text_prompts"] == 1
    assert both.params()["text_error"] is None
    states = capture(adapter, inputs).resid[1]
    own = fits["answer"].versions["answer"].matrices[1]
    expected = adapter.unembed.norm(states @ own.T)
    torch.testing.assert_close(both.for_kind("patch").normed(states, 1, adapter.unembed), expected)
    with pytest.raises(SelectionError, match="layer 9 does not exist"):
        both.for_kind("patch").normed(states, 9, adapter.unembed)
    with pytest.raises(SelectionError, match="same data in the same way"):
        text.joined(mean_jacobians(adapter, [inputs], "image", probes=3))
    with pytest.raises(SelectionError, match="at least one version"):
        JacobianLens({})


def test_it_comes_back_from_its_arrays():
    adapter, inputs = encoded("llava")
    lens = mean_jacobians(adapter, [inputs] * 2, "text").joined(
        mean_jacobians(adapter, [inputs] * 2, "image")
    )
    arrays, params = lens.to_arrays(), dict(lens.params())
    again = JacobianLens.from_arrays(arrays, {**params, "file": "abc"})
    assert again.params() == {**params, "file": "abc"}
    for version, own in lens.versions.items():
        assert torch.equal(own.matrices, again.versions[version].matrices)
        assert torch.equal(own.errors, again.versions[version].errors)
    for broken in (
        {},
        arrays | {"video.matrices": arrays["text.matrices"]},
        arrays | {"image.matrices": arrays["text.matrices"][:, :-1]},
        arrays | {"image.errors": arrays["text.errors"][1:]},
        arrays | {"image.matrices": arrays["text.matrices"] * math.nan},
    ):
        with pytest.raises(FormatError):
            JacobianLens.from_arrays(broken, params)
    with pytest.raises(FormatError, match="text_prompts"):
        JacobianLens.from_arrays(arrays, {k: v for k, v in params.items() if k != "text_prompts"})


def test_it_comes_back_from_a_file(tmp_path, monkeypatch):
    monkeypatch.setitem(files.LENSES, "jacobian", JacobianLens.from_arrays)
    adapter, inputs = encoded("llava")
    lens = mean_jacobians(adapter, [inputs] * 2, "image", probes=4, seed=7)
    path = files.write_lens(lens, tmp_path / "lens.safetensors", model=adapter.name, unembed=adapter.unembed)
    again = files.read_lens(path, adapter.unembed)
    assert {**again.params(), "file": None} == lens.params()
    states = capture(adapter, inputs).resid[2]
    reads = [own.for_kind("patch").normed(states, 2, adapter.unembed) for own in (lens, again)]
    assert torch.equal(*reads)


def test_effective_rank_counts_directions():
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(12, 12, generator=generator)).Q
    assert effective_rank(basis[:5]) == pytest.approx(5, abs=1e-4)
    assert effective_rank(basis[:1].repeat(5, 1)) == pytest.approx(1, abs=1e-4)
    assert effective_rank(torch.zeros(3, 4)) == 0
    uneven = basis[:2] * torch.tensor([[3.0], [1.0]])
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert effective_rank(uneven) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("build", [tiny_llama, tiny_gpt2, tiny_gemma2])
def test_the_gain_of_a_final_norm_is_found(build):
    adapter = build()
    weight = adapter.final_norm.weight.detach()
    expected = 1 + weight if build is tiny_gemma2 else weight
    torch.testing.assert_close(norm_gain(adapter.unembed), expected, atol=1e-4, rtol=1e-4)


def test_a_lens_that_reads_one_direction_is_called_degenerate():
    unembed = tiny_llama().unembed
    d_model = unembed.d_model
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(d_model, d_model, generator=generator)).Q
    line = torch.randn(d_model, 1, generator=generator) @ torch.randn(1, d_model, generator=generator)
    ids = list(range(20, 40))
    matrices = torch.stack([line, line + 1e-3 * rotation, rotation, torch.eye(d_model)])
    spread = concept_spread(matrices, unembed, ids)
    assert spread.is_degenerate.tolist() == [True, True, False, False]
    assert spread.effective_rank[0] == pytest.approx(1, abs=1e-3)
    assert spread.mean_cosine[0] == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(spread.effective_rank[2], spread.effective_rank[3])
    rows = unembed.weight[ids].detach() * unembed.final_norm.weight.detach()
    assert spread.effective_rank[3] == pytest.approx(effective_rank(rows), rel=1e-4)
    for wrong in ([5], [5, 5], [5, unembed.vocab], [-1, 5]):
        with pytest.raises(SelectionError, match="two different token ids"):
            concept_spread(torch.eye(d_model)[None], unembed, wrong)


def test_nothing_is_multiplied_into_the_last_layer():
    unembed = tiny_llama().unembed
    lens = JacobianLens({"text": Jacobians(torch.zeros(2, 32, 32), 1)})
    states = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(lens.for_kind("text").normed(states, 1, unembed), unembed.norm(states))
    assert not lens.for_kind("text").normed(states, 0, unembed).any()


def test_a_single_prompts_jacobians_state_no_error():
    lens = JacobianLens({"text": Jacobians(torch.eye(4).repeat(3, 1, 1), 1)})
    assert (lens.n_layers, lens.d_model, lens.name) == (2, 4, "jacobian")
    assert set(lens.to_arrays()) == {"text.matrices"}
    assert torch.equal(lens.to("cpu").versions["text"].matrices, lens.versions["text"].matrices)
