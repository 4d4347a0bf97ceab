"""``KL(p_final || p_lens)`` with its gradient, in chunks of the vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.lens.plan import Plan, make_plan
from patchlens.unembed import Unembed


def kl_to_final(
    states: Float[Tensor, "layer pos d_model"], final: Float[Tensor, "pos d_model"], unembed: Unembed
) -> Float[Tensor, "layer pos"]:
    """Return ``KL(p_final || p_lens)`` in nats, differentiable in ``states``.

    Both arguments are normed states, ready for the lm_head; its bias, the scale and the soft-cap are applied.
    The gradient is written out: ``dKL / dlogits = p_lens - p_final``, brought back through ``unembed.weight``
    chunk by chunk, so that nothing of size ``[pos, vocab]`` is kept. Its mean is the loss of Belrose et al.
    2023 (arXiv 2303.08112). Computed in the dtype of ``states``; ``final`` and the unembed get no gradient.
    """
    return cast(Tensor, _KLToFinal.apply(states, final, unembed))


class _RunningKL:
    """Online softmax (Milakov & Gimelshein 2018) of a lens's logits, held against the reference's."""

    def __init__(self, states: Float[Tensor, "layer pos d_model"]) -> None:
        self._peak = states.new_full(states.shape[:2], torch.finfo(states.dtype).min)
        self._total = torch.zeros_like(self._peak)
        self._gap = torch.zeros_like(self._peak)

    def update(
        self,
        scores: Float[Tensor, "layer pos chunk"],
        target: Float[Tensor, "pos chunk"],
        weights: Float[Tensor, "pos chunk"],
    ) -> None:
        """Take in a chunk: the lens's logits, the reference's, and the reference's probabilities."""
        self._gap += torch.linalg.vecdot(target - scores, weights)
        peak = torch.maximum(self._peak, scores.amax(-1))
        self._total = self._total * (self._peak - peak).exp() + (scores - peak[..., None]).exp_().sum(-1)
        self._peak = peak

    def logsumexp(self) -> Float[Tensor, "layer pos"]:
        """Of the lens's logits so far."""
        return self._peak + self._total.log()

    def result(self, normaliser: Float[Tensor, " pos"]) -> Float[Tensor, "layer pos"]:
        """Return the KL, given the log-sum-exp of the reference."""
        return self._gap - normaliser + self.logsumexp()


class _KLToFinal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, final: Tensor, unembed: Unembed) -> Tensor:
        plan = make_plan(len(states) + 1, states.shape[1], unembed.weight, None)
        final = final.to(states.dtype)
        normalisers, own_normalisers, result = (states.new_empty(shape) for shape in _shapes(states))
        for at in plan.blocks():
            reference, running = final[at], _RunningKL(states[:, at])
            normalisers[at] = _logsumexp(reference, unembed, plan)
            for ids in _chunks(plan, unembed):
                target = _logits(reference, unembed, ids)
                weights = (target - normalisers[at, None]).exp()
                running.update(_logits(states[:, at], unembed, ids), target, weights)
            result[:, at] = running.result(normalisers[at])
            own_normalisers[:, at] = running.logsumexp()
        ctx.save_for_backward(states, final, normalisers, own_normalisers)
        ctx.unembed, ctx.plan = unembed, plan
        return result

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, None, None]:
        states, final, normalisers, own_normalisers = cast("tuple[Tensor, ...]", ctx.saved_tensors)
        unembed, plan = cast(Unembed, ctx.unembed), cast(Plan, ctx.plan)
        gradient = torch.zeros_like(states)
        for at in plan.blocks():
            for ids in _chunks(plan, unembed):
                scores = _logits(states[:, at], unembed, ids)
                slope = _slope(scores, unembed)
                scores.sub_(own_normalisers[:, at, None]).exp_()
                scores -= (_logits(final[at], unembed, ids) - normalisers[at, None]).exp_()
                scores *= outputs[0][:, at, None] * slope
                gradient[:, at] += scores @ unembed.weight[ids].to(scores.dtype)
        return gradient, None, None


def _shapes(states: Tensor) -> tuple[torch.Size, torch.Size, torch.Size]:
    table = states.shape[:2]
    return table[1:], table, table


def _chunks(plan: Plan, unembed: Unembed) -> Iterator[slice]:
    for start in range(0, unembed.vocab, plan.chunk):
        yield slice(start, min(start + plan.chunk, unembed.vocab))


def _logits(
    states: Float[Tensor, "*rows d_model"], unembed: Unembed, ids: slice
) -> Float[Tensor, "*rows chunk"]:
    raw = states @ unembed.weight[ids].to(states.dtype).T
    if unembed.bias is not None:
        raw += unembed.bias[ids].to(raw.dtype)
    return unembed.finish(raw)


def _slope(scores: Float[Tensor, "*rows chunk"], unembed: Unembed) -> Float[Tensor, "*rows chunk"] | float:
    """Derivative of `Unembed.finish` where it gave ``scores``."""
    if unembed.softcap is None:
        return unembed.scale
    return unembed.scale * (1 - (scores / unembed.softcap).square_())


def _logsumexp(states: Float[Tensor, "pos d_model"], unembed: Unembed, plan: Plan) -> Float[Tensor, " pos"]:
    parts = [_logits(states, unembed, ids).logsumexp(-1) for ids in _chunks(plan, unembed)]
    return torch.stack(parts).logsumexp(0)
