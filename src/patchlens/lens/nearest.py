"""Exact nearest neighbours by cosine similarity, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from patchlens.errors import NumericsError, SelectionError
from patchlens.lens.engine.topk import RunningTopK, decode, encode, group_maxima

# Entries are compared in float32 first; this many beyond k stay in the running for the exact order.
_SPARE = 22
_ROWS = 256
_ENTRY_BYTES = 16_000_000
_SLAB_BYTES = 4_000_000
_MIN_CHUNK, _MAX_CHUNK = 256, 8192
# Float64 sums of equal similarities differ by some 1e-16, which float32 would still tell apart near 0.
_STEPS = 2.0**30


def search(
    states: Float[Tensor, "row width"],
    bank: Float[Tensor, "n d_model"],
    k: int,
    chunk: int | None = None,
) -> tuple[Int[Tensor, "row k"], Float[Tensor, "row k"]]:
    """Find the k entries of a bank that point most nearly where each state points.

    The cosine similarity is exact: matrix products choose candidates, whose similarities are then computed
    again in float64. Similarities that are equal in float32, or within 1e-9, are ties, and the lower index
    comes first. The chunk does not change the result, unless more than 22 entries beyond k tie with the last
    neighbour: which of those come first is then up to rounding.

    Args:
        states: what to look up, of any length and float dtype; work is done on its device.
        bank: what to look among, of any length and float dtype; may lie on another device.
        k: how many neighbours to return, 1 to n.
        chunk: entries compared at once; chosen from d_model if None. Extra memory grows with it, not with n.

    Returns:
        Index of each neighbour in the bank, best first, and its similarity, -1 to 1. A state or entry of
        length zero has similarity 0 to everything. The final norm is not applied.

    Raises:
        SelectionError: k, chunk or the widths do not fit.
        NumericsError: a state or an entry is not finite.
    """
    chunk = check_search(states, bank, k, chunk)
    kept = min(len(bank), k + _SPARE)
    blocks = unit(states, "a state").split(_ROWS)
    tops = [RunningTopK(len(block), kept, states.device) for block in blocks]
    for start in range(0, len(bank), chunk):
        entries = unit(bank[start : start + chunk].to(states.device), "an entry of the bank")
        for block, top in zip(blocks, tops, strict=True):
            similarities = block @ entries.T
            top.update(similarities, group_maxima(similarities), start)
    candidates = torch.cat([top.result()[1] for top in tops])
    keys = encode(_exact(states, bank, candidates), candidates).topk(k, dim=1).values
    similarities, indices = decode(keys)
    return indices, similarities


def unit(states: Float[Tensor, "*rows d_model"], what: str = "a state") -> Float[Tensor, "*rows d_model"]:
    """Scale states to length 1 in float32; one of length zero stays zero.

    Raises:
        NumericsError: ``what`` is not finite.
    """
    scaled = normalize(states.float(), dim=-1)
    if not torch.isfinite(scaled).all():
        raise NumericsError(
            f"{what} is not finite, so nothing is near it; if the model runs in float16, load it in bfloat16 "
            "or float32"
        )
    return scaled


def entries_at_once(d_model: int) -> int:
    """How many entries of a bank to hold in float32 at a time."""
    return max(_MIN_CHUNK, min(_MAX_CHUNK, _ENTRY_BYTES // (4 * d_model)))


def check_search(
    states: Float[Tensor, "row width"], bank: Float[Tensor, "n d_model"], k: int, chunk: int | None
) -> int:
    """Check what `search` is asked, and return the chunk.

    Raises:
        SelectionError: naming what does not fit.
    """
    if states.shape[1] != bank.shape[1]:
        raise SelectionError(
            f"the states are {states.shape[1]} wide but the bank's entries {bank.shape[1]}: they are not of "
            "the same model"
        )
    if not len(states):
        raise SelectionError("there is no state to look up: give at least one")
    if not 1 <= k <= len(bank):
        raise SelectionError(f"k is {k}: choose 1 to {len(bank)}, the number of entries of the bank")
    if chunk is not None and chunk < 1:
        raise SelectionError(f"chunk is {chunk}: choose 1 or more, or leave it out")
    return chunk or entries_at_once(bank.shape[1])


def _exact(
    states: Float[Tensor, "row d_model"], bank: Float[Tensor, "n d_model"], ids: Int[Tensor, "row k"]
) -> Float[Tensor, "row k"]:
    """Cosine similarity of each state to the entries named for it, from float64."""
    result = torch.empty(ids.shape, device=states.device)
    for rows in _slabs(ids, states.shape[1]):
        wanted = ids[rows].flatten().to(bank.device)
        near = normalize(bank[wanted].to(states.device, torch.float64), dim=-1).unflatten(
            0, (-1, ids.shape[1])
        )
        similarity = (near * normalize(states[rows].double(), dim=-1)[:, None]).sum(-1)
        result[rows] = ((similarity * _STEPS).round() / _STEPS).float()
    return result


def _slabs(ids: Int[Tensor, "row k"], d_model: int) -> Iterator[slice]:
    slab = max(1, _SLAB_BYTES // (8 * ids.shape[1] * d_model))
    return (slice(start, start + slab) for start in range(0, len(ids), slab))
