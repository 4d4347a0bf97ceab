"""Statistics of a lens at every layer and position, streamed over the vocabulary in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from patchlens.errors import SelectionError, TargetError
from patchlens.lens.engine.block import BlockQuery, BlockReader
from patchlens.lens.engine.chunks import make_plan
from patchlens.lens.engine.statistics import Statistics
from patchlens.models.unembed import Unembed

if TYPE_CHECKING:
    from patchlens.lens.lens import Lens

Progress = Callable[[int, int], None]


def stream_statistics(
    resid: Float[Tensor, "layer pos d_model"],
    final: Float[Tensor, "pos d_model"],
    lens: Lens,
    unembed: Unembed,
    *,
    layers: Sequence[int],
    n_layers: int,
    top_k: int,
    target_ids: Sequence[int] | Int[Tensor, " target"] = (),
    chunk: int | None = None,
    progress: Progress | None = None,
) -> Statistics:
    """Read all layers through a lens without ever holding ``[layer, pos, vocab]``.

    A block of positions with all its layers is normed once, then the vocabulary passes by in chunks, each
    multiplied with all rows of the block; only running sums and candidates are kept. Extra memory is bounded
    whatever the numbers of layers, positions and tokens. Reductions are float32. With 16-bit weights the
    products are rounded as the model's are; the best candidates and the targets are then computed again in
    float32.

    Args:
        resid: residual states before the final norm at ``layers``.
        final: residual states of layer ``n_layers`` at the same positions; the reference of the KL, always
            through the model's own unembedding, never through the lens.
        lens: gives the normed state of each layer.
        unembed: the model's unembedding; work is done on its device.
        layers: number of each layer in ``resid``.
        n_layers: number of the last layer.
        top_k: how many best tokens to keep, 1 to vocab.
        target_ids: tokens to follow wherever they rank.
        chunk: ids per pass; chosen from the shapes if None.
        progress: called with (done, total) after each chunk.

    Raises:
        SelectionError: ``top_k``, ``chunk`` or ``layers`` do not fit the model or the states.
        TargetError: a target id is outside the vocabulary.
        NumericsError: a state gives scores that are not finite.
    """
    targets = tuple(int(token) for token in target_ids)
    question = BlockQuery(lens, unembed, tuple(layers), n_layers, top_k, targets)
    _check(question, len(resid))
    plan = make_plan(len(resid) + 1, resid.shape[1], unembed.weight, chunk)
    result = Statistics.empty(resid.shape[0], resid.shape[1], top_k, len(targets))
    report = None if progress is None else _counting(progress, plan.n_steps)
    with torch.inference_mode():
        reader = BlockReader(question, plan)
        for positions in plan.blocks():
            part = reader.read(resid[:, positions], final[positions], positions.start, report)
            result.put(positions, part)
    return result


def _counting(progress: Progress, total: int) -> Callable[[], None]:
    steps = iter(range(1, total + 1))
    return lambda: progress(next(steps), total)


def _check(question: BlockQuery, given: int) -> None:
    vocab, layers, n_layers = question.unembed.vocab, question.layers, question.n_layers
    if not 1 <= question.top_k <= vocab:
        raise SelectionError(f"top_k is {question.top_k}: choose 1 to {vocab}, the size of the vocabulary")
    if len(layers) != given or not all(0 <= layer <= n_layers for layer in layers):
        raise SelectionError(
            f"{len(layers)} layers were named for the states of {given}: name one of 0 to {n_layers} for each"
        )
    for token in question.targets:
        if not 0 <= token < vocab:
            raise TargetError(f"token id {token} does not exist: this model has ids 0 to {vocab - 1}")
