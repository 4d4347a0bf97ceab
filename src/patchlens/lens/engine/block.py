"""All statistics of one block of positions, from one pass over the vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from patchlens.errors import NumericsError
from patchlens.lens.engine.chunks import ChunkPlan
from patchlens.lens.engine.moments import OnlineMoments
from patchlens.lens.engine.normed import checked_states
from patchlens.lens.engine.rescore import products, shared_products, table_products
from patchlens.lens.engine.shared import SharedLogits
from patchlens.lens.engine.statistics import Statistics
from patchlens.lens.engine.targets import TargetCounter
from patchlens.lens.engine.topk import RunningTopK, group_maxima
from patchlens.models.unembed import Unembed

if TYPE_CHECKING:
    from patchlens.lens.lens import Lens

# In 16-bit types the order among the best is settled in float32; this many beyond k stay in the running.
_SPARE_CANDIDATES = 22
# Norms make several float32 copies of what they are given.
_NORMED_AT_ONCE = 64


@dataclass(frozen=True)
class BlockQuery:
    """What is asked of every block; the arguments of `patchlens.lens.engine.stream.stream_statistics`."""

    lens: Lens
    unembed: Unembed
    layers: tuple[int, ...]
    n_layers: int
    top_k: int
    targets: tuple[int, ...]


class BlockReader:
    """Reads blocks of positions, all layers of each at once, with buffers that serve every block."""

    def __init__(self, question: BlockQuery, plan: ChunkPlan) -> None:
        self.question, self.plan = question, plan
        unembed, top_k = question.unembed, question.top_k
        self.unembed = unembed
        self.rounds = unembed.weight.dtype != torch.float32
        self.candidates = min(unembed.vocab, top_k + _SPARE_CANDIDATES) if self.rounds else top_k
        room = plan.rows * plan.chunk
        self._scores = torch.empty(room, device=unembed.weight.device)
        self._scratch = torch.empty_like(self._scores)
        self._raw = (
            torch.empty_like(self._scores, dtype=unembed.weight.dtype) if self.rounds else self._scores
        )

    def read(
        self,
        resid: Float[Tensor, "layer pos d_model"],
        final: Float[Tensor, "pos d_model"],
        first_position: int,
        report: Callable[[], None] | None,
    ) -> Statistics:
        """Return the statistics of one block of positions."""
        states, reference = self._normed(resid, final)
        rows = states.flatten(0, 1)
        exact, rounded = self._target_logits(rows)
        counter = TargetCounter(rounded, self.question.targets)
        top = RunningTopK(len(rows), self.candidates, rows.device)
        moments = OnlineMoments(states.shape[0], states.shape[1], reference, rows.device)
        heaviest = SharedLogits(states.shape[:2], self.candidates, rows.device)
        shape = (*states.shape[:2], -1)
        for first_id, scores, scratch in self._chunks(rows):
            counter.put(scores, first_id)
            peaks = group_maxima(scores)
            top.update(scores, peaks, first_id)
            counter.update(scores, scratch)
            if self.rounds:
                ids = top.result()[1].view(shape)[reference]
                heaviest.update(ids, scores.view(shape), first_id)
            moments.update(scores.view(shape), peaks.amax(-1).view(shape[:2]), scratch.view(shape))
            if report is not None:
                report()
        self._check_finite(moments, reference, first_position)
        return self._collect(states, top, moments, counter, exact, heaviest)

    def _normed(
        self, resid: Float[Tensor, "layer pos d_model"], final: Float[Tensor, "pos d_model"]
    ) -> tuple[Float[Tensor, "rows pos d_model"], int]:
        """Norm every layer; the reference comes last, unless the lens shows the last layer as it is."""
        lens, weight = self.question.lens, self.unembed.weight
        states = torch.empty((len(resid) + 1, *resid.shape[1:]), dtype=weight.dtype, device=weight.device)
        for start in range(0, len(final), _NORMED_AT_ONCE):
            at = slice(start, start + _NORMED_AT_ONCE)
            for slot, layer in enumerate(self.question.layers):
                state = resid[slot, at].to(weight.device)
                given = lens.normed(state, layer, self.unembed)
                states[slot, at] = checked_states(lens.name, layer, given, state)
            states[-1, at] = self.unembed.norm(final[at])
        if self.question.n_layers in self.question.layers:
            slot = self.question.layers.index(self.question.n_layers)
            if torch.equal(states[slot], states[-1]):
                return states[:-1], slot
        return states, len(resid)

    def _target_logits(
        self, rows: Float[Tensor, "row d_model"]
    ) -> tuple[Float[Tensor, "row target"], Float[Tensor, "row target"]]:
        """Return the targets' logits, and the same rounded as the chunks' products are."""
        ids = torch.tensor(self.question.targets, dtype=torch.int64, device=rows.device)
        raw = table_products(rows, self.unembed, ids)
        rounded = raw.to(self.unembed.weight.dtype).float() if self.rounds else raw.clone()
        return self.unembed.finish(raw), self.unembed.finish(rounded)

    def _chunks(
        self, rows: Float[Tensor, "row d_model"]
    ) -> Iterator[tuple[int, Float[Tensor, "row chunk"], Float[Tensor, "row chunk"]]]:
        """Yield first id, float32 logits and scratch of each vocabulary chunk, in reused buffers."""
        for start in range(0, self.unembed.vocab, self.plan.chunk):
            ids = slice(start, min(start + self.plan.chunk, self.unembed.vocab))
            shape = (len(rows), ids.stop - start)
            room = shape[0] * shape[1]
            raw, scores, scratch = (x[:room].view(shape) for x in (self._raw, self._scores, self._scratch))
            if self.unembed.bias is None:
                torch.mm(rows, self.unembed.weight[ids].T, out=raw)
            else:
                torch.addmm(self.unembed.bias[ids], rows, self.unembed.weight[ids].T, out=raw)
            if self.rounds:
                scores.copy_(raw)
            yield start, self.unembed.finish(scores), scratch

    def _check_finite(self, moments: OnlineMoments, reference: int, first_position: int) -> None:
        bad = ~torch.isfinite(moments.logsumexp() + moments.entropy())
        if not bad.any():
            return
        row, position = bad.nonzero()[0].tolist()
        layer = self.question.n_layers if row == reference else self.question.layers[row]
        raise NumericsError(
            f"layer {layer} at position {first_position + position} (of those read) gives scores that are "
            "not finite; if the model runs in float16, load it in bfloat16 or float32"
        )

    def _collect(
        self,
        states: Float[Tensor, "rows pos d_model"],
        top: RunningTopK,
        moments: OnlineMoments,
        counter: TargetCounter,
        target_logits: Float[Tensor, "row target"],
        heaviest: SharedLogits,
    ) -> Statistics:
        logits, ids = top.result()
        ranks, upper = counter.ranks(self.unembed.vocab)
        if self.rounds:
            settled = counter.logits > logits[:, -1:]
            logits = self._settle(states, logits, ids, target_logits, moments, heaviest)
            among = (logits[:, None] > target_logits[..., None]).sum(-1)
            among_upper = (logits[:, None] >= target_logits[..., None]).sum(-1) - 1
            ranks, upper = torch.where(settled, among, ranks), torch.where(settled, among_upper, upper)
            order = _best_first(logits, ids)[:, : self.question.top_k]
            logits, ids = logits.gather(1, order), ids.gather(1, order)
        lse = moments.logsumexp()
        per_token = [ids.int(), logits, target_logits, ranks.int(), upper.int()]
        top_ids, best, wanted, ranks, upper = (x.unflatten(0, states.shape[:2]) for x in per_token)
        parts = Statistics(
            top_ids=top_ids,
            top_logprobs=best - lse[..., None],
            entropy=moments.entropy(),
            kl_to_final=moments.kl_from_reference(),
            logsumexp=lse,
            target_logprobs=wanted - lse[..., None],
            target_ranks=ranks,
            target_ranks_upper=upper,
        )
        return parts.first_layers(len(self.question.layers))

    def _settle(
        self,
        states: Float[Tensor, "rows pos d_model"],
        rounded: Float[Tensor, "row k"],
        ids: Int[Tensor, "row k"],
        target_logits: Float[Tensor, "row target"],
        moments: OnlineMoments,
        heaviest: SharedLogits,
    ) -> Float[Tensor, "row k"]:
        """Return the candidates' logits without rounding, and put them in the place of the rounded ones."""
        exact = self.unembed.finish(products(states.flatten(0, 1), self.unembed, ids))
        for index, token in enumerate(self.question.targets):
            exact = torch.where(ids == token, target_logits[:, index, None], exact)
        new, old = (x.unflatten(0, states.shape[:2]) for x in (exact, rounded))
        exact_there = self.unembed.finish(shared_products(states, self.unembed, heaviest.ids))
        moments.replace_cross(heaviest.logits, exact_there, old[moments.reference], new[moments.reference])
        moments.replace(old, new)
        return exact


def _best_first(logits: Float[Tensor, "row k"], ids: Int[Tensor, "row k"]) -> Int[Tensor, "row k"]:
    """Return the order by logit descending, then id ascending."""
    by_id = ids.argsort(dim=1)
    by_logit = logits.gather(1, by_id).sort(dim=1, descending=True, stable=True).indices
    return by_id.gather(1, by_logit)
