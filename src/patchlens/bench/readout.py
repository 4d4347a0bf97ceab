"""What a lens says of a picture whose truth is known: words, concepts, and how far it is from the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from patchlens.axes import FIT_KINDS, FitKind, PositionKind
from patchlens.data.words import NO_ID, ConceptIds
from patchlens.lens import Lens
from patchlens.lens.read import Pass
from patchlens.models.adapter import Adapter
from patchlens.models.tokens import content_ids
from patchlens.pictures.grid import boxes_of, part
from patchlens.run import Model
from patchlens.scenes.truth import Labelled
from patchlens.trace import Trace

TOP: Final = 5
_LOGITS_AT_ONCE: Final = 4_000_000


@dataclass(frozen=True)
class ScoredStates:
    """The states that a lens reads of a trace, with what the bench asks of positions.

    ``at`` holds the rows of ``resid`` of each kind of position; other rows (special tokens, separators) are
    not scored. ``boxes`` ``[patch, 4]`` are the patches of ``at["patch"]`` in pixels of the original.
    """

    adapter: Adapter
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
class Readout:
    """What a lens says of one picture.

    ``top_ids`` is ``[layer, patch, 5]``, best first; ``concepts`` ``[layer, patch, concept]``, the
    log-probability that the next token is one that names the concept, nats, or NaN where it was not wanted.
    ``drift`` has no entry for kinds of position that are not there.
    """

    top_ids: NDArray[np.int64]
    concepts: NDArray[np.float32]
    drift: dict[FitKind, Drift]


def ask_known(model: Model, picture: Labelled) -> Trace:
    """Run the model once on a picture, its prompt and its true answer (teacher forcing).

    The last position predicts the last token of the answer, or the first where no answer is known.

    Raises:
        PatchlensError: the model cannot take the picture or the prompt.
    """
    answer = content_ids(model.tokenizer, f" {picture.answer}") if picture.answer else None
    return model.trace(picture.picture, picture.prompt, answer=answer, steps=True, max_new_tokens=0)


def states_for(lens: Lens, ran: Pass) -> ScoredStates:
    """The states that a lens reads: those of a pass, or what the lens lays out of it.

    Raises:
        SelectionError: the lens is not for this model.
    """
    inputs, captured = lens.lay_out(ran.adapter, ran.inputs, ran.captured)
    ran = replace(ran, inputs=inputs, captured=captured)
    positions, kinds = ran.positions, np.array(ran.fit_kinds)
    scored = np.isin(positions.kind, (PositionKind.TEXT, PositionKind.PATCH)) | (positions.step >= 0)
    at = {kind: np.flatnonzero((kinds == kind) & scored) for kind in FIT_KINDS}
    boxes = boxes_of(part(inputs.places, positions.index[at["patch"]]), inputs.grids)
    rows: dict[FitKind, Tensor] = {kind: torch.from_numpy(at[kind]) for kind in FIT_KINDS if at[kind].size}
    return ScoredStates(ran.adapter, captured.resid, captured.final, captured.layers, rows, boxes)


def read_out(
    states: ScoredStates,
    lens: Lens,
    concepts: ConceptIds,
    wanted: Sequence[str],
    other: ScoredStates | None = None,
) -> Readout:
    """Read a picture through a lens.

    Args:
        states: those of the picture, as `states_for` gives them for the lens.
        lens: one that has no distribution has none that could drift.
        concepts: tokens of every concept.
        wanted: concepts whose scores are needed; those of others may be NaN.
        other: another picture, whose final distributions stand in for a null; None reads patches only.
    """
    if lens.has_distribution or lens.reads_vision:
        return _read(states, lens, concepts, other if lens.has_distribution else None)
    return _compared(states, lens, concepts, wanted)


def _read(states: ScoredStates, lens: Lens, concepts: ConceptIds, other: ScoredStates | None) -> Readout:
    """Take all from the whole distribution at a chunk of positions, which the mean over positions needs.

    Memory is bounded by the chunk, whatever the numbers of layers and positions.
    """
    found, unembed = _nothing_yet(states, concepts), states.adapter.unembed
    ids = torch.from_numpy(concepts.table)
    with torch.inference_mode():
        for kind, rows in states.at.items():
            if other is None and kind != "patch":
                continue
            own = lens.for_kind(kind)
            sums = None if other is None else _Sums(len(states.layers), unembed.vocab)
            for part in torch.arange(len(rows)).split(max(1, _LOGITS_AT_ONCE // unembed.vocab)):
                if sums is not None and other is not None:
                    finals = states.final[rows[part]], _stand_ins(other, kind, part, states)
                    sums.add_final(*(unembed.next_log_probs(unembed.norm(state)) for state in finals))
                for slot, layer in enumerate(states.layers):
                    state = states.resid[slot, rows[part]].to(unembed.weight.device)
                    log_probs = unembed.next_log_probs(own.normed(state, layer, unembed))
                    if sums is not None:
                        sums.add_layer(slot, log_probs)
                    if kind == "patch":
                        found.top_ids[slot, part] = log_probs.topk(TOP).indices.cpu().numpy()
                        found.concepts[slot, part] = concept_log_probs(log_probs, ids).numpy()
            if sums is not None:
                found.drift[kind] = sums.drift()
    return found


def _compared(states: ScoredStates, lens: Lens, concepts: ConceptIds, wanted: Sequence[str]) -> Readout:
    found = _nothing_yet(states, concepts)
    if not len(states.boxes):
        return found
    rows, targets = states.at["patch"], sorted(concepts.named(wanted))
    kinds: list[FitKind] = ["patch"] * len(rows)
    statistics = lens.read(
        states.resid[:, rows],
        states.final[rows],
        states.adapter.unembed,
        kinds,
        layers=states.layers,
        n_layers=states.adapter.n_layers,
        top_k=TOP,
        target_ids=targets,
    )
    found.top_ids[:] = statistics.top_ids.numpy()
    for key in wanted:
        columns = [targets.index(token) for token in concepts.ids[key]]
        together = statistics.target_logprobs[..., columns].logsumexp(-1)
        found.concepts[..., concepts.keys.index(key)] = together.numpy()
    return found


def _nothing_yet(states: ScoredStates, concepts: ConceptIds) -> Readout:
    shape = len(states.layers), len(states.boxes)
    return Readout(
        np.empty((*shape, TOP), np.int64), np.full((*shape, len(concepts.keys)), np.nan, np.float32), {}
    )


def concept_log_probs(
    log_probs: Float[Tensor, "pos vocab"], ids: Int[Tensor, "concept n"]
) -> Float[Tensor, "pos concept"]:
    """Logarithm of the summed probability of each concept's tokens; ids of `NO_ID` are none."""
    wanted = ids.to(log_probs.device)
    values = log_probs[:, wanted.clamp(min=0)]
    return values.masked_fill(wanted == NO_ID, -torch.inf).logsumexp(-1).cpu()


def _stand_ins(
    other: ScoredStates, kind: FitKind, part: Int[Tensor, " n"], states: ScoredStates
) -> Float[Tensor, "n d_model"]:
    """Final states of another picture's positions of a kind, in order, from the first again if too few."""
    rows = other.at.get(kind, states.at[kind])
    source = other if kind in other.at else states
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
