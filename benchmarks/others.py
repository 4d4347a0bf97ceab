"""Other ways to read a lens: the bare product, the obvious code, a decoding loop, and two libraries."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from patchlens.lens.engine.chunks import make_plan
from patchlens.models.unembed import Unembed

Result = dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """States of a few layers and the head of a random model; ``resid[-1]`` is the model's last layer."""

    name: str
    resid: Tensor
    unembed: Unembed
    model: Any
    top_k: int
    targets: tuple[int, ...]
    decode: Callable[[int], str]


def bare_gemm(case: Case) -> None:
    """Only the products that any lens needs, with the rows and chunks that patchlens chooses."""
    layers, positions, _ = case.resid.shape
    weight = case.unembed.weight
    plan = make_plan(layers + 1, positions, weight, None)
    states = case.unembed.norm(case.resid[:, : plan.block]).flatten(0, 1)
    room = torch.empty(len(states) * plan.chunk, dtype=weight.dtype)
    for block in plan.blocks():
        rows = layers * (block.stop - block.start)
        for start in range(0, len(weight), plan.chunk):
            columns = weight[start : start + plan.chunk]
            torch.mm(states[:rows], columns.T, out=room[: rows * len(columns)].view(rows, -1))


def naive(case: Case) -> Result:
    """Softmax, topk, entropy, KL and rank of whole logits, one layer at a time."""
    final = case.unembed.logits(case.resid[-1]).float().log_softmax(-1)
    rows: list[Result] = []
    for resid in case.resid:
        logits = case.unembed.logits(resid).float()
        logprobs = logits.log_softmax(-1)
        top = logprobs.topk(case.top_k)
        ranks = [(logits > logits[:, token, None]).sum(-1) for token in case.targets]
        rows.append(
            {
                "top_ids": top.indices,
                "top_logprobs": top.values,
                "entropy": -(logprobs.exp() * logprobs).sum(-1),
                "kl_to_final": (final.exp() * (final - logprobs)).sum(-1),
                "target_ranks": torch.stack(ranks, -1),
            }
        )
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def decoding_loop(case: Case) -> Result:
    """One layer at a time, softmax and topk, every cell decoded on its own; no other statistics."""
    ids, logprobs, words = [], [], []
    for resid in case.resid:
        top = case.unembed.logits(resid).float().softmax(-1).topk(case.top_k)
        for position in top.indices:
            words.append([case.decode(int(token)) for token in position])
        ids.append(top.indices)
        logprobs.append(top.values.log())
    return {"top_ids": torch.stack(ids), "top_logprobs": torch.stack(logprobs)}


def transformer_lens(case: Case) -> Callable[[], Result]:
    """TransformerLens ``logit_readout`` on the same states: top-k and entropy, no KL, ranks apart."""
    from transformer_lens.model_bridge import TransformerBridge
    from transformer_lens.tools.analysis import logit_readout
    from transformers import PreTrainedTokenizerFast

    with tempfile.TemporaryDirectory() as folder:
        made_tokenizer(8).save_pretrained(folder)
        case.model.config.save_pretrained(folder)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        bridge = TransformerBridge.boot_transformers(
            folder, hf_model=case.model, tokenizer=tokenizer, device="cpu", dtype=case.unembed.weight.dtype
        ).eval()

    def read() -> Result:
        readout = logit_readout(bridge, case.resid, top_k=case.top_k, return_type="log_probs")
        return {"top_ids": readout.top_ids, "top_logprobs": readout.values, "entropy": readout.entropy}

    return read


class _Stack(nn.Module):
    """A model whose layers only pass on given states, so that a trace costs nothing but its reading."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.resid = case.resid
        self.layers = nn.ModuleList(nn.Identity() for _ in case.resid)
        self.norm, self.lm_head = case.model.model.norm, case.model.lm_head

    def forward(self, start: Tensor) -> Tensor:
        for layer, resid in zip(self.layers, self.resid, strict=True):
            start = layer(resid)
        return start


def nnsight(case: Case) -> Callable[[], Result]:
    """Softmax and topk of each layer inside an nnsight trace, as its tutorials do; no other statistics."""
    import nnsight as library

    model = library.NNsight(_Stack(case))
    start = torch.zeros(1)

    def read() -> Result:
        with torch.no_grad(), model.trace(start):
            tops = library.save([])
            for layer in range(len(case.resid)):
                logits = model.lm_head(model.norm(model.layers[layer].output))
                tops.append(logits.float().softmax(-1).topk(case.top_k))
        return {
            "top_ids": torch.stack([top.indices for top in tops]),
            "top_logprobs": torch.stack([top.values for top in tops]).log(),
        }

    return read


def made_tokenizer(vocab: int) -> Any:
    """A word-level fast tokenizer of ``vocab`` entries: four special tokens, then made words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    entries = ["<unk>", "<s>", "</s>", "<pad>", *(f"word{i}" for i in range(4, vocab))]
    words = Tokenizer(models.WordLevel({entry: i for i, entry in enumerate(entries)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
