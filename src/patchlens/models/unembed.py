"""The unembedding as a model states it: final norm, lm_head, then whatever the model does to logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Unembed:
    """Facts that turn a residual state into the logits of one model; a model adapter builds it.

    In order: ``raw = weight @ final_norm(resid) + bias``, ``logits = scale * raw``, and with a soft-cap
    ``softcap * tanh(logits / softcap)``. So Gemma states ``softcap`` (``final_logit_softcapping``), Cohere
    ``scale = logit_scale``, Granite ``scale = 1 / logits_scaling``; most models leave all three alone.

    Attributes:
        final_norm: the model's own final norm module, called as is; it must treat every position alone.
        weight: lm_head weight ``[vocab, d_model]``, the model's own tensor, not a copy.
        bias: lm_head bias ``[vocab]``, or None.
        softcap: bound of the logits after scaling, or None.
        scale: factor on the lm_head's output, before the soft-cap.
    """

    final_norm: Callable[[Tensor], Tensor]
    weight: Float[Tensor, "vocab d_model"]
    bias: Float[Tensor, " vocab"] | None = None
    softcap: float | None = None
    scale: float = 1.0

    @property
    def vocab(self) -> int:
        """Number of rows of the lm_head; can exceed the tokenizer's size."""
        return self.weight.shape[0]

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.weight.shape[1]

    def norm(self, resid: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Apply the final norm in the weight's dtype, as the model does, on the weight's device."""
        return self.final_norm(resid.to(self.weight.device, self.weight.dtype))

    def logits(self, resid: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch vocab"]:
        """Turn residual states ``[.., d_model]`` (before the final norm) into all logits ``[.., vocab]``.

        Applies the final norm. For few positions and for checks: it holds the whole vocabulary at once.
        """
        logits = torch.nn.functional.linear(self.norm(resid), self.weight, self.bias)
        return self.finish(logits)

    def next_log_probs(self, normed: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch vocab"]:
        """Log-probabilities of all tokens, float32, nats, of final-normed states (as `Lens.normed` gives)."""
        logits = torch.nn.functional.linear(normed.to(self.weight.dtype), self.weight, self.bias)
        return self.finish(logits.float()).log_softmax(-1)

    def finish(self, raw: Float[Tensor, "*batch vocab"]) -> Float[Tensor, "*batch vocab"]:
        """Scale, then soft-cap what comes out of the lm_head (bias included), in its own dtype.

        Works for any subset of the vocabulary, and in place: the argument may be overwritten.
        """
        if self.scale != 1.0:
            raw *= self.scale
        if self.softcap is not None:
            raw.div_(self.softcap).tanh_().mul_(self.softcap)
        return raw
