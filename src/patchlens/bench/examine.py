"""Read a batch of pictures with every lens, capturing each once, and hold it against truth and nulls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from patchlens.bench.exam import Exam, PictureBatch
from patchlens.bench.null_lenses import Null, grey, shifted, twin
from patchlens.bench.readout import Readout, ask_known, read_out, states_for
from patchlens.bench.score import Tally, score_drift, score_patches
from patchlens.data.words import ConceptIds, concept_ids
from patchlens.lens import Lens
from patchlens.run import Model
from patchlens.scenes.truth import Labelled, Truth, patch_truth
from patchlens.trace import Trace


@dataclass(frozen=True)
class Examinee:
    """A model, and the tokens of the words that count."""

    model: Model
    concepts: ConceptIds

    @classmethod
    def of(cls, model: Model, exam: Exam) -> Examinee:
        """Look up the tokens of an exam's words."""
        return cls(model, concept_ids(model.tokenizer, exam.forms, exam.things))


@dataclass(frozen=True)
class TriedLens:
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


def try_lenses(examinee: Examinee, lenses: Mapping[str, Lens], picture: Labelled) -> dict[str, TriedLens]:
    """Find out which lenses care about the layer: those that read a picture otherwise when it is shifted.

    Raises:
        SelectionError: a lens is not for this model.
    """
    found: dict[str, TriedLens] = {}
    trace = ask_known(examinee.model, picture)
    for name, lens in lenses.items():
        states = states_for(lens, trace)
        moved = shifted(lens, examinee.model.n_layers) if lens.has_distribution else None
        if moved is not None:
            drifts = [read_out(states, own, examinee.concepts, (), states).drift for own in (lens, moved)]
            if all(np.array_equal(drifts[0][kind].kl, drifts[1][kind].kl) for kind in states.at):
                moved = None
        found[name] = TriedLens(lens, states.layers, moved)
    return found


def examine(
    examinee: Examinee,
    tried: Mapping[str, TriedLens],
    batch: PictureBatch,
    tell: Callable[[], None],
    *,
    nulls: bool,
) -> dict[str, Tallies]:
    """Read a batch with every lens.

    Args:
        examinee: the model.
        tried: lenses by name.
        batch: at least two pictures.
        tell: called after each picture.
        nulls: also measure the nulls; the twin with shuffled weights is made from the batch's seed.
    """
    found = {name: Tallies() for name in tried}
    against = _Nulls(examinee, tried, twin(examinee.model, batch.seed)) if nulls else None
    for now, before in _pairs(examinee.model, batch.pictures):
        for name, own in tried.items():
            _read(examinee.concepts, own, now, before, found[name], nulls)
        if against is not None:
            against.read(now, found)
        tell()
    return found


@dataclass(frozen=True)
class _Asked:
    picture: Labelled
    trace: Trace


def _pairs(model: Model, pictures: Sequence[Callable[[], Labelled]]) -> Iterator[tuple[_Asked, _Asked]]:
    """Each picture with the one before it, the first with the second; two traces are held at a time."""

    def ask(make: Callable[[], Labelled]) -> _Asked:
        picture = make()
        return _Asked(picture, ask_known(model, picture))

    first, last = ask(pictures[0]), ask(pictures[1])
    yield first, last
    yield last, first
    for make in pictures[2:]:
        now = ask(make)
        yield now, last
        last = now


def _read(
    concepts: ConceptIds, tried: TriedLens, now: _Asked, before: _Asked, tallies: Tallies, nulls: bool
) -> None:
    """Read one picture with one lens, as it is and for the nulls that need no other pass of the model."""
    states, other = (states_for(tried.lens, asked.trace) for asked in (now, before))
    truth = patch_truth(now.picture.things, now.picture.ground, states.boxes)
    strange = moved_truth(before.picture, now.picture, states.boxes)
    wanted = tuple(dict.fromkeys((*truth.names, *strange.names)))
    own = read_out(states, tried.lens, concepts, wanted, other)
    score_patches(tallies.real, own, truth, concepts)
    score_drift(tallies.real, own)
    if nulls:
        score_patches(tallies.null("shuffled"), own, strange, concepts)
        if tried.shift is not None:
            moved = read_out(states, tried.shift, concepts, wanted, other)
            score_patches(tallies.null("shift"), moved, truth, concepts)
            score_drift(tallies.null("shift"), moved)


class _Nulls:
    """The nulls that need another pass: a twin's view of each picture, and one view of nothing per size."""

    def __init__(self, examinee: Examinee, tried: Mapping[str, TriedLens], shuffled: Model) -> None:
        self.examinee, self.tried, self.shuffled = examinee, tried, shuffled
        self._blank_size: tuple[int, ...] = ()
        self._blanks: dict[str, Readout] = {}

    def read(self, now: _Asked, found: Mapping[str, Tallies]) -> None:
        """Hold what each lens says in both against the truth of a picture."""
        concepts = self.examinee.concepts
        trace: Trace | None = None
        for name, tried in self.tried.items():
            boxes = states_for(tried.lens, now.trace).boxes
            if not len(boxes):
                continue
            truth = patch_truth(now.picture.things, now.picture.ground, boxes)
            trace = trace or ask_known(self.shuffled, now.picture)
            strange = read_out(states_for(tried.lens, trace), tried.lens, concepts, truth.names)
            score_patches(found[name].null("random"), strange, truth, concepts)
            score_patches(found[name].null("blank"), self._blank(now.picture)[name], truth, concepts)

    def _blank(self, picture: Labelled) -> dict[str, Readout]:
        if picture.picture.shape != self._blank_size:
            trace, concepts = ask_known(self.examinee.model, grey(picture)), self.examinee.concepts
            self._blank_size = picture.picture.shape
            self._blanks = {
                name: read_out(states_for(own.lens, trace), own.lens, concepts, concepts.things)
                for name, own in self.tried.items()
            }
        return self._blanks


def moved_truth(other: Labelled, picture: Labelled, boxes: NDArray[np.float64]) -> Truth:
    """The truth of another picture at this one's patches, as if stretched to its size."""
    (height, width), (own_height, own_width) = other.picture.shape[:2], picture.picture.shape[:2]
    stretch = np.array([width / own_width, height / own_height] * 2)
    return patch_truth(other.things, other.ground, boxes * stretch)
