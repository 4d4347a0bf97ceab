"""Baselines that are no lenses: where the model looks while it names a thing, the best way at each layer.

Of each layer the way (an attention head, say) is taken whose maps tell things from other things best on
validation pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from patchlens.bench.exam import Batch
from patchlens.bench.examine import Subject, Tallies, moved_truth
from patchlens.bench.gaze import Gaze, Look
from patchlens.bench.nulls import Null, grey, twin
from patchlens.bench.score import score_maps
from patchlens.scenes.truth import Labelled, Truth, patch_truth


@dataclass(frozen=True)
class Watched:
    """Sums over a batch, at ``layers`` in ``n_ways`` ways each."""

    tallies: Tallies
    layers: tuple[int, ...]
    n_ways: int


def watch(
    subject: Subject,
    look: Look,
    batch: Batch,
    ways: Sequence[int] | None,
    tell: Callable[[], None],
    *,
    nulls: bool,
) -> Watched:
    """Score a batch's maps.

    Args:
        subject: the model.
        look: makes the maps of a picture; pictures without are passed over.
        batch: pictures with captions.
        ways: one of each layer; None scores every way, those of one layer after another.
        tell: called after each picture.
        nulls: also measure the nulls.

    Raises:
        UnsupportedModelError: no such maps can be made of this model.
    """
    adapter, concepts = subject.adapter, subject.concepts
    tallies, layers, n_ways = Tallies(), (), 0
    shuffled = twin(adapter, batch.seed) if nulls else None
    before: Labelled | None = None
    for make in batch.pictures:
        picture = make()
        own = look(adapter, picture, concepts)
        if own is not None:
            layers, n_ways = own.layers, own.maps.shape[1]
            truth = patch_truth(picture.things, picture.ground, own.boxes)
            score_maps(tallies.real, own.seen(concepts, ways), truth, concepts, own.names)
            if shuffled is not None:
                unseen: dict[Null, Gaze | None] = {
                    "random": look(shuffled, picture, concepts),
                    "blank": look(adapter, grey(picture), concepts),
                }
                for null, other in unseen.items():
                    if other is not None:
                        score_maps(tallies.null(null), other.seen(concepts, ways), truth, concepts, own.names)
                if before is not None:
                    strange = _renamed(moved_truth(before, picture, own.boxes), own.names)
                    score_maps(tallies.null("shuffled"), own.seen(concepts, ways), strange, concepts)
        before = picture
        tell()
    return Watched(tallies, layers, n_ways)


def best_ways(watched: Watched) -> tuple[int, ...] | None:
    """The way of each layer whose maps tell things from other things best, of all ways' scores."""
    values = watched.tallies.real.values(None)
    wanted = values.get("auroc_others", values.get("auroc_all"))
    if wanted is None:
        return None
    return tuple(int(way) for way in wanted.reshape(-1, watched.n_ways).argmax(1))


def _renamed(truth: Truth, names: Sequence[str]) -> Truth:
    """The truth of another picture under this one's names, as far as both go."""
    common = min(len(names), len(truth.names))
    return replace(truth, names=tuple(names[:common]), covered=truth.covered[:common])
