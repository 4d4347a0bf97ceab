"""States of one forward pass, as a lens is fitted and judged on them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.axes import FitKind
from patchlens.errors import FitError


@dataclass(frozen=True)
class StateBatch:
    """Residual states before the final norm at some positions.

    Attributes:
        resid: layers 0 to ``n_layers - 1`` in order; layer ``n_layers`` may follow and is not used.
        final: layer ``n_layers`` at the same positions.
        kinds: what each position counts as.
    """

    resid: Float[Tensor, "layer pos d_model"]
    final: Float[Tensor, "pos d_model"]
    kinds: tuple[FitKind, ...]

    def of_kind(self, kind: FitKind) -> StateBatch:
        """Return the positions of one kind, in order; there may be none."""
        at = torch.tensor([i for i, own in enumerate(self.kinds) if own == kind], dtype=torch.int64)
        place = at.to(self.resid.device)
        return StateBatch(self.resid[:, place], self.final[place], (kind,) * len(at))

    def first_layers(self, n_layers: int) -> Float[Tensor, "layer pos d_model"]:
        """Return the states of layers 0 to ``n_layers - 1``.

        Raises:
            FitError: layers are missing, or positions and kinds do not match.
        """
        if len(self.resid) not in {n_layers, n_layers + 1} or len(self.kinds) != self.resid.shape[1]:
            raise FitError(
                f"expected the states of {n_layers} layers (0 to {n_layers - 1}, or one more) with a kind "
                f"for each position; found {len(self.resid)} layers, {self.resid.shape[1]} positions and "
                f"{len(self.kinds)} kinds"
            )
        return self.resid[:n_layers]
