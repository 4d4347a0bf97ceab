"""Tiny models with a prompt each, and what all tests of interventions ask of them."""

from __future__ import annotations

import torch
from PIL import Image

from patchlens.causal import intervening
from tiny import BUILDERS, VISION

NOISE = Image.effect_noise((80, 52), 90).convert("RGB")
OTHER = NOISE.rotate(180)
ANSWER = (20, 21, 22)


def cast(inputs, dtype):
    for name, tensor in inputs.tensors.items():
        if tensor.is_floating_point():
            inputs.tensors[name] = tensor.to(dtype)
    return inputs


def acted(
    family, *, picture=NOISE, prompt="what is left of the dog?", answer=ANSWER, dtype=torch.float32, **more
):
    adapter = BUILDERS[family](dtype=dtype, **more)
    shown = [picture] if family in VISION and picture is not None else []
    return adapter, cast(adapter.encode(prompt, shown, answer_ids=answer), dtype)


def logits(adapter, inputs, interventions=None):
    """Logits of a pass of the whole model, with nothing set if no interventions are given."""
    with torch.no_grad(), adapter.undisturbed():
        if interventions is None:
            return adapter.model(**inputs.tensors, use_cache=False).logits[0]
        with intervening(adapter, inputs, interventions):
            return adapter.model(**inputs.tensors, use_cache=False).logits[0]


def run_attention(adapter, kind):
    """Have the decoder attend eagerly or by torch's own kernel."""
    sees = adapter.image_token_id is not None
    adapter.model.set_attn_implementation({"text_config": kind} if sees else kind)
    assert adapter.model.get_decoder().config._attn_implementation == kind


def fingerprint(adapter):
    model = adapter.model
    hooks = tuple(
        (*module._forward_hooks.values(), *module._forward_pre_hooks.values()) for module in model.modules()
    )
    modes = tuple(module.training for module in model.modules())
    weights = [parameter.detach().clone() for parameter in model.parameters()]
    config = model.get_decoder().config._attn_implementation, model.generation_config.to_dict()
    rope = getattr(getattr(model, "model", None), "rope_deltas", None)
    forwards = tuple("forward" in vars(module) for module in model.modules())
    return (hooks, modes, config, rope, forwards, torch.is_inference_mode_enabled()), weights


def assert_untouched(adapter, before):
    now = fingerprint(adapter)
    assert now[0] == before[0]
    assert all(a.equal(b) for a, b in zip(now[1], before[1], strict=True))
