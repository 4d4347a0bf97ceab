"""An exact running top-k over vocabulary chunks that looks closely only where a chunk can change it."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

GROUP = 32
_SLAB = 2048
_ID_MASK = 0x7FFFFFFF


def group_maxima(scores: Float[Tensor, "row chunk"]) -> Float[Tensor, "row group"]:
    """Return the largest score of each run of 32 neighbouring ids, the last run may be shorter."""
    whole = scores.shape[1] // GROUP * GROUP
    peaks = scores[:, :whole].unflatten(1, (-1, GROUP)).amax(-1)
    if whole == scores.shape[1]:
        return peaks
    return torch.cat([peaks, scores[:, whole:].amax(-1, keepdim=True)], 1)


class RunningTopK:
    """The k best (score, id) pairs of each row so far, by score descending, then id ascending.

    Each pair lives in one int64 key: the score's bits in an order-preserving form above, the negated id
    below. Keys are totally ordered, so ties resolve the same way whatever the chunks, and ``torch.topk`` on
    keys is deterministic.
    """

    def __init__(self, rows: int, k: int, device: torch.device) -> None:
        lowest = encode(torch.tensor(-torch.inf, device=device), torch.tensor(_ID_MASK, device=device))
        self.k = k
        self.keys = lowest.repeat(rows, k)
        self.floor = torch.full((rows,), -torch.inf, device=device)
        self._lowest = lowest
        self._started = False

    def update(
        self, scores: Float[Tensor, "row chunk"], peaks: Float[Tensor, "row group"], first_id: int
    ) -> None:
        """Take in the scores of ids ``first_id ...``; ``peaks`` are their group maxima."""
        if not self._started and scores.shape[1] >= self.k:
            # just under the k-th best, since which of several equals torch.topk returns is not said
            bound = scores.topk(self.k, dim=1).values[:, -1]
            self.floor = torch.nextafter(bound, torch.full_like(bound, -torch.inf))
        self._started = True
        for part in (peaks > self.floor[:, None]).nonzero().split(_SLAB):
            self._merge(scores, part[:, 0], part[:, 1], first_id)

    def _merge(
        self,
        scores: Float[Tensor, "row chunk"],
        row: Int[Tensor, " n"],
        group: Int[Tensor, " n"],
        first_id: int,
    ) -> None:
        column = group[:, None] * GROUP + torch.arange(GROUP, device=row.device)
        value = scores[row[:, None], column.clamp(max=scores.shape[1] - 1)]
        keep = (value > self.floor[row, None]) & (column < scores.shape[1])
        row = row[:, None].expand_as(column)[keep]
        found = encode(value[keep], column[keep] + first_id)

        count = torch.bincount(row, minlength=len(self.keys))
        touched = count.nonzero().squeeze(1)
        place = torch.arange(len(row), device=row.device) - (count.cumsum(0) - count)[row]
        compact = (count > 0).cumsum(0)[row] - 1
        width = int(count.max())
        table = self._lowest.repeat(len(touched), self.k + width)
        table[:, : self.k] = self.keys[touched]
        table[compact, self.k + place] = found
        best = table.topk(self.k, dim=1).values
        self.keys[touched] = best
        self.floor[touched] = torch.maximum(self.floor[touched], decode(best[:, -1])[0])

    def result(self) -> tuple[Float[Tensor, "row k"], Int[Tensor, "row k"]]:
        """Return scores and ids, best first."""
        return decode(self.keys)


def encode(score: Float[Tensor, "*n"], token: Int[Tensor, "*n"]) -> Int[Tensor, "*n"]:
    """Pack float32 scores and ids below 2**31 into keys that sort by score, then by lower id."""
    bits = (score + 0.0).view(torch.int32)  # -0.0 becomes 0.0, which it equals
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (ordered.to(torch.int64) << 32) | (_ID_MASK - token)


def decode(keys: Int[Tensor, "*n"]) -> tuple[Float[Tensor, "*n"], Int[Tensor, "*n"]]:
    """Unpack keys into scores and ids."""
    ordered = (keys >> 32).to(torch.int32)
    bits = ordered ^ ((ordered >> 31) & 0x7FFFFFFF)
    return bits.view(torch.float32), _ID_MASK - (keys & _ID_MASK)
