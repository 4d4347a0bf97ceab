"""Outputs of the lm_head for a few tokens, without the rounding of 16-bit types."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from patchlens.models.unembed import Unembed

_SLAB_BYTES = 3_000_000
_SLAB_ROWS = 64


def products(
    states: Float[Tensor, "row d_model"], unembed: Unembed, ids: Int[Tensor, "row k"]
) -> Float[Tensor, "row k"]:
    """Return ``weight[ids[r]] @ states[r] + bias[ids[r]]`` for each row, in float32."""
    result = torch.empty(ids.shape, device=states.device)
    slab = max(1, _SLAB_BYTES // (6 * ids.shape[1] * states.shape[1]))
    for start in range(0, len(states), slab):
        rows = slice(start, start + slab)
        gathered = unembed.weight.index_select(0, ids[rows].flatten()).float()
        result[rows] = gathered.unflatten(0, (-1, ids.shape[1])).mul_(states[rows, None]).sum(-1)
    return result if unembed.bias is None else result + unembed.bias[ids]


def shared_products(
    states: Float[Tensor, "layer pos d_model"], unembed: Unembed, ids: Int[Tensor, "pos k"]
) -> Float[Tensor, "layer pos k"]:
    """Return ``weight[ids[p]] @ states[l, p] + bias[ids[p]]``: all layers of a position at the same ids."""
    k, d_model = ids.shape[1], states.shape[2]
    result = torch.empty((*states.shape[:2], k), device=states.device)
    slab = max(1, _SLAB_BYTES // (6 * (k + len(states)) * d_model))
    for start in range(0, states.shape[1], slab):
        at = slice(start, start + slab)
        gathered = unembed.weight.index_select(0, ids[at].flatten()).float().unflatten(0, (-1, k))
        result[:, at] = torch.bmm(states[:, at].permute(1, 0, 2).float(), gathered.mT).permute(1, 0, 2)
    return result if unembed.bias is None else result + unembed.bias[ids]


def table_products(
    states: Float[Tensor, "row d_model"], unembed: Unembed, ids: Int[Tensor, " k"]
) -> Float[Tensor, "row k"]:
    """Return ``weight[ids] @ states[r] + bias[ids]``, the same tokens for each row, in float32."""
    result = torch.empty(len(states), len(ids), device=states.device)
    table = unembed.weight[ids].float().T
    for start in range(0, len(states), _SLAB_ROWS):
        rows = slice(start, start + _SLAB_ROWS)
        torch.mm(states[rows].float(), table, out=result[rows])
    return result if unembed.bias is None else result + unembed.bias[ids]
