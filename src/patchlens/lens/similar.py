"""Statistics of the words whose states are nearest to a state, in the form that every lens gives them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import linear

from patchlens.axes import FitKind
from patchlens.errors import NumericsError, SelectionError, TargetError
from patchlens.lens.engine.chunks import ChunkPlan, make_plan
from patchlens.lens.engine.moments import OnlineMoments
from patchlens.lens.engine.statistics import Statistics
from patchlens.lens.engine.targets import TargetCounter
from patchlens.lens.engine.topk import RunningTopK, group_maxima
from patchlens.lens.lens import Lens
from patchlens.lens.nearest import entries_at_once, unit
from patchlens.models.unembed import Unembed

TEMPERATURE: Final = 0.05
"""Similarity that makes one nat. A word at similarity 0.6 then outweighs 32 000 words at 0 together."""

UNNAMED: Final = -1.0
"""Similarity of a token that no entry stands for: the least there is."""


@dataclass(frozen=True, eq=False)
class TokenBank:
    """States that each stand for a token; a token may have many.

    Attributes:
        states: of any length; one group per source, such as the layers they were taken at.
        tokens: the token of each state, ascending, the same in every source.
    """

    states: Float[Tensor, "source n d_model"] = field(repr=False)
    tokens: Int[Tensor, " n"] = field(repr=False)

    @cached_property
    def n_named(self) -> int:
        """How many different tokens have a state."""
        return len(self.tokens.unique())

    def span(self, first: int, stop: int) -> tuple[int, int]:
        """Return where the states of tokens ``first`` to ``stop - 1`` begin and end."""
        bounds = torch.tensor([first, stop], dtype=self.tokens.dtype, device=self.tokens.device)
        start, end = torch.searchsorted(self.tokens, bounds).tolist()
        return start, end

    def similarities(
        self, rows: Float[Tensor, "row d_model"], first: int, stop: int
    ) -> Float[Tensor, "row token"]:
        """Best cosine similarity of unit ``rows`` to any state of each of the tokens ``first .. stop - 1``.

        A token without a state gets -1. Entries pass by in pieces of bounded size.
        """
        best = torch.full((stop - first, len(rows)), UNNAMED, device=rows.device)
        start, end = self.span(first, stop)
        piece = entries_at_once(rows.shape[1])
        for source in self.states:
            for at in range(start, end, piece):
                part = slice(at, min(at + piece, end))
                entries = unit(source[part].to(rows.device), "an entry of the bank")
                token = (self.tokens[part] - first).to(rows.device)
                best.scatter_reduce_(0, token[:, None].expand(-1, len(rows)), entries @ rows.T, "amax")
        return best.T


class ComparingLens(Lens):
    """A lens that names the words whose states are nearest, instead of going through the unembedding.

    Its last layer need not be the model's answer.
    """

    has_distribution = False
    temperature: float

    def token_bank(self, unembed: Unembed) -> TokenBank:
        """What states are compared with."""
        raise NotImplementedError

    def notes(self) -> tuple[str, ...]:
        """That the numbers are shares."""
        return (
            f"the {self.name} lens compares states: its numbers are cosine similarities turned into shares "
            f"(softmax of similarity / {self.temperature:g}), not the model's probabilities, at the "
            "last layer too",
        )

    def read(
        self,
        resid: Float[Tensor, "layer pos d_model"],
        final: Float[Tensor, "pos d_model"],
        unembed: Unembed,
        kinds: Sequence[FitKind],
        *,
        layers: Sequence[int],
        n_layers: int,
        top_k: int,
        target_ids: Sequence[int] = (),
        progress: Callable[[int, int], None] | None = None,
    ) -> Statistics:
        """Read all layers and kinds alike; see `similarity_statistics`."""
        return similarity_statistics(
            resid,
            final,
            unembed,
            self.token_bank(unembed),
            self.temperature,
            top_k=top_k,
            target_ids=target_ids,
            progress=progress,
        )


def similarity_statistics(
    resid: Float[Tensor, "layer pos d_model"],
    final: Float[Tensor, "pos d_model"],
    unembed: Unembed,
    bank: TokenBank,
    temperature: float,
    *,
    top_k: int,
    target_ids: Sequence[int] = (),
    chunk: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Statistics:
    """Turn similarities into shares and give their statistics, streamed over the vocabulary.

    The logit of a token is its best similarity over ``temperature``; log-probabilities, entropy and ranks
    are those of the softmax over the whole vocabulary. So ``temperature * (logprob + logsumexp)`` is the
    similarity again. A token without a state counts as similarity -1, the least there is: at the default
    temperature its share is below 1e-8 of that of a token at similarity 0, yet every number stays finite.

    Args:
        resid: states of any layers before the final norm, which is not applied.
        final: states of layer ``n_layers`` at the same positions; ``kl_to_final`` is
            ``KL(p_final || shares)`` with ``p_final`` the model's own distribution, through ``unembed``.
        unembed: the model's unembedding; work is done on its device.
        bank: what the states are compared with.
        temperature: in units of similarity per nat.
        top_k: how many best tokens to keep, 1 to the number of tokens that have a state.
        target_ids: tokens to follow wherever they rank.
        chunk: ids per pass; chosen from the shapes if None.
        progress: called with (done, total).

    Raises:
        SelectionError: ``top_k``, the temperature or the width does not fit the bank.
        TargetError: a target id is outside the vocabulary.
        NumericsError: a state or an entry is not finite.
    """
    _check(resid.shape[2], unembed, bank, temperature, top_k, target_ids)
    plan = make_plan(len(resid) + 1, resid.shape[1], unembed.weight, chunk)
    result = Statistics.empty(resid.shape[0], resid.shape[1], top_k, len(target_ids))
    reader = _Reader(bank, unembed, temperature, top_k, tuple(target_ids), plan)
    steps = iter(range(1, plan.n_steps + 1))

    def report() -> None:
        step = next(steps)
        if progress is not None:
            progress(step, plan.n_steps)

    with torch.inference_mode():
        for positions in plan.blocks():
            result.put(positions, reader.read(resid[:, positions], final[positions], report))
    return result


def _check(
    d_model: int, unembed: Unembed, bank: TokenBank, temperature: float, top_k: int, targets: Sequence[int]
) -> None:
    if bank.states.shape[2] != d_model:
        raise SelectionError(
            f"the bank's states are {bank.states.shape[2]} wide but the model's {d_model}: build one with "
            "this model"
        )
    if not (temperature > 0 and math.isfinite(temperature)):
        raise SelectionError(
            f"the temperature is {temperature}: choose a number above 0, such as {TEMPERATURE}"
        )
    if not 1 <= top_k <= bank.n_named:
        raise SelectionError(
            f"top_k is {top_k}: choose 1 to {bank.n_named}, the number of tokens this lens names"
        )
    for token in targets:
        if not 0 <= token < unembed.vocab:
            raise TargetError(f"token id {token} does not exist: this model has ids 0 to {unembed.vocab - 1}")


class _Reader:
    """Reads blocks of positions, all layers of each at once, with buffers that serve every block."""

    def __init__(
        self,
        bank: TokenBank,
        unembed: Unembed,
        temperature: float,
        top_k: int,
        targets: tuple[int, ...],
        plan: ChunkPlan,
    ) -> None:
        self.bank, self.unembed, self.temperature = bank, unembed, temperature
        self.top_k, self.targets, self.plan = top_k, targets, plan
        self._scores = torch.empty(plan.rows * plan.chunk, device=unembed.weight.device)
        self._scratch = torch.empty_like(self._scores)

    def read(
        self,
        resid: Float[Tensor, "layer pos d_model"],
        final: Float[Tensor, "pos d_model"],
        report: Callable[[], None],
    ) -> Statistics:
        """Return the statistics of one block of positions."""
        layers, positions = resid.shape[:2]
        rows = unit(resid.flatten(0, 1).to(self.unembed.weight.device))
        counter = TargetCounter(self._target_logits(rows), self.targets)
        top = RunningTopK(len(rows), self.top_k, rows.device)
        moments = OnlineMoments(layers + 1, positions, layers, rows.device)
        for first, scores, scratch in self._chunks(rows, self.unembed.norm(final).float(), layers):
            own, room = (x[:layers].flatten(0, 1) for x in (scores, scratch))
            counter.put(own, first)
            top.update(own, group_maxima(own), first)
            counter.update(own, room)
            moments.update(scores, scores.amax(-1), scratch)
            report()
        if not torch.isfinite(moments.logsumexp()).all():
            raise NumericsError("the model's own scores are not finite; load it in bfloat16 or float32")
        return self._collect(top, moments, counter, (layers, positions))

    def _target_logits(self, rows: Float[Tensor, "row d_model"]) -> Float[Tensor, "row target"]:
        columns = [self.bank.similarities(rows, token, token + 1) for token in self.targets]
        return torch.cat([*columns, rows.new_empty(len(rows), 0)], 1) / self.temperature

    def _chunks(
        self, rows: Float[Tensor, "row d_model"], final: Float[Tensor, "pos d_model"], layers: int
    ) -> Iterator[tuple[int, Float[Tensor, "rows pos chunk"], Float[Tensor, "rows pos chunk"]]]:
        """Yield first id, logits and scratch of each vocabulary chunk; the model's own logits come last."""
        for first in range(0, self.unembed.vocab, self.plan.chunk):
            stop = min(first + self.plan.chunk, self.unembed.vocab)
            shape = (layers + 1, len(final), stop - first)
            scores, scratch = (x[: math.prod(shape)].view(shape) for x in (self._scores, self._scratch))
            own = self.bank.similarities(rows, first, stop).unflatten(0, (layers, -1))
            torch.div(own, self.temperature, out=scores[:layers])
            weight, bias = self.unembed.weight[first:stop].float(), self.unembed.bias
            scores[layers] = self.unembed.finish(
                linear(final, weight, None if bias is None else bias[first:stop].float())
            )
            yield first, scores, scratch

    def _collect(
        self, top: RunningTopK, moments: OnlineMoments, counter: TargetCounter, shape: tuple[int, int]
    ) -> Statistics:
        logits, ids = top.result()
        ranks, upper = counter.ranks(self.unembed.vocab)
        per_token = [ids.int(), logits, counter.logits, ranks.int(), upper.int()]
        top_ids, best, wanted, ranks, upper = (x.unflatten(0, shape) for x in per_token)
        layers = slice(shape[0])
        lse = moments.logsumexp()[layers]
        return Statistics(
            top_ids=top_ids,
            top_logprobs=best - lse[..., None],
            entropy=moments.entropy()[layers],
            kl_to_final=moments.kl_from_reference()[layers],
            logsumexp=lse,
            target_logprobs=wanted - lse[..., None],
            target_ranks=ranks,
            target_ranks_upper=upper,
        )
