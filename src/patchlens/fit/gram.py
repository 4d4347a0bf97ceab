"""Sums of products over a stream of pairs, and the ridge regression that follows from them."""

from __future__ import annotations

from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.errors import FitError

Pairs: TypeAlias = tuple[Float[Tensor, "layer pair d_model"], Float[Tensor, "pair d_model"]]
# Rows turned into float64 at a time.
_ROWS = 1024
# Spread, as a share of the mean square, below which all states of a layer count as one.
_LEAST = 1e-6


class Gram:
    """Float64 sums of pairs ``(x, y)``, for several layers of ``x`` that share their ``y``.

    Holds ``2 layers d_model^2`` numbers whatever the number of pairs.

    Attributes:
        n: how many pairs went in.
        x: sum of ``x``, ``[layer, d_model]``; ``y`` likewise, ``[d_model]``.
        xx: sum of ``x x^T``, ``[layer, d_model, d_model]``; ``xy`` of ``x y^T`` likewise.
    """

    def __init__(self, layers: int, d_model: int, device: torch.device | str = "cpu") -> None:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.float64, device=device)

        self.n = 0
        self.x, self.y = zeros(layers, d_model), zeros(d_model)
        self.xx, self.xy = zeros(layers, d_model, d_model), zeros(layers, d_model, d_model)

    def add(self, x: Float[Tensor, "layer pair d_model"], y: Float[Tensor, "pair d_model"]) -> None:
        """Take in pairs."""
        self.n += len(y)
        for start in range(0, len(y), _ROWS):
            ys = y[start : start + _ROWS].to(self.y)
            self.y += ys.sum(0)
            for layer, states in enumerate(x[:, start : start + _ROWS]):
                xs = states.to(self.x)
                self.x[layer] += xs.sum(0)
                self.xx[layer].addmm_(xs.T, xs)
                self.xy[layer].addmm_(xs.T, ys)

    def ridge(
        self,
        strength: float = 1e-2,
        *,
        prior: Float[Tensor, "d_model d_model"] | None = None,
        without: Pairs | None = None,
    ) -> tuple[Float[Tensor, "layer d_model d_model"], Float[Tensor, "layer d_model"]]:
        """Regress ``y`` on ``x``: the ``A, b`` that minimise ``sum |A x + b - y|^2 + lambda |A - prior|^2``.

        The bias is not shrunk. ``lambda`` is ``strength`` times the mean diagonal of the centred sum of
        ``x x^T``, so it means the same at every width, scale and number of pairs. Where all ``x`` are alike,
        the prior is all there is.

        Args:
            strength: of the penalty.
            prior: what it pulls to; zero if None.
            without: pairs ``x, y`` among those that went in, to be left out.

        Raises:
            FitError: fewer than two pairs, or a singular problem.
        """
        n = self.n - (0 if without is None else len(without[1]))
        if n < 2:
            raise FitError(f"a regression needs at least 2 positions, and found {n}: fit on more")
        weight, bias = torch.empty_like(self.xx), torch.empty_like(self.x)
        for layer in range(len(weight)):
            mean_x, mean_y, xx, xy = self._centred(layer, n, without)
            pulled = torch.zeros_like(xx) if prior is None else prior.to(xx)
            least = 0.0 if prior is None else _LEAST * float(self.xx[layer].diagonal().mean())
            penalty = strength * xx.diagonal().mean().clamp(min=least)
            factor, info = torch.linalg.cholesky_ex(xx + penalty * torch.eye(len(xx)).to(xx))
            if int(info) or not torch.isfinite(factor).all():
                raise FitError(
                    f"layer {layer}: {n} positions do not determine {len(xx)} dimensions at ridge "
                    f"strength {strength}: fit on more positions, or raise the strength"
                )
            weight[layer] = pulled + torch.cholesky_solve(xy - xx @ pulled.T, factor).T
            bias[layer] = mean_y - weight[layer] @ mean_x
        return weight, bias

    def _centred(self, layer: int, n: int, without: Pairs | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Means of ``x`` and ``y``, and sums of products about them, of one layer."""
        x, y, xx, xy = self.x[layer], self.y, self.xx[layer], self.xy[layer]
        if without is not None:
            xs, ys = without[0][layer].to(x), without[1].to(y)
            x, y, xx, xy = x - xs.sum(0), y - ys.sum(0), xx - xs.T @ xs, xy - xs.T @ ys
        return x / n, y / n, xx - torch.outer(x, x / n), xy - torch.outer(x, y / n)
