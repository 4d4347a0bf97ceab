"""The baseline that maps must beat: where the best attention head looks when a thing is about to be named.

Every drawn scene has a caption that names its things one by one. It is given to the model as its answer
(teacher forcing), and a thing's map is one head's attention, on the patches, from the position that predicts
the first token of the thing's name. Of each layer the head is taken whose maps tell things from other things
best on validation pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from patchlens import grid
from patchlens.axes import VISION, PositionKind
from patchlens.bench.exam import Batch
from patchlens.bench.examine import Subject, Tallies, moved_truth
from patchlens.bench.labels import ConceptIds
from patchlens.bench.nulls import Null, grey, twin
from patchlens.bench.probe import Seen
from patchlens.bench.score import score_maps
from patchlens.bench.truth import Labelled, Truth, patch_truth
from patchlens.inputs import prepare
from patchlens.models.adapter import Adapter
from patchlens.models.attend import Attended
from patchlens.models.encode import Inputs
from patchlens.tokens import content_ids


@dataclass(frozen=True)
class Gaze:
    """Attention on patches ``[block, head, name, patch]`` from where each of ``names`` is about to be said.

    ``blocks`` are 0-based, those that see patches; ``boxes`` ``[patch, 4]`` in pixels of the original.
    """

    names: tuple[str, ...]
    weights: NDArray[np.float32]
    blocks: tuple[int, ...]
    boxes: NDArray[np.float64]

    def seen(self, concepts: ConceptIds, heads: Sequence[int] | None) -> Seen:
        """As if heads were layers: all of them, or one of each block."""
        if heads is None:
            chosen = self.weights.reshape(-1, *self.weights.shape[2:])
        else:
            chosen = self.weights[np.arange(len(self.blocks)), list(heads)]
        maps = np.full((len(chosen), chosen.shape[2], len(concepts.keys)), np.nan, np.float32)
        for column, name in enumerate(self.names):
            maps[..., concepts.keys.index(name)] = chosen[:, column]
        return Seen(np.empty((*maps.shape[:2], 0), np.int64), maps, {})


@dataclass(frozen=True)
class Watched:
    """Sums over a batch; ``blocks`` are 0-based, with ``n_heads`` heads each."""

    tallies: Tallies
    blocks: tuple[int, ...]
    n_heads: int


def gaze(adapter: Adapter, picture: Labelled, concepts: ConceptIds) -> Gaze | None:
    """Run the model on a picture with its caption; None where the caption names no thing of the picture.

    Raises:
        UnsupportedModelError: the model's attention is not built as patchlens knows it.
    """
    if picture.caption is None:
        return None
    caption = content_ids(adapter.tokenizer, f" {picture.caption.answer}")
    said = [
        (name, _first(caption, concepts.ids[name])) for name in dict.fromkeys(t.name for t in picture.things)
    ]
    named = {name: step for name, step in said if step is not None}
    if not named:
        return None
    inputs = prepare(adapter, picture.caption.prompt, [picture.picture], answer_ids=caption[:-1])
    queries = [inputs.n_prompt - 1 + step for step in named.values()]
    places = inputs.vision_places or inputs.places
    patches = np.flatnonzero(places.kind == PositionKind.PATCH)
    weights = _attention(adapter, inputs, queries, patches)
    boxes = grid.boxes(inputs.grids[0])[places.row[patches], places.col[patches]]
    return Gaze(tuple(named), np.stack([*weights.values()]), tuple(weights), boxes)


def _first(ids: Sequence[int], wanted: frozenset[int]) -> int | None:
    return next((step for step, token in enumerate(ids) if token in wanted), None)


def _attention(
    adapter: Adapter, inputs: Inputs, queries: Sequence[int], patches: NDArray[np.intp]
) -> dict[int, NDArray[np.float32]]:
    """Weights ``[head, query, patch]`` of each block that attends to where the patches are."""
    found: dict[int, NDArray[np.float32]] = {}
    crossing = inputs.vision_places is not None
    rows, columns = torch.tensor(queries), torch.from_numpy(patches)

    def keep(attended: Attended) -> None:
        if (attended.heads.over == VISION) == crossing:
            device = attended.weights.device
            own = attended.weights[:, rows.to(device)][..., columns.to(device)]
            found[attended.heads.block] = own.float().cpu().numpy()

    with adapter.undisturbed(), torch.inference_mode(), adapter.attending(range(adapter.n_layers), keep):
        adapter.model(**inputs.tensors, use_cache=False, logits_to_keep=1)
    return found


def watch(
    subject: Subject, batch: Batch, heads: Sequence[int] | None, tell: Callable[[], None], *, nulls: bool
) -> Watched:
    """Score a batch's attention maps.

    Args:
        subject: the model.
        batch: pictures with captions; those without are passed over.
        heads: one of each block; None scores every head, all of one block after another.
        tell: called after each picture.
        nulls: also measure the nulls.

    Raises:
        UnsupportedModelError: the model's attention is not built as patchlens knows it.
    """
    tallies, blocks, n_heads = Tallies(), (), 0
    shuffled = twin(subject.adapter, batch.seed) if nulls else None
    before: Labelled | None = None
    for make in batch.pictures:
        picture = make()
        own = gaze(subject.adapter, picture, subject.concepts)
        if own is not None:
            blocks, n_heads = own.blocks, own.weights.shape[1]
            truth = patch_truth(picture.things, picture.ground, own.boxes)
            score_maps(tallies.real, own.seen(subject.concepts, heads), truth, subject.concepts, own.names)
            if shuffled is not None:
                unseen: dict[Null, Gaze | None] = {
                    "random": gaze(shuffled, picture, subject.concepts),
                    "blank": gaze(subject.adapter, grey(picture), subject.concepts),
                }
                for null, other in unseen.items():
                    if other is not None:
                        seen = other.seen(subject.concepts, heads)
                        score_maps(tallies.null(null), seen, truth, subject.concepts, own.names)
                if before is not None:
                    strange = _renamed(moved_truth(before, picture, own.boxes), own.names)
                    seen = own.seen(subject.concepts, heads)
                    score_maps(tallies.null("shuffled"), seen, strange, subject.concepts)
        before = picture
        tell()
    return Watched(tallies, blocks, n_heads)


def best_heads(watched: Watched) -> tuple[int, ...] | None:
    """The head of each block whose maps tell things from other things best, of all heads' scores."""
    values = watched.tallies.real.values(None)
    wanted = values.get("auroc_others", values.get("auroc_all"))
    if wanted is None:
        return None
    return tuple(int(head) for head in wanted.reshape(-1, watched.n_heads).argmax(1))


def _renamed(truth: Truth, names: Sequence[str]) -> Truth:
    """The truth of another picture under this one's names, as far as both go."""
    common = min(len(names), len(truth.names))
    return replace(truth, names=tuple(names[:common]), covered=truth.covered[:common])
