"""Read a batch of pictures with every lens, capturing each once, and hold it against truth and nulls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from patchlens.bench.exam import Batch, Exam
from patchlens.bench.nulls import Null, grey, shifted, twin
from patchlens.bench.probe import Seen, Taken, look, shot_for, take
from patchlens.bench.score import Tally, score_drift, score_patches
from patchlens.data.words import ConceptIds, concept_ids
from patchlens.lens import Lens
from patchlens.models.adapter import Adapter
from patchlens.scenes.truth import Labelled, Truth, patch_truth


@dataclass(frozen=True)
class Subject:
    """A model, and the tokens of the words that count."""

    adapter: Adapter
    concepts: ConceptIds

    @classmethod
    def of(cls, adapter: Adapter, exam: Exam) -> Subject:
        """Look up the tokens of an exam's words."""
        return cls(adapter, concept_ids(adapter.tokenizer, exam.forms, exam.things))


@dataclass(frozen=True)
class Candidate:
    """A lens, the layers it reads, and what stands in for it in the layer shift.

    ``shift`` is None where it treats all layers alike, or where it cannot be told to take one for another.
    """

    lens: Lens
    layers: tuple[int, ...]
    shift: Lens | None


@dataclass
class Tallies:
    """Sums of one lens over one batch: the readings themselves, and each null's."""

    real: Tally = field(default_factory=Tally)
    nulls: dict[Null, Tally] = field(default_factory=dict[Null, Tally])

    def null(self, name: Null) -> Tally:
        """The sums of a null, empty at first."""
        return self.nulls.setdefault(name, Tally())


def find_candidates(subject: Subject, lenses: Mapping[str, Lens], picture: Labelled) -> dict[str, Candidate]:
    """Find out which lenses care about the layer: those that read a picture otherwise when it is shifted.

    Raises:
        SelectionError: a lens is not for this model.
    """
    adapter, found = subject.adapter, dict[str, Candidate]()
    taken = take(adapter, picture)
    for name, lens in lenses.items():
        shot = shot_for(lens, adapter, taken)
        moved = shifted(lens, adapter.n_layers) if lens.has_distribution else None
        if moved is not None:
            drifts = [look(shot, own, adapter, subject.concepts, (), shot).drift for own in (lens, moved)]
            if all(np.array_equal(drifts[0][kind].kl, drifts[1][kind].kl) for kind in shot.at):
                moved = None
        found[name] = Candidate(lens, shot.layers, moved)
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
    against = _Nulls(subject, candidates, twin(subject.adapter, batch.seed)) if nulls else None
    for now, before in _pairs(subject.adapter, batch.pictures):
        for name, candidate in candidates.items():
            _read(subject, candidate, now, before, found[name], nulls)
        if against is not None:
            against.read(now, found)
        tell()
    return found


@dataclass(frozen=True)
class _Sight:
    picture: Labelled
    taken: Taken


def _pairs(adapter: Adapter, pictures: Sequence[Callable[[], Labelled]]) -> Iterator[tuple[_Sight, _Sight]]:
    """Each picture with the one before it, the first with the second; two captures are held at a time."""

    def see(make: Callable[[], Labelled]) -> _Sight:
        picture = make()
        return _Sight(picture, take(adapter, picture))

    first, last = see(pictures[0]), see(pictures[1])
    yield first, last
    yield last, first
    for make in pictures[2:]:
        now = see(make)
        yield now, last
        last = now


def _read(
    subject: Subject, candidate: Candidate, now: _Sight, before: _Sight, tallies: Tallies, nulls: bool
) -> None:
    """Read one picture with one lens, as it is and for the nulls that need no other pass of the model."""
    adapter, concepts = subject.adapter, subject.concepts
    shot, other = (shot_for(candidate.lens, adapter, sight.taken) for sight in (now, before))
    truth = patch_truth(now.picture.things, now.picture.ground, shot.boxes)
    strange = moved_truth(before.picture, now.picture, shot.boxes)
    wanted = tuple(dict.fromkeys((*truth.names, *strange.names)))
    seen = look(shot, candidate.lens, adapter, concepts, wanted, other)
    score_patches(tallies.real, seen, truth, concepts)
    score_drift(tallies.real, seen)
    if nulls:
        score_patches(tallies.null("shuffled"), seen, strange, concepts)
        if candidate.shift is not None:
            moved = look(shot, candidate.shift, adapter, concepts, wanted, other)
            score_patches(tallies.null("shift"), moved, truth, concepts)
            score_drift(tallies.null("shift"), moved)


class _Nulls:
    """The nulls that need another pass: a twin's view of each picture, and one view of nothing per size."""

    def __init__(self, subject: Subject, candidates: Mapping[str, Candidate], shuffled: Adapter) -> None:
        self.subject, self.candidates, self.shuffled = subject, candidates, shuffled
        self._blank_size: tuple[int, ...] = ()
        self._blanks: dict[str, Seen] = {}

    def read(self, now: _Sight, found: Mapping[str, Tallies]) -> None:
        """Hold what each lens says in both against the truth of a picture."""
        taken: Taken | None = None
        for name, candidate in self.candidates.items():
            shot = shot_for(candidate.lens, self.subject.adapter, now.taken)
            if not len(shot.boxes):
                continue
            truth = patch_truth(now.picture.things, now.picture.ground, shot.boxes)
            taken = taken or take(self.shuffled, now.picture)
            strange = shot_for(candidate.lens, self.shuffled, taken)
            seen = look(strange, candidate.lens, self.shuffled, self.subject.concepts, truth.names)
            concepts = self.subject.concepts
            score_patches(found[name].null("random"), seen, truth, concepts)
            score_patches(found[name].null("blank"), self._blank(now.picture)[name], truth, concepts)

    def _blank(self, picture: Labelled) -> dict[str, Seen]:
        if picture.picture.shape != self._blank_size:
            adapter, concepts = self.subject.adapter, self.subject.concepts
            taken = take(adapter, grey(picture))
            self._blank_size = picture.picture.shape
            self._blanks = {
                name: look(shot_for(own.lens, adapter, taken), own.lens, adapter, concepts, concepts.things)
                for name, own in self.candidates.items()
            }
        return self._blanks


def moved_truth(other: Labelled, picture: Labelled, boxes: NDArray[np.float64]) -> Truth:
    """The truth of another picture at this one's patches, as if stretched to its size."""
    (height, width), (own_height, own_width) = other.picture.shape[:2], picture.picture.shape[:2]
    stretch = np.array([width / own_width, height / own_height] * 2)
    return patch_truth(other.things, other.ground, boxes * stretch)
