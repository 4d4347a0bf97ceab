"""A fixed number of pairs that stands for a stream of them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.fit.gram import Pairs


class Reservoir:
    """Keeps ``size`` pairs, each of those seen with the same chance (algorithm R, Vitter 1985), by a seed."""

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seen = 0
        self._draw = torch.Generator().manual_seed(seed)
        self._x: Tensor | None = None
        self._y: Tensor | None = None

    def add(self, x: Float[Tensor, "layer pair d_model"], y: Float[Tensor, "pair d_model"]) -> None:
        """Take in pairs of all layers' ``x`` and the ``y`` they share."""
        if self._x is None or self._y is None:
            self._x, self._y = x.new_empty(len(x), self.size, x.shape[2]), y.new_empty(self.size, y.shape[1])
        order = torch.arange(self.seen, self.seen + len(y))
        drawn = (torch.rand(len(y), generator=self._draw, dtype=torch.float64) * (order + 1)).long()
        slots = torch.where(order < self.size, order, drawn)
        self.seen += len(y)
        for pair in (slots < self.size).nonzero().flatten().tolist():
            self._x[:, slots[pair]], self._y[slots[pair]] = x[:, pair], y[pair]

    def pairs(self, count: int) -> Pairs:
        """Return ``count`` of the pairs kept, at most as many as were added."""
        assert self._x is not None and self._y is not None and count <= min(self.seen, self.size)
        return self._x[:, :count], self._y[:count]
