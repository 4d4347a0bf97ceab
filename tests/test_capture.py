import numpy as np
import pytest
import torch
from PIL import Image

from patchlens.capture import capture, check_positions
from patchlens.errors import NumericsError, SelectionError
from patchlens.models.generate import generate_greedy
from tiny import BUILDERS, VISION, tiny_gpt2, tiny_llama, tiny_llava, tiny_mllama, tiny_qwen_vl

NOISE = Image.effect_noise((80, 52), 90).convert("RGB")
EVERY = pytest.mark.parametrize("family", BUILDERS)


def encoded(family, prompt="what is left of the dog?", **more):
    adapter = BUILDERS[family]()
    return adapter, adapter.encode(prompt, [NOISE] if family in VISION else [], **more)


@EVERY
def test_states_are_transformers_hidden_states_but_the_last(family):
    adapter, inputs = encoded(family)
    captured = capture(adapter, inputs)
    with torch.inference_mode(), adapter.undisturbed():
        theirs = adapter.model(**inputs.tensors, output_hidden_states=True).hidden_states
    assert captured.resid.shape == (adapter.n_layers + 1, len(inputs), adapter.d_model)
    assert captured.layers == tuple(range(adapter.n_layers + 1))
    for layer in range(adapter.n_layers):
        torch.testing.assert_close(captured.resid[layer], theirs[layer][0])
    assert not torch.allclose(captured.final, theirs[-1][0])
    torch.testing.assert_close(adapter.final_norm(captured.final), theirs[-1][0])


@EVERY
def test_a_choice_of_layers_and_positions_is_that_part_of_all(family):
    adapter, inputs = encoded(family)
    everything = capture(adapter, inputs)
    some = capture(adapter, inputs, layers=[1, 0, -2], positions=[-1, 2, 0])
    last = adapter.n_layers
    assert some.layers == (0, 1, last - 1)
    assert some.positions == (len(inputs) - 1, 2, 0)
    torch.testing.assert_close(some.resid, everything.resid[list(some.layers)][:, list(some.positions)])
    torch.testing.assert_close(some.final, everything.resid[-1, list(some.positions)])
    torch.testing.assert_close(some.logits, everything.logits)


@EVERY
def test_the_logits_are_the_models_at_the_last_position(family):
    adapter, inputs = encoded(family)
    with torch.inference_mode(), adapter.undisturbed():
        own = adapter.model(**inputs.tensors).logits[0, -1]
    torch.testing.assert_close(capture(adapter, inputs, positions=[0]).logits, own)


def test_mllama_keeps_its_layer_numbers_without_a_picture():
    adapter = tiny_mllama()
    inputs = adapter.encode("what is left of the dog?", [])
    captured = capture(adapter, inputs)
    assert captured.vision is None
    with torch.inference_mode():
        theirs = adapter.model(**inputs.tensors, output_hidden_states=True).hidden_states
    assert len(theirs) == 6
    ran = [0, 1, 3, 4, 6]  # layers before and between the cross-attention blocks 1 and 4
    for number, layer in enumerate(ran):
        torch.testing.assert_close(captured.resid[layer], theirs[number][0])
    for block in adapter.cross_blocks:
        torch.testing.assert_close(captured.resid[block + 1], captured.resid[block])
    only = capture(adapter, inputs, layers=[2, 5])
    torch.testing.assert_close(only.resid, captured.resid[[2, 5]])


def test_mllama_vision_states_are_what_cross_attention_gets():
    adapter = tiny_mllama()
    inputs = adapter.encode("what is it?", [NOISE, NOISE.rotate(90, expand=True)])
    seen = []
    handle = adapter.blocks[1].cross_attn.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["cross_attention_states"]), with_kwargs=True
    )
    captured = capture(adapter, inputs)
    handle.remove()
    assert captured.vision.shape == (len(inputs.vision_places), adapter.d_model)
    torch.testing.assert_close(captured.vision, seen[0].reshape(-1, adapter.d_model))


def used(family):
    """An adapter whose model has run once: some vision towers set up hooks of their own the first time."""
    adapter, inputs = encoded(family)
    with torch.no_grad():
        adapter.model(**inputs.tensors)
    adapter.model.train()
    adapter.blocks[0].eval()
    if family == "qwen_vl":
        adapter.model.model.rope_deltas = torch.tensor([[7]])
    return adapter, inputs


def fingerprint(adapter) -> tuple:
    model = adapter.model
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
    modes = tuple(module.training for module in model.modules())
    weights = sum(parameter.double().sum().item() for parameter in model.parameters())
    rope = getattr(model.model, "rope_deltas", None) if hasattr(model, "model") else None
    return hooks, modes, weights, rope, model.generation_config.to_dict(), torch.is_inference_mode_enabled()


@EVERY
def test_the_model_is_left_as_it_was(family):
    adapter, inputs = used(family)
    before = fingerprint(adapter)
    capture(adapter, inputs)
    adapter.prove()
    generate_greedy(adapter, inputs, 2)
    assert fingerprint(adapter) == before
    assert capture(adapter, inputs).resid.equal(capture(adapter, inputs).resid)


