"""The same states through other implementations: same top-k, same log-probabilities within 1e-4."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from patchlens.capture import capture
from patchlens.lens import LogitLens, Statistics, stream_statistics
from patchlens.models.adapter import Adapter
from patchlens.models.encode import Inputs
from patchlens.models.load import load_adapter
from tiny import save as save_model
from tiny import tiny_llava, tiny_mllama, tiny_qwen_vl

PICTURE = Image.effect_noise((70, 50), 90).convert("RGB")
PROMPT = "what is left of the dog?"
K = 10


def ours(adapter: Adapter, inputs: Inputs, targets: list[int]) -> Statistics:
    """What patchlens reads."""
    captured = capture(adapter, inputs)
    return stream_statistics(
        captured.resid,
        captured.final,
        LogitLens(),
        adapter.unembed,
        layers=captured.layers,
        n_layers=adapter.n_layers,
        top_k=K,
        target_ids=targets,
    )


def check(stats: Statistics, logprobs: torch.Tensor, targets: list[int]) -> None:
    """Hold ours against a peer's full log-probabilities ``[layer, pos, vocab]``."""
    values, ids = logprobs.topk(K + 1)
    torch.testing.assert_close(stats.top_logprobs, values[..., :K], atol=1e-4, rtol=0)
    clear = (values[..., :-1] - values[..., 1:]).amin(-1) > 2e-4
    assert clear.float().mean() > 0.9
    assert torch.equal(stats.top_ids[clear].long(), ids[..., :K][clear])
    torch.testing.assert_close(stats.target_logprobs, logprobs[..., targets], atol=1e-4, rtol=0)
    entropy = -(logprobs.exp() * logprobs).sum(-1)
    torch.testing.assert_close(stats.entropy, entropy, atol=1e-4, rtol=1e-4)


def norm_twice(adapter: Adapter, stack: torch.Tensor) -> torch.Tensor:
    """The mistake of taking transformers' last hidden state for one that is not yet normed."""
    stack = stack.clone()
    stack[-1] = adapter.final_norm(stack[-1])
    return stack


def nnsight_states(adapter: Adapter, inputs: Inputs) -> torch.Tensor:
    """Block inputs and outputs ``[layer, pos, d_model]`` saved in an nnsight trace."""
    from nnsight import NNsight, save

    model = NNsight(adapter.model)
    layers = model.model.language_model.layers
    with model.trace(**inputs.tensors):
        saved = save([layers[0].input[0], *(layer.output[0] for layer in layers)])
    return torch.stack(saved).detach()


def read_back(adapter: Adapter, states: torch.Tensor) -> torch.Tensor:
    """The older scripts' way: norm, head, log-softmax, one layer at a time."""
    model = adapter.model
    norm, head = model.model.language_model.norm, model.lm_head
    with torch.no_grad():
        return torch.stack([head(norm(state)).log_softmax(-1) for state in states])


@pytest.mark.parametrize("build", [tiny_llava, tiny_mllama, tiny_qwen_vl])
def test_nnsight_sees_the_same(build):
    """Block outputs of an nnsight trace read as ours do, and read otherwise if normed once more."""
    adapter = build()
    inputs = adapter.encode(PROMPT, [PICTURE])
    targets = [40, 41, 60]
    states = nnsight_states(adapter, inputs)
    stats = ours(adapter, inputs, targets)
    check(stats, read_back(adapter, states), targets)
    with pytest.raises(AssertionError):
        check(stats, read_back(adapter, norm_twice(adapter, states)), targets)


def test_transformer_lens_sees_the_same(tmp_path):
    """Its logit lens over a cached run of a LLaVA bridge: all log-probabilities, top-k and ranks."""
    from transformer_lens.model_bridge import TransformerBridge
    from transformer_lens.tools.analysis import logit_lens

    adapter = tiny_llava()
    inputs = adapter.encode(PROMPT, [PICTURE])
    targets = [40, 41, 60]
    stats = ours(adapter, inputs, targets)
    folder = save_model(adapter, tmp_path / "llava")
    loaded = load_adapter(str(folder))
    bridge = TransformerBridge.boot_transformers(
        str(folder), hf_model=loaded.model, tokenizer=loaded.tokenizer, device="cpu"
    )
    bridge.eval()
    with torch.no_grad():
        _, cache = bridge.run_with_cache(
            inputs.tensors["input_ids"], pixel_values=inputs.tensors["pixel_values"]
        )
    full = logit_lens(bridge, cache=cache, positions=None, return_type="log_probs")
    assert len(full.labels) == adapter.n_layers + 1
    check(stats, full.values[:, 0], targets)
    best = logit_lens(bridge, cache=cache, positions=None, return_type="log_probs", top_k=K)
    torch.testing.assert_close(stats.top_logprobs, best.values[:, 0], atol=1e-4, rtol=0)
    ranked = logit_lens(bridge, cache=cache, positions=None, targets=targets)
    assert torch.equal(stats.target_ranks.long(), ranked.readout.target_ranks[:, 0])
