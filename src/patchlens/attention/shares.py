"""What rows of attention say in few numbers: shares by class of source, entropy, mean position."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from patchlens.axes import CLASSES
from patchlens.errors import NumericsError


def class_numbers(kind: NDArray[np.character[Any]], sink: Bool[Tensor, " source"]) -> Int[Tensor, " source"]:
    """Place in `CLASSES` of every source, from its kind (`PositionKind` values) and whether it is a sink."""
    own = torch.tensor([CLASSES.index(str(name)) for name in kind], dtype=torch.long)
    return torch.where(sink.cpu(), len(CLASSES) - 1, own)


def unit_rows(weights: Float[Tensor, "*row source"], block: int) -> Float[Tensor, "*row source"]:
    """Attention weights in float32 (or float64) whose rows sum to 1 once the rounding of their dtype is out.

    Raises:
        NumericsError: a row is not finite, or sums to something that rounding does not explain, as where a
            model lets a part of its attention go nowhere.
    """
    rows = weights.to(torch.float64 if weights.dtype == torch.float64 else torch.float32)
    total = rows.sum(-1, keepdim=True)
    allowed = max(1e-5, 4 * torch.finfo(weights.dtype).eps)
    worst = (total - 1).abs().max().item()
    if not worst <= allowed:
        raise NumericsError(
            f"the attention weights of block {block} were expected to sum to 1 within {allowed:.0e}, but a "
            f"sum is off by {worst:.2g}: shares of them would mean nothing"
        )
    return rows / total


def shares(
    amounts: Float[Tensor, "*row source"], classes: Int[Tensor, " source"]
) -> Float[Tensor, "*row class"]:
    """How much of each row falls on each of `CLASSES`; NaN in a row that is 0 throughout.

    Args:
        amounts: attention weights, or lengths of contributions; not negative.
        classes: as `class_numbers` gives them.

    Returns:
        Parts that sum to 1.
    """
    own = classes.to(amounts.device)
    sums = torch.stack([amounts[..., own == number].sum(-1) for number in range(len(CLASSES))], -1)
    return sums / sums.sum(-1, keepdim=True)


def entropy(weights: Float[Tensor, "*row source"]) -> Float[Tensor, "*row"]:
    """Entropy of rows that sum to 1, in nats: 0 where all falls on one source, log n where on n alike."""
    return -torch.xlogy(weights, weights).sum(-1)


def mean_position(weights: Float[Tensor, "*row source"]) -> Float[Tensor, "*row"]:
    """Mean index of the source under rows that sum to 1."""
    index = torch.arange(weights.shape[-1], device=weights.device, dtype=weights.dtype)
    return (weights * index).sum(-1)
