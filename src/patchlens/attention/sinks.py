"""Which positions are sinks: the one rule, for attention as for the fitting of lenses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patchlens.errors import SelectionError


@dataclass(frozen=True)
class SinkRule:
    """When a position of a layer is a sink: its state is far too long, or far too large in a named dimension.

    By length: over ``factor`` times the median of its layer, patches being held against patches and other
    positions against each other, since the two enter a model with lengths of their own. None leaves that
    out. By dimension, as Kang et al. 2025 find sinks among image tokens: at one of ``dimensions`` the state
    is over ``dimension_factor`` times its own root mean square. Which dimensions those are is a fact of the
    language model (massive activations, Sun et al. 2024); without any, length alone decides.

    Raises:
        SelectionError: a factor is not a positive number, or nothing is left to decide by.
    """

    factor: float | None = 10.0
    dimensions: tuple[int, ...] = ()
    dimension_factor: float = 20.0

    def __post_init__(self) -> None:
        for factor in (self.factor, self.dimension_factor):
            if factor is not None and not (math.isfinite(factor) and factor > 0):
                raise SelectionError(f"a sink factor must be a number above 0, not {factor:g}")
        if self.factor is None and not self.dimensions:
            raise SelectionError("a sink rule needs a factor or dimensions to go by")

    def find(
        self, resid: Float[Tensor, "layer pos d_model"], is_patch: Bool[Tensor, " pos"]
    ) -> Bool[Tensor, "layer pos"]:
        """Sinks of each layer, on the CPU.

        Args:
            resid: states before the final norm, of a whole sequence or of all vision states.
            is_patch: which of them are patches.

        Raises:
            SelectionError: a dimension does not exist.
        """
        d_model = resid.shape[-1]
        for dimension in self.dimensions:
            if not 0 <= dimension < d_model:
                raise SelectionError(
                    f"dimension {dimension} does not exist: states of this model have 0 to {d_model - 1}"
                )
        norms = torch.linalg.vector_norm(resid, dim=-1, dtype=torch.float32).cpu()
        found = torch.zeros(norms.shape, dtype=torch.bool)
        if self.factor is not None:
            for own in (is_patch.cpu(), ~is_patch.cpu()):
                if own.any():
                    among = norms[:, own]
                    found[:, own] = among > self.factor * among.median(dim=1, keepdim=True).values
        if self.dimensions:
            named = resid[..., list(self.dimensions)].abs().amax(-1).float().cpu()
            found |= named > self.dimension_factor * norms / math.sqrt(d_model)
        return found

    def __str__(self) -> str:
        """Say the rule."""
        ways: list[str] = []
        if self.factor is not None:
            ways.append(
                f"over {self.factor:g} times as long as the median of its layer (patches held against "
                "patches, other positions against each other)"
            )
        if self.dimensions:
            names = " or ".join(str(dimension) for dimension in self.dimensions)
            ways.append(f"at dimension {names} over {self.dimension_factor:g} times its root mean square")
        return "a sink is a position whose state, where it enters the block, is " + ", or ".join(ways)
