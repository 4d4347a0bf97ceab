"""Capture a labelled picture once, then read it with any lens: words, concepts, and how far from the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from patchlens.axes import FIT_KINDS, FitKind, PositionKind, fit_kind
from patchlens.bench.labels import NO_ID, ConceptIds
from patchlens.capture import Captured, capture
from patchlens.lens import Lens
from patchlens.models.adapter import Adapter
from patchlens.models.encode import Inputs
from patchlens.models.inputs import prepare
from patchlens.models.tokens import content_ids
from patchlens.models.unembed import Unembed
from patchlens.pictures.grid import boxes_of, part
from patchlens.scenes.truth import Labelled

TOP: Final = 5
_LOGITS_AT_ONCE: Final = 4_000_000


@dataclass(frozen=True)
class Taken:
    """One forward pass on a picture with its question and true answer."""

    inputs: Inputs
    captured: Captured


@dataclass(frozen=True)
class Shot:
    """The states of a forward pass, with what the bench asks of positions.

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
    log-probability that the next token is one that names the concept, nats, or NaN where it was not wanted.
    ``drift`` has no entry for kinds of position that are not there.
    """

    top_ids: NDArray[np.int64]
    concepts: NDArray[np.float32]
    drift: dict[FitKind, Drift]


def take(adapter: Adapter, picture: Labelled) -> Taken:
    """Run the model once on a picture, its prompt and its true answer (teacher forcing).

    The last position predicts the last token of the answer, or the first where no answer is known.

    Raises:
        PatchlensError: the model cannot take the picture or the prompt.
    """
    answer = content_ids(adapter.tokenizer, f" {picture.answer}")[:-1] if picture.answer else ()
    inputs = prepare(adapter, picture.prompt, [picture.picture], answer_ids=answer)
    return Taken(inputs, capture(adapter, inputs))


def shot_for(lens: Lens, adapter: Adapter, taken: Taken) -> Shot:
    """The states that a lens reads: those of a forward pass, or what the lens lays out of it.

    Raises:
        SelectionError: the lens is not for this model.
    """
    inputs, captured = lens.lay_out(adapter, taken.inputs, taken.captured)
    positions, places = np.array(captured.positions), inputs.places
    steps = positions - (inputs.n_prompt - 1)
    kinds = np.array([fit_kind(str(places.kind[p]), int(s)) for p, s in zip(positions, steps, strict=True)])
    scored = np.isin(places.kind[positions], (PositionKind.TEXT, PositionKind.PATCH)) | (steps >= 0)
    at = {kind: np.flatnonzero((kinds == kind) & scored) for kind in FIT_KINDS}
    patches = positions[at["patch"]]
    boxes = boxes_of(part(places, patches), inputs.grids)
    rows: dict[FitKind, Tensor] = {kind: torch.from_numpy(at[kind]) for kind in FIT_KINDS if at[kind].size}
    return Shot(captured.resid, captured.final, captured.layers, rows, boxes)


def look(
    shot: Shot,
    lens: Lens,
    adapter: Adapter,
    concepts: ConceptIds,
    wanted: Sequence[str],
    other: Shot | None = None,
) -> Seen:
    """Read a picture through a lens.

    Args:
        shot: the picture, as `shot_for` gives it for the lens.
        lens: one that has no distribution has none that could drift.
        adapter: the model.
        concepts: tokens of every concept.
        wanted: concepts whose scores are needed; those of others may be NaN.
        other: another picture, whose final distributions stand in for a null; None reads patches only.
    """
    if lens.has_distribution or lens.reads_vision:
        return _read(shot, lens, adapter.unembed, concepts, other if lens.has_distribution else None)
    return _compared(shot, lens, adapter, concepts, wanted)


def _read(shot: Shot, lens: Lens, unembed: Unembed, concepts: ConceptIds, other: Shot | None) -> Seen:
    """Take all from the whole distribution at a chunk of positions, which the mean over positions needs.

    Memory is bounded by the chunk, whatever the numbers of layers and positions.
    """
    seen = _nothing_yet(shot, concepts)
    ids = torch.from_numpy(concepts.table)
    with torch.inference_mode():
        for kind, rows in shot.at.items():
            if other is None and kind != "patch":
                continue
            own = lens.for_kind(kind)
            sums = None if other is None else _Sums(len(shot.layers), unembed.vocab)
            for part in torch.arange(len(rows)).split(max(1, _LOGITS_AT_ONCE // unembed.vocab)):
                if sums is not None and other is not None:
                    finals = shot.final[rows[part]], _stand_ins(other, kind, part, shot)
                    sums.add_final(*(unembed.next_log_probs(unembed.norm(state)) for state in finals))
                for slot, layer in enumerate(shot.layers):
                    state = shot.resid[slot, rows[part]].to(unembed.weight.device)
                    log_probs = unembed.next_log_probs(own.normed(state, layer, unembed))
                    if sums is not None:
                        sums.add_layer(slot, log_probs)
                    if kind == "patch":
                        seen.top_ids[slot, part] = log_probs.topk(TOP).indices.cpu().numpy()
                        seen.concepts[slot, part] = concept_log_probs(log_probs, ids).numpy()
            if sums is not None:
                seen.drift[kind] = sums.drift()
    return seen


def _compared(shot: Shot, lens: Lens, adapter: Adapter, concepts: ConceptIds, wanted: Sequence[str]) -> Seen:
    seen = _nothing_yet(shot, concepts)
    if not len(shot.boxes):
        return seen
    rows, targets = shot.at["patch"], sorted(concepts.named(wanted))
    kinds: list[FitKind] = ["patch"] * len(rows)
    statistics = lens.read(
        shot.resid[:, rows],
        shot.final[rows],
        adapter.unembed,
        kinds,
        layers=shot.layers,
        n_layers=adapter.n_layers,
        top_k=TOP,
        target_ids=targets,
    )
    seen.top_ids[:] = statistics.top_ids.numpy()
    for key in wanted:
        columns = [targets.index(token) for token in concepts.ids[key]]
        together = statistics.target_logprobs[..., columns].logsumexp(-1)
        seen.concepts[..., concepts.keys.index(key)] = together.numpy()
    return seen


def _nothing_yet(shot: Shot, concepts: ConceptIds) -> Seen:
    shape = len(shot.layers), len(shot.boxes)
    return Seen(
        np.empty((*shape, TOP), np.int64), np.full((*shape, len(concepts.keys)), np.nan, np.float32), {}
    )


def concept_log_probs(
    log_probs: Float[Tensor, "pos vocab"], ids: Int[Tensor, "concept n"]
) -> Float[Tensor, "pos concept"]:
    """Logarithm of the summed probability of each concept's tokens; ids of `NO_ID` are none."""
    wanted = ids.to(log_probs.device)
    values = log_probs[:, wanted.clamp(min=0)]
    return values.masked_fill(wanted == NO_ID, -torch.inf).logsumexp(-1).cpu()


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
