"""Time and memory of the lens engine against the bare matrix product and against other ways to read a lens.

Every contender reads the same states of a random model. First all results are compared with a float64
computation on some positions; only then is anything timed. Run it in an environment with transformer-lens and
nnsight to see those too. ``--quick`` shrinks everything to seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import fields
from importlib.util import find_spec

import torch

from measure import interleaved, machine, peak_extra_bytes, ratio, table
from others import Case, Result, bare_gemm, decoding_loop, made_tokenizer, naive, nnsight, transformer_lens
from patchlens.lens import LogitLens, stream_statistics
from patchlens.models.unembed import Unembed

GEMM, OURS = "bare product", "patchlens, all statistics"
MODEL_LAYERS = 33
# name, d_model, vocab, positions, layers timed
SIZES = (
    ("7B, vocabulary 32064", 4096, 32064, 600, 4),
    ("11B, vocabulary 128256", 4096, 128256, 600, 2),
    ("bundled model", 160, 1000, 130, 9),
)
QUICK_SIZES = (("small", 512, 4000, 150, 3), ("bundled model", 160, 1000, 130, 9))
# worst allowed distance from float64; the others' 16-bit logits are rounded, so theirs is only a plausibility
TOLERANCE = {torch.float32: (1e-4, 1e-3), torch.bfloat16: (2e-2, 0.2)}


@torch.no_grad()
def make_case(name: str, d_model: int, vocab: int, positions: int, layers: int, dtype: torch.dtype) -> Case:
    """Build a random head and states that drift from layer to layer as a residual stream does."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=d_model,
        vocab_size=vocab,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=32,
        intermediate_size=32,
        tie_word_embeddings=True,
        initializer_range=2.5 / d_model**0.5,
        attn_implementation="eager",
    )
    model = LlamaForCausalLM(config).to(dtype).eval().requires_grad_(False)
    model.model.norm.weight.copy_(1 + 0.2 * torch.randn(d_model))
    resid = torch.randn(layers, positions, d_model)
    for layer in range(1, layers):
        resid[layer] = 0.8 * resid[layer - 1] + 0.6 * resid[layer]
    tokenizer = made_tokenizer(vocab)
    return Case(
        name=name,
        resid=resid.to(dtype),
        unembed=Unembed(model.model.norm, model.lm_head.weight),
        model=model,
        top_k=10,
        targets=(5, vocab // 3, vocab - 1),
        decode=lambda token: tokenizer.decode([token]),
    )


def patchlens(case: Case) -> Result:
    layers = len(case.resid)
    statistics = stream_statistics(
        case.resid,
        case.resid[-1],
        LogitLens(),
        case.unembed,
        layers=range(layers),
        n_layers=layers - 1,
        top_k=case.top_k,
        target_ids=case.targets,
    )
    return {field.name: getattr(statistics, field.name) for field in fields(statistics)}


def contenders(case: Case) -> dict[str, Callable[[], Result | None]]:
    found: dict[str, Callable[[], Result | None]] = {
        GEMM: lambda: bare_gemm(case),
        OURS: lambda: patchlens(case),
        "naive, all statistics": lambda: naive(case),
        "layer loop, top-k, decodes every cell": lambda: decoding_loop(case),
    }
    if find_spec("transformer_lens"):
        found["transformer-lens, top-k and entropy"] = transformer_lens(case)
    if find_spec("nnsight"):
        found["nnsight trace, top-k"] = nnsight(case)
    return found


@torch.no_grad()
def truth(case: Case, positions: slice) -> Result:
    """The same statistics in float64, and all log-probabilities, at some positions."""
    normed = case.unembed.norm(case.resid[:, positions]).double()
    logits = torch.cat([normed @ rows.double().T for rows in case.unembed.weight.split(4096)], -1)
    logprobs = logits.log_softmax(-1)
    own = logits[..., list(case.targets), None]
    return {
        "logprobs": logprobs,
        "entropy": -(logprobs.exp() * logprobs).sum(-1),
        "kl_to_final": (logprobs[-1].exp() * (logprobs[-1] - logprobs)).sum(-1),
        "target_ranks": (logits[..., None, :] > own).sum(-1),
    }


def check(case: Case, name: str, result: Result) -> float:
    """Assert that a contender tells the truth, and return its largest error in nats."""
    step = max(1, case.resid.shape[1] // 8)
    positions = slice(None, None, step)
    exact = truth(case, positions)
    best = exact["logprobs"].topk(case.top_k).values
    named = exact["logprobs"].gather(-1, result["top_ids"][:, positions].long())
    values = [result["top_logprobs"][:, positions] - best]
    values += [result[key][:, positions] - exact[key] for key in ("entropy", "kl_to_final") if key in result]
    error = max(float(value.abs().max()) for value in values)
    ours, others = TOLERANCE[case.resid.dtype]
    limit = ours if name == OURS else others
    assert error <= limit, f"{name}, {case.name}: off by {error} nats"
    order = float((named - best).abs().max())
    assert order <= (1e-4 if name == OURS else limit), f"{name}, {case.name}: other words, {order} nats apart"
    if name == OURS:
        ranks = exact["target_ranks"]
        slack = 1 if case.resid.dtype == torch.float32 else 0
        assert (result["target_ranks"][:, positions] <= ranks + slack).all(), "ranks too high"
        assert (result["target_ranks_upper"][:, positions] >= ranks - slack).all(), "ranks too low"
    return error


def report(case: Case, repeats: int, readers: str) -> str:
    """Check, time and weigh the contenders; return a Markdown table."""
    works = {name: work for name, work in contenders(case).items() if name == GEMM or readers in name}
    errors = {name: check(case, name, got) for name, work in works.items() if (got := work()) is not None}
    seconds = interleaved(works, repeats)
    rows = []
    for name, work in works.items():
        extra = peak_extra_bytes(work)
        per_layer = min(seconds[name]) / len(case.resid)
        rows.append(
            (
                name,
                f"{ratio(seconds[name], seconds[GEMM]):.2f}",
                f"{1e3 * per_layer:.1f}",
                f"{MODEL_LAYERS * per_layer:.1f}",
                "?" if extra is None else f"{extra / 1e6:.0f}",
                f"{errors[name]:.0e}" if name in errors else "",
            )
        )
    layers, positions, d_model = case.resid.shape
    dtype = str(case.resid.dtype).removeprefix("torch.")
    size = f"d_model {d_model}, {positions} positions, {layers} layers timed, {repeats} rounds"
    title = f"{case.name}, {dtype}: {size}"
    header = (
        "reader",
        "time / bare product",
        "ms per layer",
        f"s for {MODEL_LAYERS} layers (extrapolated)",
        "peak extra MB",
        "largest error, nats",
    )
    return f"### {title}\n\n{table(header, rows)}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    parser.add_argument("--repeats", type=int, default=3, help="rounds; ratios are medians over rounds")
    parser.add_argument("--threads", type=int, default=0, help="threads of torch, 0 for its default")
    parser.add_argument("--only", default="", help="sizes whose name contains this")
    parser.add_argument("--readers", default="", help="readers whose name contains this; all by default")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), action="append", help="default: both")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"{machine()}\n")
    for package in ("transformer_lens", "nnsight"):
        if find_spec(package) is None:
            print(f"{package}: not installed\n")
    for size in QUICK_SIZES if options.quick else SIZES:
        for dtype in options.dtype or ("float32", "bfloat16"):
            if options.only in size[0]:
                print(
                    report(make_case(*size, dtype=getattr(torch, dtype)), options.repeats, options.readers),
                    flush=True,
                )


if __name__ == "__main__":
    main()
