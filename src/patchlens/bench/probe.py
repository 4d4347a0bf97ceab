"""Capture a labelled picture once, then read it with any lens: words, concepts, and how far from the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from patchlens import grid
from patchlens.axes import FIT_KINDS, FitKind, PositionKind, fit_kind
from patchlens.bench.labels import NO_ID
from patchlens.bench.truth import Labelled
from patchlens.capture import capture
from patchlens.inputs import prepare
from patchlens.lens import KindedLens, Lens
from patchlens.models.adapter import Adapter
from patchlens.models.encode import Inputs
from patchlens.tokens import content_ids
from patchlens.unembed import Unembed

AnyLens = Lens | KindedLens
TOP: Final = 5
_LOGITS_AT_ONCE: Final = 4_000_000


@dataclass(frozen=True)
class Shot:
    """States of one picture, question and true answer: `Captured` with what the bench asks of positions.

    ``at`` holds the rows of ``resid`` of each kind of position; other rows (special tokens, separators) are
    not scored. ``boxes`` ``[patch, 4]`` are the patches of ``at["patch"]`` in pixels of the original.
    """

    resid: Float[Tensor, "layer pos d_model"]
    final: Float[Tensor, "pos d_model"]
    layers: tuple[int, ...]
    at: Mapping[FitKind, Int[Tensor, " n"]]
    boxes: NDArray[np.float64]


@dataclass(frozen=True)
class Drift:
    """Sums over ``n`` positions of one kind: how a lens differs from the model's final distribution there.

    ``kl`` and ``kl_other`` are ``[layer]``, nats: ``KL(p_final || p_lens)`` with the position's own final
    distribution, and with that of a position of another picture. ``entropy`` is that of ``p_final``. The last
    two are logarithms of summed probabilities: ``log_final`` ``[vocab]`` and ``log_lens`` ``[layer, vocab]``.
    """

    n: int
    kl: NDArray[np.float64]
    kl_other: NDArray[np.float64]
    entropy: float
    log_final: NDArray[np.float64]
    log_lens: NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """What a lens says of one picture.

    ``top_ids`` is ``[layer, patch, 5]``, best first; ``concepts`` ``[layer, patch, concept]``, the
    log-probability that the next token is one that names the concept, nats. ``drift`` has no entry for kinds
    of position that are not there.
    """

    top_ids: NDArray[np.int64]
    concepts: NDArray[np.float32]
    drift: Mapping[FitKind, Drift]


def shoot(adapter: Adapter, picture: Labelled) -> Shot:
    """Run the model once on a picture, its prompt and its true answer (teacher forcing).

    The last position predicts the last token of the answer, or the first where no answer is known.

    Raises:
        PatchlensError: the model cannot take the picture or the prompt.
    """
    answer = content_ids(adapter.tokenizer, f" {picture.answer}")[:-1] if picture.answer else ()
    inputs = prepare(adapter, picture.prompt, [picture.picture], answer_ids=answer)
    captured = capture(adapter, inputs)
    at, boxes = _positions(inputs)
    return Shot(captured.resid, captured.final, captured.layers, at, boxes)


def _positions(inputs: Inputs) -> tuple[dict[FitKind, Tensor], NDArray[np.float64]]:
    places = inputs.places
    scored = np.isin(places.kind, (PositionKind.TEXT, PositionKind.PATCH))
    steps = np.arange(len(inputs)) - (inputs.n_prompt - 1)
    kinds = np.array([fit_kind(k, int(s)) for k, s in zip(places.kind, steps, strict=True)])
    at: dict[FitKind, NDArray[np.intp]] = {
        kind: np.flatnonzero((kinds == kind) & (scored | (steps >= 0))) for kind in FIT_KINDS
    }
    patches = at["patch"]
    boxes = grid.boxes(inputs.grids[0])[places.row[patches], places.col[patches]]
    return {kind: torch.from_numpy(rows) for kind, rows in at.items() if rows.size}, boxes


def look(
    shot: Shot, lens: AnyLens, unembed: Unembed, table: NDArray[np.int64], other: Shot | None = None
) -> Seen:
    """Read a picture through a lens.

    All is taken from the whole distribution at a chunk of positions, which the mean over positions needs;
    memory is bounded by the chunk, whatever the numbers of layers and positions.

    Args:
        shot: the picture.
        lens: any lens.
        unembed: the model's unembedding.
        table: token ids of each concept, as `patchlens.bench.labels.ConceptIds.table` has them.
        other: another picture, whose final distributions stand in for a null; None reads patches only.
    """
    ids = torch.from_numpy(table)
    top = torch.empty(len(shot.layers), len(shot.boxes), TOP, dtype=torch.int64)
    concepts = torch.empty(len(shot.layers), len(shot.boxes), len(table))
    drift: dict[FitKind, Drift] = {}
    with torch.inference_mode():
        for kind, rows in shot.at.items():
            if other is None and kind != "patch":
                continue
            own = lens.for_kind(kind) if isinstance(lens, KindedLens) else lens
            sums = None if other is None else _Sums(len(shot.layers), unembed.vocab)
            for part in torch.arange(len(rows)).split(max(1, _LOGITS_AT_ONCE // unembed.vocab)):
                if sums is not None and other is not None:
                    stand_ins = _stand_ins(other, kind, part, shot)
                    sums.add_final(
                        *(_log_probs(unembed, unembed.norm(x)) for x in (shot.final[rows[part]], stand_ins))
                    )
                for slot, layer in enumerate(shot.layers):
                    state = shot.resid[slot, rows[part]].to(unembed.weight.device)
                    log_probs = _log_probs(unembed, own.normed(state, layer, unembed))
                    if sums is not None:
                        sums.add_layer(slot, log_probs)
                    if kind == "patch":
                        top[slot, part] = log_probs.topk(TOP).indices.cpu()
                        concepts[slot, part] = concept_log_probs(log_probs, ids)
            if sums is not None:
                drift[kind] = sums.drift()
    return Seen(top.numpy(), concepts.numpy(), drift)


def concept_log_probs(
    log_probs: Float[Tensor, "pos vocab"], ids: Int[Tensor, "concept n"]
) -> Float[Tensor, "pos concept"]:
    """Logarithm of the summed probability of each concept's tokens; ids of `NO_ID` are none."""
    wanted = ids.to(log_probs.device)
    values = log_probs[:, wanted.clamp(min=0)]
    return values.masked_fill(wanted == NO_ID, -torch.inf).logsumexp(-1).cpu()


