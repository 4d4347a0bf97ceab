"""The causal map of a picture beside the lens's, as channels of a reading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchlens.axes import LAYER, POSITION, PositionKind
from patchlens.causal.pointing import blocks, patch_grid
from patchlens.cause.answer_word import word_maps
from patchlens.cause.patches import PointedAblation
from patchlens.data.item import Item
from patchlens.errors import SelectionError
from patchlens.reading.reading import Reading
from patchlens.reading.records import Channel
from patchlens.reading.validate import check
from patchlens.trace import Trace


def read_with_maps(
    ablation: PointedAblation, case: Item, record: Mapping[str, Any], sentence: str
) -> Reading:
    """Read the picture of a case through the lens, with the maps and the sentence found about it.

    ``lens_word`` [layer, pos] is the probability of the answer's word, ``pointed_word`` [pos] 1 at
    patches that the lens points at and 0 at the others. ``causal_word`` and ``causal_answer`` [pos] tell how
    far the log-probability of that word, and of the whole answer, falls when the block of patches around a
    patch is ablated, nats. NaN where no patch stands, and where the map skips it. The sentence becomes the
    first note.

    Raises:
        SelectionError: the record is of another prompt, or has no answer.
    """
    trace = ablation.trace(case)
    if record["answer"] is None or not trace.answer.ids:
        raise SelectionError(f"{case.name}: the model answered nothing, so there is no map to show")
    reading = trace.read(ablation.lens, targets=trace.answer.ids[:1])
    rows = np.flatnonzero(reading.positions.kind == PositionKind.PATCH)
    channels = (
        *reading.channels,
        *_lens_channels(ablation, trace, reading, rows),
        *_causal_channels(ablation, trace, reading, rows, record),
    )
    notes = (sentence, *(note for note in reading.notes if note != sentence))
    made = replace(reading, channels=channels, notes=notes)
    check(made)
    return made


def _placed(values: NDArray[np.floating], rows: NDArray[np.intp], n: int) -> NDArray[np.float32]:
    out = np.full((*values.shape[:-1], n), np.nan, np.float32)
    out[..., rows] = values
    return out


def _lens_channels(
    ablation: PointedAblation, trace: Trace, reading: Reading, rows: NDArray[np.intp]
) -> tuple[Channel, Channel]:
    """The word's probability, and which patches are said to be pointed at."""
    word = ablation.answer_word(trace.answer.ids)
    maps = word_maps(trace, ablation.lens, word)
    pointed = np.zeros(len(rows), np.float32)
    pointed[ablation.pointing.chosen(maps[ablation.layer])] = 1
    n, lens = len(reading.positions), ablation.lens.name
    probability = f"probability of {word.name} under the {lens} lens"
    at = f"1: pointed at by the {lens} lens at layer {ablation.layer}"
    return (
        Channel("lens_word", (LAYER, POSITION), _placed(np.exp([*maps.values()]), rows, n), "", probability),
        Channel("pointed_word", (POSITION,), _placed(pointed, rows, n), "", at),
    )


def _causal_channels(
    ablation: PointedAblation,
    trace: Trace,
    reading: Reading,
    rows: NDArray[np.intp],
    record: Mapping[str, Any],
) -> tuple[Channel, ...]:
    """Falls at the centres of the blocks."""
    grid = patch_grid(trace.inputs.patch_places)
    parts = blocks(grid, ablation.block, ablation.step)
    if len(rows) != record["patches"] or len(rows) != len(grid) or len(parts) != len(record["causal_map"]):
        raise SelectionError("the reading and what was measured have other patches")
    side = ablation.block
    size = f"{side} x {side} patches around it are" if side > 1 else "patch is"
    made: list[Channel] = []
    for name, key, what in (
        ("causal_word", "causal_map", "the word in the answer"),
        ("causal_answer", "causal_answer", "the whole answer"),
    ):
        values = np.full(len(grid), np.nan, np.float32)
        values[[part.centre for part in parts]] = record[key]
        text = (
            f"how far the log-probability of {what} falls when the {size} replaced by {ablation.fillers.name}"
        )
        made.append(Channel(name, (POSITION,), _placed(values, rows, len(reading.positions)), "nats", text))
    return tuple(made)
