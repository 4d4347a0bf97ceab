"""The causal map of a picture beside the lens's, as channels of a reading."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from patchlens.axes import LAYER, POSITION, PositionKind
from patchlens.errors import SelectionError
from patchlens.experiments.cases import Case
from patchlens.experiments.ledger import Record
from patchlens.experiments.patches import Settings, Subject
from patchlens.experiments.pointing import answer_word, blocks, lens_maps, patch_grid, patch_places
from patchlens.inputs import prepare
from patchlens.reading import Reading
from patchlens.records import Channel
from patchlens.run import Model
from patchlens.validate import check


def with_patch_maps(
    reading: Reading, subject: Subject, case: Case, settings: Settings, record: Record, sentence: str
) -> Reading:
    """Add what `patchlens.experiments.patches.measure` found of a case to its reading through the same lens.

    ``lens_word`` [layer, pos] is the probability of the answer's word, ``pointed_word`` [pos] 1 at
    patches that the lens points at and 0 at the others. ``causal_word`` and ``causal_answer`` [pos] tell how
    far the log-probability of that word, and of the whole answer, falls when the block of patches around a
    patch is ablated, nats. NaN where no patch stands, and where the map skips it. The sentence becomes the
    first note.

    Raises:
        SelectionError: the record is of another prompt, or has no answer.
    """
    adapter = subject.adapter
    if record["answer"] is None or not reading.answer.ids:
        raise SelectionError(f"{case.name}: the model answered nothing, so there is no map to show")
    inputs = prepare(adapter, case.prompt, case.open())
    grid = patch_grid(patch_places(inputs))
    parts = blocks(grid, settings.block, settings.step)
    rows = np.flatnonzero(reading.positions.kind == PositionKind.PATCH)
    if len(rows) != record["patches"] or len(rows) != len(grid) or len(parts) != len(record["causal_map"]):
        raise SelectionError(f"{case.name}: the reading and what was measured have other patches")
    word = answer_word(adapter, reading.answer.ids, subject.concepts, settings.word)
    maps = lens_maps(subject.lens, adapter, inputs, word, reading.layers.tolist())
    centres = [part.centre for part in parts]
    causal = np.full((2, len(grid)), np.nan, np.float32)
    causal[:, centres] = [record["causal_map"], record["causal_answer"]]
    pointed = np.zeros(len(grid), np.float32)
    pointed[settings.pointing.chosen(maps.at(settings.layer))] = 1
    n, lens = len(reading.positions), subject.lens.name
    size = f"{settings.block} x {settings.block} patches around it are" if settings.block > 1 else "patch is"
    replaced = f"replaced by {subject.replacing.told}"
    made = (
        Channel(
            "lens_word",
            (LAYER, POSITION),
            _placed(np.exp(maps.values), rows, n),
            "",
            f"probability of {word.told} under the {lens} lens",
        ),
        Channel(
            "pointed_word",
            (POSITION,),
            _placed(pointed, rows, n),
            "",
            f"1: pointed at by the {lens} lens at layer {settings.layer}",
        ),
        Channel(
            "causal_word",
            (POSITION,),
            _placed(causal[0], rows, n),
            "nats",
            f"how far the log-probability of the word in the answer falls when the {size} {replaced}",
        ),
        Channel(
            "causal_answer",
            (POSITION,),
            _placed(causal[1], rows, n),
            "nats",
            f"how far the log-probability of the whole answer falls when the {size} {replaced}",
        ),
    )
    notes = (sentence, *(note for note in reading.notes if note != sentence))
    told = replace(reading, channels=(*reading.channels, *made), notes=notes)
    check(told)
    return told


def read_with_maps(
    subject: Subject, case: Case, settings: Settings, record: Record, sentence: str
) -> Reading:
    """Read the picture of a case through the lens, with the maps and the sentence found about it."""
    trace = Model(subject.adapter).trace(list(case.open()), case.prompt)
    said = trace.answer.ids[:1]
    reading = trace.read(subject.lens, targets=list(said))
    return with_patch_maps(reading, subject, case, settings, record, sentence)


def _placed(values: NDArray[np.floating], rows: NDArray[np.intp], n: int) -> NDArray[np.float32]:
    out = np.full((*values.shape[:-1], n), np.nan, np.float32)
    out[..., rows] = values
    return out