@EVERY
def test_the_model_is_left_as_it_was_after_an_exception(family):
    adapter, inputs = used(family)
    before = fingerprint(adapter)

    def fail(*_):
        raise RuntimeError("half way")

    handle = adapter.blocks[1 if family != "mllama" else 2].register_forward_hook(fail)
    for act in (lambda: capture(adapter, inputs), adapter.prove, lambda: generate_greedy(adapter, inputs, 2)):
        with pytest.raises(RuntimeError, match="half way"):
            act()
    handle.remove()
    assert fingerprint(adapter) == before


def test_states_can_be_trained_on():
    adapter, inputs = encoded("llama")
    captured = capture(adapter, inputs)
    probe = torch.zeros(adapter.d_model, requires_grad=True)
    (captured.resid @ probe + captured.final @ probe).sum().backward()
    assert probe.grad is not None
    assert not captured.resid.requires_grad


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_states_keep_the_models_dtype(dtype):
    adapter = tiny_llava(dtype=dtype)
    captured = capture(adapter, adapter.encode("what is it?", [NOISE]))
    assert captured.resid.dtype == captured.final.dtype == captured.logits.dtype == dtype


def test_only_the_last_row_of_logits_is_computed():
    adapter, inputs = encoded("llama")
    rows = []
    handle = adapter.model.lm_head.register_forward_hook(lambda *args: rows.append(args[2].shape[1]))
    capture(adapter, inputs)
    handle.remove()
    assert rows == [1]


def test_states_that_are_not_finite_are_refused():
    adapter, inputs = encoded("llama")
    with torch.no_grad():
        adapter.blocks[1].mlp.down_proj.weight.fill_(float("inf"))
    with pytest.raises(NumericsError, match="not finite"):
        capture(adapter, inputs)


@pytest.mark.parametrize("positions", [[99], [-99], [], [0, 0], [1, -5]])
def test_positions_that_do_not_exist_are_refused(positions):
    with pytest.raises(SelectionError):
        check_positions(positions, 6)


def test_layers_that_do_not_exist_are_refused():
    adapter, inputs = encoded("gpt2")
    with pytest.raises(SelectionError, match="layer 4 does not exist"):
        capture(adapter, inputs, layers=[4])


@EVERY
def test_one_pass_over_prompt_and_answer_agrees_with_generation(family):
    adapter, inputs = encoded(family)
    answer = generate_greedy(adapter, inputs, 6)
    assert 0 < len(answer) <= 6
    forced = adapter.encode(inputs.prompt, [NOISE] if family in VISION else [], answer_ids=answer)
    final = capture(adapter, forced).resid[-1]
    said = adapter.unembed.logits(final[inputs.n_prompt - 1 : -1])
    said[:, list(adapter.unspeakable)] = -torch.inf
    assert said.argmax(-1).tolist() == answer


def test_the_answer_follows_the_picture():
    adapter = tiny_mllama()
    other = Image.new("RGB", NOISE.size, "white")
    texts = {tuple(generate_greedy(adapter, adapter.encode("a", [p]), 6)) for p in (NOISE, other)}
    assert len(texts) == 2


def test_penalties_of_the_generation_config_are_left_out():
    adapter = tiny_gpt2()
    inputs = adapter.encode("the cat the cat the cat", [])
    plain = generate_greedy(adapter, inputs, 8)
    settings = adapter.model.generation_config
    settings.repetition_penalty, settings.temperature, settings.do_sample = 50.0, 9.0, True
    assert generate_greedy(adapter, inputs, 8) == plain


def test_generation_ends_at_an_end_token_and_at_the_context():
    adapter = tiny_llama()
    inputs = adapter.encode("the cat", [])
    answer = generate_greedy(adapter, inputs, 6)
    adapter.model.generation_config.eos_token_id = [answer[2]]
    assert generate_greedy(adapter, inputs, 6) == answer[: answer.index(answer[2])]
    assert generate_greedy(adapter, inputs, 0) == []
    adapter.model.generation_config.eos_token_id = None
    long = adapter.encode("z" * (adapter.max_positions - 3), [])
    assert len(long) == adapter.max_positions - 2
    assert len(generate_greedy(adapter, long, 50)) <= 2


def test_a_picture_placeholder_is_never_said():
    for adapter in (tiny_llava(), tiny_qwen_vl()):
        with torch.no_grad():
            adapter.unembed.weight[adapter.image_token_id] = 50 * adapter.unembed.weight.mean(0)
        inputs = adapter.encode("what is it?", [NOISE])
        assert adapter.image_token_id not in generate_greedy(adapter, inputs, 8)


def test_states_do_not_depend_on_later_positions():
    adapter, inputs = encoded("llava")
    longer = adapter.encode("what is left of the dog? it is", [NOISE])
    shared = np.flatnonzero(inputs.ids == longer.ids[: len(inputs)])
    kept = shared[: len(inputs) - 1]
    torch.testing.assert_close(
        capture(adapter, inputs).resid[:, kept], capture(adapter, longer).resid[:, kept], atol=1e-4, rtol=1e-4
    )
