"""Read a batch of pictures with every lens, capturing each once, and hold it against truth and nulls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from patchlens.bench.exam import Batch, Exam
from patchlens.bench.labels import ConceptIds, concept_ids
from patchlens.bench.nulls import Null, grey, shifted, twin
from patchlens.bench.probe import AnyLens, Seen, Shot, look, shoot
from patchlens.bench.score import Tally, score_drift, score_patches
from patchlens.bench.truth import Labelled, Truth, patch_truth
from patchlens.models.adapter import Adapter


@dataclass(frozen=True)
class Subject:
    """A model with all that reading it for the scoreboard needs; ``table`` is ``[concept, n]`` token ids."""

    adapter: Adapter
    concepts: ConceptIds
    table: NDArray[np.int64]

    @classmethod
    def of(cls, adapter: Adapter, exam: Exam) -> Subject:
        """Look up the tokens of an exam's words."""
        concepts = concept_ids(adapter.tokenizer, exam.forms, exam.things)
        return cls(adapter, concepts, concepts.table())

    def look(self, shot: Shot, lens: AnyLens, other: Shot | None = None) -> Seen:
        """Read a picture; see `patchlens.bench.probe.look`."""
        return look(shot, lens, self.adapter.unembed, self.table, other)


@dataclass(frozen=True)
class Candidate:
    """A lens, and what stands in for it in the layer shift; None where it treats all layers alike."""

    lens: AnyLens
    shift: AnyLens | None


@dataclass
class Tallies:
    """Sums of one lens over one batch: the readings themselves, and each null's."""

    real: Tally = field(default_factory=Tally)
    nulls: dict[Null, Tally] = field(default_factory=dict[Null, Tally])

    def null(self, name: Null) -> Tally:
        """The sums of a null, empty at first."""
        return self.nulls.setdefault(name, Tally())


def find_candidates(
    subject: Subject, lenses: Mapping[str, AnyLens], picture: Labelled
) -> dict[str, Candidate]:
    """Find out which lenses care about the layer: those that read a picture otherwise when it is shifted."""
    shot = shoot(subject.adapter, picture)
    found: dict[str, Candidate] = {}
    for name, lens in lenses.items():
        moved = shifted(lens, subject.adapter.n_layers)
        as_is, otherwise = (subject.look(shot, own, shot).drift for own in (lens, moved))
        alike = all(np.array_equal(as_is[kind].kl, otherwise[kind].kl) for kind in as_is)
        found[name] = Candidate(lens, None if alike else moved)
    return found


def examine(
    subject: Subject,
    candidates: Mapping[str, Candidate],
    batch: Batch,
    tell: Callable[[], None],
    *,
    nulls: bool,
) -> dict[str, Tallies]:
    """Read a batch with every lens.

    Args:
        subject: the model.
        candidates: lenses by name.
        batch: at least two pictures.
        tell: called after each picture.
        nulls: also measure the nulls; the twin with shuffled weights is made from the batch's seed.
    """
    found = {name: Tallies() for name in candidates}
    shuffled = twin(subject.adapter, batch.seed) if nulls else None
    blanks: dict[tuple[int, ...], Shot] = {}
    for picture, shot, before, last in _pairs(subject.adapter, batch.pictures):
        truth = patch_truth(picture.things, picture.ground, shot.boxes)
        for name, candidate in candidates.items():
            seen = subject.look(shot, candidate.lens, last)
            _score(found[name].real, seen, truth, subject)
            if nulls:
                strange = _moved_truth(before, picture, shot)
                score_patches(found[name].null("shuffled"), seen, strange, subject.concepts)
                if candidate.shift is not None:
                    moved = subject.look(shot, candidate.shift, last)
                    _score(found[name].null("shift"), moved, truth, subject)
        if shuffled is not None and len(shot.boxes):
            size = picture.picture.shape
            if size not in blanks:
                blanks = {size: shoot(subject.adapter, grey(picture))}
            unseen: dict[Null, Shot] = {"random": shoot(shuffled, picture), "blank": blanks[size]}
            for null, other in unseen.items():
                for name, candidate in candidates.items():
                    seen = subject.look(other, candidate.lens)
                    score_patches(found[name].null(null), seen, truth, subject.concepts)
        tell()
    return found


def _score(tally: Tally, seen: Seen, truth: Truth, subject: Subject) -> None:
    score_patches(tally, seen, truth, subject.concepts)
    score_drift(tally, seen)


def _pairs(
    adapter: Adapter, pictures: Sequence[Callable[[], Labelled]]
) -> Iterator[tuple[Labelled, Shot, Labelled, Shot]]:
    """Each picture with the one before it, the first with the second; two captures are held at a time."""
    picture, following = pictures[0](), pictures[1]()
    shot, next_shot = shoot(adapter, picture), shoot(adapter, following)
    yield picture, shot, following, next_shot
    yield following, next_shot, picture, shot
    before, last = following, next_shot
    for make in pictures[2:]:
        picture = make()
        shot = shoot(adapter, picture)
        yield picture, shot, before, last
        before, last = picture, shot


def _moved_truth(other: Labelled, picture: Labelled, shot: Shot) -> Truth:
    """The truth of another picture at this one's patches, as if stretched to its size."""
    (height, width), (own_height, own_width) = other.picture.shape[:2], picture.picture.shape[:2]
    stretch = np.array([width / own_width, height / own_height] * 2)
    return patch_truth(other.things, other.ground, shot.boxes * stretch)
