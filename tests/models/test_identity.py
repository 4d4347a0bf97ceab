from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch import nn

from patchlens.capture import capture
from patchlens.errors import IdentityCheckError
from patchlens.models.adapter import Adapter
from patchlens.models.identity import tolerance
from tiny import BUILDERS, VISION, tiny_gemma2, tiny_gpt2, tiny_granite, tiny_llama, tiny_llava, tiny_mllama

EVERY = pytest.mark.parametrize("family", BUILDERS)
NOISE = Image.effect_noise((61, 43), 90).convert("RGB")


def model_logits(adapter: Adapter, inputs) -> torch.Tensor:
    with torch.inference_mode():
        return adapter.model(**inputs.tensors, use_cache=False).logits[0]


@EVERY
def test_the_last_layer_is_the_models_own_answer(family: str):
    adapter = BUILDERS[family]()
    inputs = adapter.encode("what is left of the dog?", [NOISE] if family in VISION else [])
    own = model_logits(adapter, inputs).log_softmax(-1)
    read = adapter.unembed.logits(capture(adapter, inputs).resid[-1]).log_softmax(-1)
    assert (read - own).abs().max() <= 1e-5


@EVERY
def test_norming_twice_would_be_noticed(family: str):
    adapter = BUILDERS[family]()
    inputs = adapter.encode("what is left of the dog?", [NOISE] if family in VISION else [])
    own = model_logits(adapter, inputs).log_softmax(-1)
    final_norm = adapter.final_norm
    twice = adapter.unembed.logits(final_norm(capture(adapter, inputs).resid[-1])).log_softmax(-1)
    assert (twice - own).abs().max() > 0.05
    adapter.unembed = replace(adapter.unembed, final_norm=nn.Sequential(final_norm, final_norm))
    with pytest.raises(IdentityCheckError, match="expected lm_head"):
        adapter.prove()
    with pytest.raises(IdentityCheckError):
        capture(adapter, inputs)


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_report_states_what_was_measured(family: str, dtype: torch.dtype):
    adapter = BUILDERS[family](dtype=dtype)
    report = adapter.prove()
    assert report is adapter.prove()
    assert report.difference <= report.tolerance == tolerance(dtype)
    assert report.argmax_agreement == 1.0
    assert report.last_block.endswith(f".{adapter.n_layers - 1}")
    assert f"torch.{report.dtype}" == str(dtype)
    assert report.head == "lm_head"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_still_notices_a_second_norm(dtype: torch.dtype):
    adapter = tiny_llava(dtype=dtype)
    adapter.unembed = replace(
        adapter.unembed, final_norm=nn.Sequential(adapter.final_norm, adapter.final_norm)
    )
    with pytest.raises(IdentityCheckError):
        adapter.prove()


@pytest.mark.parametrize(
    ("build", "wrong"),
    [(tiny_gemma2, {"softcap": None}), (tiny_granite, {"scale": 1.0}), (tiny_llama, {"scale": 1.001})],
)
def test_what_the_model_does_to_its_logits_counts(build, wrong: dict):
    adapter = build()
    adapter.unembed = replace(adapter.unembed, **wrong)
    with pytest.raises(IdentityCheckError, match="does more between"):
        adapter.prove()


def test_blocks_out_of_order_are_noticed():
    adapter = tiny_gpt2()
    adapter.blocks = (adapter.blocks[1], adapter.blocks[0], adapter.blocks[2])
    with pytest.raises(IdentityCheckError, match="block"):
        adapter.prove()


def test_a_block_that_does_not_run_is_named():
    adapter = tiny_llama()
    adapter.blocks = (*adapter.blocks[:-1], nn.Identity())
    with pytest.raises(IdentityCheckError, match="block 3 did not call its hook"):
        capture(adapter, adapter.encode("a cat", []))


def test_not_a_number_is_no_identity():
    adapter = tiny_llama()
    with torch.no_grad():
        adapter.unembed.weight[0] = float("nan")
    with pytest.raises(IdentityCheckError, match="nan"):
        adapter.prove()


def test_cross_attention_blocks_may_rest_in_the_proof():
    assert tiny_mllama().prove().positions > 0