def _log_probs(unembed: Unembed, normed: Float[Tensor, "pos d_model"]) -> Float[Tensor, "pos vocab"]:
    logits = torch.nn.functional.linear(normed.to(unembed.weight.dtype), unembed.weight, unembed.bias)
    return unembed.finish(logits.float()).log_softmax(-1)


def _stand_ins(other: Shot, kind: FitKind, part: Int[Tensor, " n"], shot: Shot) -> Float[Tensor, "n d_model"]:
    """Final states of another picture's positions of a kind, in order, from the first again if too few."""
    rows = other.at.get(kind, shot.at[kind])
    source = other if kind in other.at else shot
    return source.final[rows[part % len(rows)]]


class _Sums:
    """Adds up a `Drift`, chunk after chunk of positions; every chunk starts with its final distributions."""

    def __init__(self, layers: int, vocab: int) -> None:
        self.n = 0
        self.kl = np.zeros(layers)
        self.kl_other = np.zeros(layers)
        self.entropy = 0.0
        self.log_final = np.full(vocab, -np.inf)
        self.log_lens = np.full((layers, vocab), -np.inf)

    def add_final(self, own: Float[Tensor, "pos vocab"], other: Float[Tensor, "pos vocab"]) -> None:
        """Take in the model's own distributions, and those of another picture."""
        self._own, self._other = own.exp(), other.exp()
        self._own_entropy = -float((self._own * own).sum())
        self._other_entropy = -float((self._other * other).sum())
        self.n += len(own)
        self.entropy += self._own_entropy
        self.log_final = np.logaddexp(self.log_final, own.double().logsumexp(0).cpu().numpy())

    def add_layer(self, slot: int, log_probs: Float[Tensor, "pos vocab"]) -> None:
        """Take in what the lens says of one layer at the same positions."""
        self.kl[slot] += -self._own_entropy - float((self._own * log_probs).sum())
        self.kl_other[slot] += -self._other_entropy - float((self._other * log_probs).sum())
        total = log_probs.logsumexp(0).double().cpu().numpy()
        self.log_lens[slot] = np.logaddexp(self.log_lens[slot], total)

    def drift(self) -> Drift:
        """The sums so far."""
        return Drift(self.n, self.kl, self.kl_other, self.entropy, self.log_final, self.log_lens)
