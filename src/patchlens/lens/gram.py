"""Sums of products over a stream of pairs, and the ridge regression that follows from them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.errors import FitError

# Rows turned into float64 at a time.
_ROWS = 1024


class Gram:
    """Float64 sums of pairs ``(x, y)``, for several layers of ``x`` that share their ``y``.

    Holds ``2 layers d_model^2`` numbers whatever the number of pairs.

    Attributes:
        n: how many pairs went in.
        x: sum of ``x``, ``[layer, d_model]``; ``y`` likewise, ``[d_model]``.
        xx: sum of ``x x^T``, ``[layer, d_model, d_model]``; ``xy`` of ``x y^T`` likewise.
        yy: sum of the squares of ``y``, ``[d_model]``.
    """

    def __init__(self, layers: int, d_model: int, device: torch.device | str = "cpu") -> None:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.float64, device=device)

        self.n = 0
        self.x, self.y = zeros(layers, d_model), zeros(d_model)
        self.xx, self.xy = zeros(layers, d_model, d_model), zeros(layers, d_model, d_model)
        self.yy = zeros(d_model)

    def add(self, x: Float[Tensor, "layer pair d_model"], y: Float[Tensor, "pair d_model"]) -> None:
        """Take in pairs."""
        self.n += len(y)
        for start in range(0, len(y), _ROWS):
            ys = y[start : start + _ROWS].to(self.y)
            self.y += ys.sum(0)
            self.yy += ys.square().sum(0)
            for layer, states in enumerate(x[:, start : start + _ROWS]):
                xs = states.to(self.x)
                self.x[layer] += xs.sum(0)
                self.xx[layer].addmm_(xs.T, xs)
                self.xy[layer].addmm_(xs.T, ys)

    def merge(self, other: Gram) -> None:
        """Take in all pairs that another has seen."""
        self.n += other.n
        for name in ("x", "y", "xx", "xy", "yy"):
            getattr(self, name).add_(getattr(other, name))

    def ridge(
        self, strength: float = 1e-2
    ) -> tuple[Float[Tensor, "layer d_model d_model"], Float[Tensor, "layer d_model"]]:
        """Regress ``y`` on ``x``: the ``A, b`` that minimise ``sum |A x + b - y|^2 + lambda |A|^2``.

        The bias is not shrunk. ``lambda`` is ``strength`` times the mean diagonal of the centred sum of
        ``x x^T``, so it means the same at every width, scale and number of pairs.

        Raises:
            FitError: fewer than two pairs, or a singular problem.
        """
        if self.n < 2:
            raise FitError(f"a regression needs at least 2 positions, and found {self.n}: fit on more")
        weight, bias = torch.empty_like(self.xx), torch.empty_like(self.x)
        for layer, x in enumerate(self.x):
            mean_x, mean_y = x / self.n, self.y / self.n
            xx = self.xx[layer] - torch.outer(x, mean_x)
            xy = self.xy[layer] - torch.outer(x, mean_y)
            penalty = strength * xx.diagonal().mean()
            factor, info = torch.linalg.cholesky_ex(xx + penalty * torch.eye(len(x)).to(xx))
            if int(info) or not torch.isfinite(factor).all():
                raise FitError(
                    f"layer {layer}: {self.n} positions do not determine {len(x)} dimensions at ridge "
                    f"strength {strength}: fit on more positions, or raise the strength"
                )
            weight[layer] = torch.cholesky_solve(xy, factor).T
            bias[layer] = mean_y - weight[layer] @ mean_x
        return weight, bias
