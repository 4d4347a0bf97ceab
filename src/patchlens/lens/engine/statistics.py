"""What the engine returns."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Statistics:
    """What a lens says at each layer and position; CPU tensors, all logarithms in nats.

    Attributes:
        top_ids: the k best ids, by logit descending, then id ascending.
        top_logprobs: their log-probabilities under the lens.
        entropy: of the lens's distribution.
        kl_to_final: ``KL(p_final || p_lens)``, ``p_final`` being the model's own distribution there.
        logsumexp: of the lens's logits.
        target_logprobs: log-probability of each target.
        target_ranks: how many tokens have a strictly greater logit; 0 is best.
        target_ranks_upper: the rank if every token that cannot be told from the target stood before it. The
            two differ by exact ties in float32; in 16-bit types also by rounding, unless the target is
            among the candidates settled in float32.
    """

    top_ids: Int[Tensor, "layer pos k"]
    top_logprobs: Float[Tensor, "layer pos k"]
    entropy: Float[Tensor, "layer pos"]
    kl_to_final: Float[Tensor, "layer pos"]
    logsumexp: Float[Tensor, "layer pos"]
    target_logprobs: Float[Tensor, "layer pos target"]
    target_ranks: Int[Tensor, "layer pos target"]
    target_ranks_upper: Int[Tensor, "layer pos target"]

    @classmethod
    def empty(cls, layers: int, positions: int, k: int, targets: int) -> Statistics:
        """Room for ``layers x positions``, not yet filled."""
        table = (layers, positions)
        return cls(
            top_ids=torch.empty(*table, k, dtype=torch.int32),
            top_logprobs=torch.empty(*table, k),
            entropy=torch.empty(table),
            kl_to_final=torch.empty(table),
            logsumexp=torch.empty(table),
            target_logprobs=torch.empty(*table, targets),
            target_ranks=torch.empty(*table, targets, dtype=torch.int32),
            target_ranks_upper=torch.empty(*table, targets, dtype=torch.int32),
        )

    def first_layers(self, count: int) -> Statistics:
        """Keep the first ``count`` layers, on the CPU."""
        return Statistics(*(getattr(self, field.name)[:count].cpu() for field in fields(self)))

    def put(self, positions: slice | Int[Tensor, " n"], part: Statistics) -> None:
        """Copy the statistics of some positions into their place."""
        for field in fields(self):
            getattr(self, field.name)[:, positions] = getattr(part, field.name)
