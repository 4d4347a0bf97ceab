"""Ranks of named tokens among all logits, counted chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


class TargetCounter:
    """Counts, for each row and target, how many logits lie above and how many below the target's.

    A target's logit must be known before the first chunk, and a separate product differs from the chunk's by
    ulps: a rank would then count the target itself, or contradict the order of the top words. So the logit
    computed beforehand stands in for the target's column wherever that column turns up (``put``), and
    everything is judged from one set of numbers.
    """

    def __init__(self, logits: Float[Tensor, "row target"], ids: Sequence[int]) -> None:
        self.logits = logits
        self.ids = ids
        self.above = torch.zeros(logits.shape, dtype=torch.int64, device=logits.device)
        self.below = torch.zeros_like(self.above)

    def put(self, scores: Float[Tensor, "row chunk"], first_id: int) -> None:
        """Overwrite the columns of those targets that lie in the chunk starting at ``first_id``."""
        for index, token in enumerate(self.ids):
            if first_id <= token < first_id + scores.shape[1]:
                scores[:, token - first_id] = self.logits[:, index]

    def update(self, scores: Float[Tensor, "row chunk"], scratch: Float[Tensor, "row chunk"]) -> None:
        """Count one chunk; ``scratch`` is overwritten."""
        for index in range(len(self.ids)):
            # sums of signs are exact in float32 (a chunk is below 2**24) and far cheaper than boolean ones
            torch.sub(scores, self.logits[:, index, None], out=scratch).sign_()
            net = scratch.sum(-1)
            apart = scratch.mul_(scratch).sum(-1)
            self.above[:, index] += ((apart + net) / 2).long()
            self.below[:, index] += ((apart - net) / 2).long()

    def ranks(self, vocab: int) -> tuple[Int[Tensor, "row target"], Int[Tensor, "row target"]]:
        """Return the rank (number of strictly greater logits) and the rank if every tie went against it."""
        return self.above, vocab - 1 - self.below
