"""Naive float64 statistics, and states to read."""

from dataclasses import dataclass

import torch
from torch import Tensor

from patchlens.lens import LogitLens, Statistics, stream_statistics
from patchlens.models.unembed import Unembed


@dataclass(frozen=True)
class Norm:
    """An RMS norm with weights far from one, computed in float32 as models do."""

    weight: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        y = x.float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6)
        return (self.weight.float() * y).to(x.dtype)


def make_unembed(vocab=100, d_model=16, *, seed=0, dtype=torch.float32, bias=False, **kwargs) -> Unembed:
    g = torch.Generator().manual_seed(seed)
    weight = torch.randn(vocab, d_model, generator=g) / d_model**0.5 * 3
    norm = Norm(1 + 0.3 * torch.randn(d_model, generator=g))
    offset = torch.randn(vocab, generator=g).to(dtype) if bias else None
    return Unembed(norm, weight.to(dtype), offset, **kwargs)


def make_states(layers=3, positions=5, d_model=16, *, seed=1, dtype=torch.float32) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return (torch.randn(layers, positions, d_model, generator=g) * 2).to(dtype)


def read(resid: Tensor, unembed: Unembed, *, lens=None, top_k=5, targets=(), **kwargs) -> Statistics:
    """Read all layers, the last of ``resid`` being the model's last."""
    return stream_statistics(
        resid,
        resid[-1],
        lens or LogitLens(),
        unembed,
        layers=range(len(resid)),
        n_layers=len(resid) - 1,
        top_k=top_k,
        target_ids=targets,
        **kwargs,
    )


def all_logits(normed: Tensor, unembed: Unembed) -> Tensor:
    """Logits in float64 from normed states: lm_head, bias, scale, soft-cap."""
    logits = normed.double() @ unembed.weight.double().T
    if unembed.bias is not None:
        logits = logits + unembed.bias.double()
    logits = logits * unembed.scale
    return logits if unembed.softcap is None else unembed.softcap * torch.tanh(logits / unembed.softcap)


@dataclass(frozen=True)
class Oracle:
    """Everything about ``[layer, pos, vocab]`` logits and the final ones, in float64."""

    logits: Tensor
    final: Tensor

    @property
    def logprobs(self) -> Tensor:
        return self.logits.log_softmax(-1)

    @property
    def logsumexp(self) -> Tensor:
        return self.logits.logsumexp(-1)

    @property
    def entropy(self) -> Tensor:
        return -(self.logprobs.exp() * self.logprobs).sum(-1)

    @property
    def kl(self) -> Tensor:
        final = self.final.log_softmax(-1)
        return (final.exp() * (final - self.logprobs)).sum(-1)

    def top(self, k: int) -> tuple[Tensor, Tensor]:
        values, ids = self.logprobs.sort(dim=-1, descending=True, stable=True)
        return values[..., :k], ids[..., :k]

    def ranks(self, targets) -> Tensor:
        own = self.logits[..., list(targets)]
        return (self.logits[..., None, :] > own[..., None]).sum(-1)


def oracle(resid: Tensor, unembed: Unembed) -> Oracle:
    logits = all_logits(unembed.final_norm(resid), unembed)
    return Oracle(logits, logits[-1])
