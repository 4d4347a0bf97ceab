"""Logits of all layers at the words that the reference gives most weight, as the products gave them."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


class SharedLogits:
    """Keeps, for each position, the logits of every layer at some ids that are found as the chunks pass by.

    A 16-bit product rounds by its own order of summation, which no second product repeats for sure: what was
    summed can only be replaced by better numbers if it was kept.
    """

    def __init__(self, shape: torch.Size, k: int, device: torch.device) -> None:
        self.ids = torch.full((shape[1], k), -1, device=device)
        self.logits = torch.zeros((*shape, k), device=device)

    def update(
        self, ids: Int[Tensor, "pos k"], scores: Float[Tensor, "layer pos chunk"], first_id: int
    ) -> None:
        """Take over ``ids``: each was there before or lies in the chunk that starts at ``first_id``."""
        chunk = scores.shape[2]
        new = (ids >= first_id) & (ids < first_id + chunk)
        before = (ids[:, :, None] == self.ids[:, None]).int().argmax(2)
        places = (ids - first_id).clamp(0, chunk - 1), before
        found, kept = (
            values.gather(2, place.expand(len(scores), -1, -1))
            for values, place in zip((scores, self.logits), places, strict=True)
        )
        self.ids, self.logits = ids, torch.where(new, found, kept)
