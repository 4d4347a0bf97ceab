"""The causal map of a picture beside the lens's, as channels of a reading."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from patchlens.axes import LAYER, POSITION, PositionKind
from patchlens.causal.pointing import blocks, patch_grid
from patchlens.cause.cases import Case
from patchlens.cause.ledger import Record
from patchlens.cause.patches.measure import Settings, Subject
from patchlens.cause.patches.pointing import answer_word, lens_maps
from patchlens.errors import SelectionError
from patchlens.models.inputs import Inputs, prepare
from patchlens.reading.reading import Reading
from patchlens.reading.records import Channel
from patchlens.reading.validate import check
from patchlens.run import Model


def with_patch_maps(
    reading: Reading, subject: Subject, case: Case, settings: Settings, record: Record, sentence: str
) -> Reading:
    """Add what `measure` found of a case to its reading through the same lens.

    ``lens_word`` [layer, pos] is the probability of the answer's word, ``pointed_word`` [pos] 1 at
    patches that the lens points at and 0 at the others. ``causal_word`` and ``causal_answer`` [pos] tell how
    far the log-probability of that word, and of the whole answer, falls when the block of patches around a
    patch is ablated, nats. NaN where no patch stands, and where the map skips it. The sentence becomes the
    first note.

    Raises:
        SelectionError: the record is of another prompt, or has no answer.
    """
    if record["answer"] is None or not reading.answer.ids:
        raise SelectionError(f"{case.name}: the model answered nothing, so there is no map to show")
    inputs = prepare(subject.adapter, case.prompt, case.open())
    rows = np.flatnonzero(reading.positions.kind == PositionKind.PATCH)
    made = (
        *_lens_channels(reading, subject, inputs, settings, rows),
        *_causal_channels(reading, subject, inputs, settings, rows, record),
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


def _lens_channels(
    reading: Reading, subject: Subject, inputs: Inputs, settings: Settings, rows: NDArray[np.intp]
) -> tuple[Channel, Channel]:
    """The word's probability, and which patches are said to be pointed at."""
    word = answer_word(subject.adapter, reading.answer.ids, subject.concepts, settings.word)
    maps = lens_maps(subject.lens, subject.adapter, inputs, word, reading.layers.tolist())
    pointed = np.zeros(len(rows), np.float32)
    pointed[settings.pointing.chosen(maps.at(settings.layer))] = 1
    n, lens = len(reading.positions), subject.lens.name
    probability = f"probability of {word.told} under the {lens} lens"
    at = f"1: pointed at by the {lens} lens at layer {settings.layer}"
    return (
        Channel("lens_word", (LAYER, POSITION), _placed(np.exp(maps.values), rows, n), "", probability),
        Channel("pointed_word", (POSITION,), _placed(pointed, rows, n), "", at),
    )


def _causal_channels(
    reading: Reading,
    subject: Subject,
    inputs: Inputs,
    settings: Settings,
    rows: NDArray[np.intp],
    record: Record,
) -> tuple[Channel, ...]:
    """Falls at the centres of the blocks."""
    grid = patch_grid(inputs.patch_places)
    parts = blocks(grid, settings.block, settings.step)
    if len(rows) != record["patches"] or len(rows) != len(grid) or len(parts) != len(record["causal_map"]):
        raise SelectionError("the reading and what was measured have other patches")
    size = f"{settings.block} x {settings.block} patches around it are" if settings.block > 1 else "patch is"
    by = subject.replacing.told
    made: list[Channel] = []
    for name, key, what in (
        ("causal_word", "causal_map", "the word in the answer"),
        ("causal_answer", "causal_answer", "the whole answer"),
    ):
        values = np.full(len(grid), np.nan, np.float32)
        values[[part.centre for part in parts]] = record[key]
        text = f"how far the log-probability of {what} falls when the {size} replaced by {by}"
        made.append(Channel(name, (POSITION,), _placed(values, rows, len(reading.positions)), "nats", text))
    return tuple(made)
