"""``KL(p_final || p_lens)`` with its gradient, in chunks of the vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.lens.engine.chunks import ChunkPlan, make_plan
from patchlens.models.unembed import Unembed


def kl_to_final(
    states: Float[Tensor, "layer pos d_model"], final: Float[Tensor, "pos d_model"], unembed: Unembed
) -> Float[Tensor, "layer pos"]:
    """Return ``KL(p_final || p_lens)`` in nats, differentiable in ``states``.

    Both arguments are normed states, ready for the lm_head; its bias, the scale and the soft-cap are applied.
    The gradient is written out: ``dKL / dlogits = p_lens - p_final``, brought back through ``unembed.weight``
    chunk by chunk in the same pass, so that nothing of size ``[pos, vocab]`` is kept. Its mean is the loss of
    Belrose et al. 2023 (arXiv 2303.08112). Computed in the dtype of ``states``; ``final`` and the unembed get
    no gradient.
    """
    return cast(Tensor, _KLToFinal.apply(states, final, unembed))


class _KLToFinal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, final: Tensor, unembed: Unembed) -> Tensor:
        plan = make_plan(len(states) + 1, states.shape[1], unembed.weight, None)
        learning = bool(ctx.needs_input_grad[0])
        result, gradient = states.new_empty(states.shape[:2]), torch.zeros_like(states) if learning else None
        for at in plan.blocks():
            block = _Block(states[:, at], final[at].to(states.dtype), unembed, plan)
            for ids in _chunks(plan, unembed):
                block.update(ids, learning=learning)
            result[:, at] = block.kl()
            if gradient is not None:
                gradient[:, at] = block.gradient()
        ctx.gradient = gradient
        return result

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, None, None]:
        return outputs[0][..., None] * cast(Tensor, ctx.gradient), None, None


class _Block:
    """Online softmax (Milakov & Gimelshein 2018) of a block of positions, held against the reference.

    With ``m`` the running maximum of a row's logits ``s`` it keeps ``total = sum exp(s - m)``,
    ``pull = sum exp(s - m) ds/dh`` and ``push = sum p_final ds/dh``: ``dKL/dh = pull / total - push``.
    """

    def __init__(
        self,
        states: Float[Tensor, "layer pos d_model"],
        final: Float[Tensor, "pos d_model"],
        unembed: Unembed,
        plan: ChunkPlan,
    ) -> None:
        self._states, self._final, self._unembed = states, final, unembed
        parts = [_logits(final, unembed, ids).logsumexp(-1) for ids in _chunks(plan, unembed)]
        self._normaliser = torch.stack(parts).logsumexp(0)
        self._peak = states.new_full(states.shape[:2], torch.finfo(states.dtype).min)
        self._total, self._gap = torch.zeros_like(self._peak), torch.zeros_like(self._peak)
        self._pull, self._push = torch.zeros_like(states), torch.zeros_like(states[:1])

    def update(self, ids: slice, *, learning: bool) -> None:
        """Take in a chunk of the vocabulary."""
        scores = _logits(self._states, self._unembed, ids)
        target = _logits(self._final, self._unembed, ids)
        weights = (target - self._normaliser[:, None]).exp_()
        self._gap += torch.linalg.vecdot(target - scores, weights)
        slope = _slope(scores, self._unembed) if learning else 1.0
        peak = torch.maximum(self._peak, scores.amax(-1))
        decay = (self._peak - peak).exp_()
        scores.sub_(peak[..., None]).exp_()
        self._total = self._total * decay + scores.sum(-1)
        self._peak = peak
        if learning:
            rows = self._unembed.weight[ids].to(scores.dtype)
            self._pull = self._pull.mul_(decay[..., None]).add_(scores.mul_(slope) @ rows)
            self._push = self._push + (weights * slope) @ rows

    def kl(self) -> Float[Tensor, "layer pos"]:
        return self._gap - self._normaliser + self._peak + self._total.log()

    def gradient(self) -> Float[Tensor, "layer pos d_model"]:
        return self._pull / self._total[..., None] - self._push


def _chunks(plan: ChunkPlan, unembed: Unembed) -> Iterator[slice]:
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
