"""Contextual embeddings: where in a picture an answer's own states find their like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from patchlens.axes import LAYER, POSITION, PositionKind
from patchlens.capture import capture
from patchlens.errors import SelectionError
from patchlens.lens.nearest import unit
from patchlens.models.adapter import Adapter
from patchlens.models.inputs import Inputs
from patchlens.reading.reading import Reading
from patchlens.reading.records import Channel

Rows: TypeAlias = Sequence[int] | NDArray[np.integer[Any]]


def contextual_maps(
    resid: Float[Tensor, "layer pos d_model"], answer_rows: Rows, patch_rows: Rows
) -> Float[Tensor, "layer layer patch"]:
    """Compare an answer with the patches at every pair of layers.

    Phukan et al. 2024 (arXiv 2411.19187): ``cos(mean over the answer of h_l1, h_l2 of a patch)``; the final
    norm is not applied. The pair of layers to use is to be chosen on pictures kept for that. Which rows stand
    for the answer is the caller's choice; the paper takes the positions at which its tokens stand.

    Args:
        resid: residual states before the final norm.
        answer_rows: rows of the second axis whose mean stands for the answer.
        patch_rows: rows of the second axis that are patches.

    Returns:
        Cosine similarity ``[l1, l2, patch]`` on the CPU, layers counted along the first axis of ``resid``;
        always finite: where a state or the mean has length zero, it is 0.

    Raises:
        SelectionError: no row is named, or one is not there.
        NumericsError: a state is not finite.
    """
    answer = unit(resid[:, _rows(answer_rows, resid, "answer")].float().mean(1))
    patches = _rows(patch_rows, resid, "patch")
    return torch.stack([answer @ unit(layer[patches]).T for layer in resid], 1).cpu()


def contextual_map(
    resid: Float[Tensor, "layer pos d_model"],
    answer_rows: Rows,
    patch_rows: Rows,
    l1: int,
    l2: int,
) -> Float[Tensor, " patch"]:
    """Compare an answer at layer ``l1`` with the patches at layer ``l2``.

    `contextual_maps` for one pair; ``l1`` and ``l2`` are rows of the first axis of ``resid``, which are the
    layers' numbers where all were kept.

    Raises:
        SelectionError: a layer or row is not there, or no row is named.
        NumericsError: a state is not finite.
    """
    for layer in (l1, l2):
        if not 0 <= layer < len(resid):
            raise SelectionError(
                f"layer {layer} is not among the {len(resid)} given: choose 0 to {len(resid) - 1}"
            )
    return contextual_maps(resid[[l1, l2]], answer_rows, patch_rows)[0, 1]


def contextual_answer(
    resid: Float[Tensor, "layer pos d_model"],
    layers: Sequence[int],
    answer_rows: Rows,
    l1: int | None = None,
) -> Channel:
    """Compare every state with the answer's mean state: a channel for a reading.

    Args:
        resid: residual states before the final norm, which is not applied, at ``layers``.
        layers: number of each layer in ``resid``.
        answer_rows: rows of the second axis whose mean stands for the answer.
        l1: number of the layer at which the answer is taken; None takes it at each state's own layer.

    Returns:
        Channel ``contextual_answer`` ``[layer, pos]`` of cosine similarities; always finite: where a state or
        the mean has length zero, it is 0.

    Raises:
        SelectionError: the layer or a row is not there, or no row is named.
        NumericsError: a state is not finite.
    """
    if l1 is not None and l1 not in layers:
        raise SelectionError(f"layer {l1} was not kept: choose one of {', '.join(map(str, layers))}")
    answers = unit(resid[:, _rows(answer_rows, resid, "answer")].float().mean(1))
    at = range(len(layers)) if l1 is None else [list(layers).index(l1)] * len(layers)
    where = "the same layer" if l1 is None else f"layer {l1}"
    return Channel(
        "contextual_answer",
        (LAYER, POSITION),
        torch.stack([unit(layer) @ answers[n] for layer, n in zip(resid, at, strict=True)]).cpu().numpy(),
        "cosine",
        f"similarity to the answer's mean state at {where}, -1 to 1",
    )


def with_contextual_channel(reading: Reading, adapter: Adapter, told: Inputs) -> Reading:
    """Add `contextual_answer`, taken at each state's own layer, in one more forward pass.

    The answer stands for itself: the mean is over the positions of its own tokens, as in the paper, where a
    reading holds those that predict them.

    Args:
        reading: of the prompt, through any lens.
        adapter: the model that was read.
        told: what was read, with the whole answer behind the prompt.

    Raises:
        SelectionError: there is no answer, or pictures have no positions among the text's.
    """
    if not (told.places.kind == PositionKind.PATCH).any():
        raise SelectionError(
            f"{adapter.name} shows no patch among its positions here, so none can be like the answer"
        )
    if told.n_prompt == len(told):
        raise SelectionError(
            "there is no answer for patches to be like: let the model say at least one token"
        )
    layers = tuple(reading.layers.tolist())
    resid = capture(adapter, told, layers=layers).resid
    whole = contextual_answer(resid, layers, range(told.n_prompt, len(told)))
    own = replace(whole, values=whole.values[:, reading.positions.index])
    return replace(reading, channels=(*reading.channels, own))


def _rows(rows: Rows, resid: Float[Tensor, "layer pos d_model"], what: str) -> Int[Tensor, " n"]:
    wanted = [int(row) for row in rows]
    if not wanted:
        raise SelectionError(f"no {what} row was named: name at least one of 0 to {resid.shape[1] - 1}")
    for row in wanted:
        if not 0 <= row < resid.shape[1]:
            raise SelectionError(
                f"{what} row {row} does not exist: the states have rows 0 to {resid.shape[1] - 1}"
            )
    return torch.tensor(wanted, device=resid.device)
