"""Time and memory of capturing every layer against a plain forward pass without logits.

Models are random and of middling size: a text decoder, and the same with a picture of 576 patches before it.
First the captured states are compared with the hidden states that transformers returns; only then is anything
timed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

from measure import interleaved, machine, peak_extra_bytes, ratio, table
from others import made_tokenizer
from patchlens.capture import capture
from patchlens.models.adapter import Adapter, Processing
from patchlens.models.encode import Inputs
from patchlens.models.inputs import prepare
from patchlens.models.llava import LlavaAdapter
from patchlens.models.text import TextAdapter

PLAIN, OURS = "forward without logits", "patchlens capture, all layers"
VOCAB = 32000


def decoder(options: argparse.Namespace) -> Any:
    """Config of the decoder."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=options.width,
        intermediate_size=11 * options.width // 4,
        num_hidden_layers=options.layers,
        num_attention_heads=options.width // 64,
        num_key_value_heads=options.width // 64,
        max_position_embeddings=2048,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
        tie_word_embeddings=False,
    )


def text_only(options: argparse.Namespace) -> tuple[Adapter, Inputs]:
    """A text decoder and a prompt of 600 tokens."""
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM(decoder(options)).eval().to(getattr(torch, options.dtype))
    adapter = TextAdapter(model, Processing(made_tokenizer(VOCAB)), name="random decoder")
    return adapter, prepare(adapter, " ".join(f"word{i}" for i in range(10, 610)))


def with_picture(options: argparse.Namespace) -> tuple[Adapter, Inputs]:
    """The same decoder after a picture of 24 x 24 patches."""
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
    )

    tokenizer = made_tokenizer(VOCAB - 1)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    vision = CLIPVisionConfig(
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=336,
        patch_size=14,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=decoder(options),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
    )
    model = LlavaForConditionalGeneration(config).eval().to(getattr(torch, options.dtype))
    processor = CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336})
    adapter = LlavaAdapter(model, Processing(tokenizer, processor), name="random picture model")
    picture = np.random.default_rng(0).integers(0, 255, (336, 336, 3), np.uint8)
    prompt = "<image> " + " ".join(f"word{i}" for i in range(10, 34))
    return adapter, prepare(adapter, prompt, [Image.fromarray(picture)])


def check(adapter: Adapter, inputs: Inputs) -> None:
    """Assert that captured states are the hidden states that transformers returns."""
    captured = capture(adapter, inputs)
    hidden = adapter.model(**inputs.tensors, use_cache=False, output_hidden_states=True).hidden_states
    tolerance = {"atol": 1e-4, "rtol": 1e-4} if adapter.dtype == torch.float32 else {"atol": 0.1, "rtol": 0.1}
    torch.testing.assert_close(captured.resid[:-1], torch.cat(hidden[:-1]), **tolerance)
    torch.testing.assert_close(adapter.unembed.norm(captured.final), hidden[-1][0], **tolerance)


def report(adapter: Adapter, inputs: Inputs, repeats: int) -> str:
    """Check, time and weigh; return a Markdown table."""
    check(adapter, inputs)
    forward = adapter.model
    works: dict[str, Callable[[], object]] = {
        PLAIN: lambda: forward(**inputs.tensors, use_cache=False, logits_to_keep=1),
        OURS: lambda: capture(adapter, inputs),
        "forward with all hidden states and all logits": lambda: forward(
            **inputs.tensors, use_cache=False, output_hidden_states=True
        ),
    }
    seconds = interleaved(works, repeats)
    rows = []
    for name, work in works.items():
        extra = peak_extra_bytes(work)
        best = f"{1e3 * min(seconds[name]):.0f}"
        memory = "?" if extra is None else f"{extra / 1e6:.0f}"
        rows.append((name, f"{ratio(seconds[name], seconds[PLAIN]):.3f}", best, memory))
    states = (adapter.n_layers + 1) * len(inputs) * adapter.d_model * adapter.dtype.itemsize / 1e6
    title = (
        f"{adapter.name}, {str(adapter.dtype).removeprefix('torch.')}: {adapter.n_layers} blocks, "
        f"d_model {adapter.d_model}, {len(inputs)} positions, {states:.0f} MB of states, {repeats} rounds"
    )
    return f"### {title}\n\n{table(('pass', 'time / plain', 'best ms', 'peak extra MB'), rows)}\n"


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=0, help="threads of torch, 0 for its default")
    parser.add_argument("--quick", action="store_true", help="a small model")
    options = parser.parse_args()
    if options.quick:
        options.layers, options.width = 4, 256
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"{machine()}\n")
    for make in (text_only, with_picture):
        adapter, inputs = make(options)
        print(report(adapter, inputs, options.repeats), flush=True)


if __name__ == "__main__":
    main()
