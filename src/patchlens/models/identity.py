"""Prove an adapter's facts: the last layer, unembedded, must be the model's own logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.errors import IdentityCheckError

if TYPE_CHECKING:
    from patchlens.models.adapter import Adapter
    from patchlens.models.attend import Attended

PROBE = "The first word after this sentence is known to the model, and the lens must know it too."


@dataclass(frozen=True)
class IdentityReport:
    """How closely ``unembed(resid[n_layers])`` reproduced the model's logits on a short text.

    ``difference`` is the root mean square difference of the logits over that of the logits about their
    mean, ``tolerance`` what it may be in this dtype. ``max_logit_difference`` is in logits.
    """

    difference: float
    tolerance: float
    max_logit_difference: float
    argmax_agreement: float
    positions: int
    dtype: str
    last_block: str
    final_norm: str
    head: str


def tolerance(dtype: torch.dtype) -> float:
    """The relative difference that rounding alone explains: four units in the last place of the dtype.

    At least 1e-5, because float32 products are summed in another order for another number of rows.
    """
    return max(1e-5, 4 * torch.finfo(dtype).eps)


def relative_difference(got: Float[Tensor, "*pos vocab"], expected: Float[Tensor, "*pos vocab"]) -> float:
    """Root mean square of the difference over that of the expected logits about their mean."""
    got, expected = got.float(), expected.float()
    spread = expected - expected.mean(dim=-1, keepdim=True)
    scale = spread.square().mean().sqrt().clamp_min(torch.finfo(torch.float32).tiny)
    return ((got - expected).square().mean().sqrt() / scale).item()


def check_logits(
    adapter: Adapter, last: Float[Tensor, "pos d_model"], logits: Float[Tensor, "pos vocab"]
) -> float:
    """Compare the unembedded last layer with the model's logits at the same positions.

    Args:
        adapter: whose unembedding is on trial.
        last: resid of layer ``n_layers``, before the final norm.
        logits: the model's own.

    Returns:
        The relative difference.

    Raises:
        IdentityCheckError: it is above `tolerance`, or not a number.
    """
    device = adapter.unembed.weight.device
    got = adapter.unembed.logits(last.to(device))
    expected = logits.to(device)
    allowed = tolerance(adapter.dtype)
    if got.shape != expected.shape:
        raise IdentityCheckError(
            f"{adapter.name}: expected logits of shape {tuple(expected.shape)}, got {tuple(got.shape)} from "
            f"{adapter.head_name}; patchlens does not read this model"
        )
    difference = relative_difference(got, expected)
    if not difference <= allowed:
        raise IdentityCheckError(
            f"{adapter.name}: expected {adapter.head_name}({adapter.final_norm_name}(h)), with h the output "
            f"of {adapter.last_block_name}, to be the model's logits within {allowed:.1e} (relative, "
            f"{adapter.dtype}), got a difference of {difference:.1e}; the model does more between its last "
            "block and its logits than patchlens knows, so its readings would be wrong"
        )
    return difference


@torch.inference_mode()
def prove(adapter: Adapter) -> IdentityReport:
    """Run a short text through the model and hold the adapter's facts against it.

    Checked are that the blocks ran in order, each on the output of the one before (cross-attention blocks
    may stay out of a text-only pass), and that the last state unembeds to the model's logits.

    Raises:
        IdentityCheckError: a fact is wrong; says which, what was expected and what came.
    """
    inputs = adapter.encode(PROBE, (), chat=False)
    taken: dict[int, Tensor] = {}
    given: dict[int, Tensor] = {}
    with adapter.undisturbed(), adapter.watched(given.__setitem__, taken.__setitem__):
        logits = adapter.model(**inputs.tensors, use_cache=False).logits[0]
    _check_chain(adapter, taken, given)
    last = given[max(given)][0]
    difference = check_logits(adapter, last, logits)
    got = adapter.unembed.logits(last.to(adapter.unembed.weight.device)).to(logits.device)
    return IdentityReport(
        difference=difference,
        tolerance=tolerance(adapter.dtype),
        max_logit_difference=(got - logits).abs().max().item(),
        argmax_agreement=(got.argmax(-1) == logits.argmax(-1)).float().mean().item(),
        positions=len(inputs),
        dtype=str(adapter.dtype).removeprefix("torch."),
        last_block=adapter.last_block_name,
        final_norm=adapter.final_norm_name,
        head=adapter.head_name,
    )


def check_ran(adapter: Adapter, ran: set[int]) -> None:
    """Refuse a pass in which a block did not run that should have.

    Raises:
        IdentityCheckError: names the block.
    """
    silent = [i for i in range(adapter.n_layers) if i not in ran and i not in adapter.cross_blocks]
    if silent:
        raise IdentityCheckError(
            f"{adapter.name}: expected every block of {adapter.block_list_name} to run, but block "
            f"{silent[0]} did not call its hook; if the model is compiled, load it without torch.compile"
        )


def check_write(
    adapter: Adapter, attended: Attended, write: Float[Tensor, "query d_model"], queries: Tensor
) -> None:
    """Compare what an attention is said to add to the residual stream with what it added.

    Args:
        adapter: whose facts are on trial.
        attended: what happened in the block.
        write: what it is said to have added at the queries.
        queries: positions, on the block's device.

    Raises:
        IdentityCheckError: they differ by more than rounding the residual stream explains.
    """
    before, after = (state[queries].to(write) for state in (attended.before, attended.after))
    scale = torch.maximum(after.abs().amax(-1), before.abs().amax(-1)).clamp_min(1e-30)
    difference = ((before + write - after).abs().amax(-1) / scale).max().item()
    allowed = tolerance(adapter.dtype)
    if not difference <= allowed:
        raise IdentityCheckError(
            f"{adapter.name}: expected the terms of block {attended.heads.block}'s attention to sum to what "
            f"it adds to the residual stream within {allowed:.1e} ({adapter.dtype}), got a difference of "
            f"{difference:.1e}; the block does more than patchlens knows, so it cannot be taken apart"
        )


def _check_chain(adapter: Adapter, taken: dict[int, Tensor], given: dict[int, Tensor]) -> None:
    check_ran(adapter, set(given))
    before: Tensor | None = None
    for index in sorted(given):
        if before is not None and not torch.equal(taken[index].to(before.device), before):
            raise IdentityCheckError(
                f"{adapter.name}: expected block {index} of {adapter.block_list_name} to take the output of "
                "the block before it, but it took something else; its states are not one residual stream"
            )
        before = given[index]
