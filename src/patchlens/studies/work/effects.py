"""What becomes of an answer when the patches that a lens points at are ablated, beside random ones."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from patchlens.axes import PositionKind
from patchlens.causal import Ablate, Patches
from patchlens.causal.pointing import Numbers, Top
from patchlens.data.item import Item
from patchlens.reading.reading import Reading
from patchlens.studies.schema import EFFECTS
from patchlens.studies.work.followed import Followed
from patchlens.trace import Trace

POINTED: Final = Top(0.1)
"""Of a picture's patches, those that are ablated together."""
DRAWS: Final = 8
"""Random sets of as many patches; the control is their mean."""


def effect_rows(
    item: Item, trace: Trace, readings: Mapping[str, Reading], words: Sequence[Followed]
) -> dict[str, pa.Table]:
    """Change of the whole answer's log-probability, in nats, under ablations of patches.

    An ablated patch gets the mean state of all patches of its prompt, as they enter the decoder. ``pointed``:
    the tenth of the patches where the lens gives the answer's word the most, each at the layer where that is
    highest; its control is the mean over `DRAWS` random sets of as many, drawn by the item's name. ``all``:
    every patch, without control. No row without an answer or a picture, and no ``pointed`` where the lens
    reads no patches. What has no part in a lens is run once for all.

    Args:
        item: what was read.
        trace: of it, through no lens.
        readings: through each lens, by its name.
        words: the words followed, in each of the readings.

    Returns:
        The rows of each lens.
    """
    if not trace.answer.ids or not trace.inputs.grids:
        return {lens: EFFECTS.schema.empty_table() for lens in readings}
    total = len(trace.inputs.patches)
    found = {lens: _pointed(reading, words, total) for lens, reading in readings.items()}
    pointed = {lens: numbers for lens, numbers in found.items() if numbers is not None}
    size, rng = POINTED.count(total), np.random.default_rng(zlib.crc32(item.name.encode()))
    drawn = [rng.choice(total, size, replace=False) for _ in range(DRAWS)]
    sets = [range(total), *(numbers.tolist() for numbers in (*drawn, *pointed.values()))]
    every, *rest = trace.effects([Ablate(Patches(numbers)) for numbers in sets]).change.tolist()
    control = float(np.mean(rest[:DRAWS]))
    rows = {lens: [_row(item, "all", total, every, None, 0)] for lens in readings}
    for lens, effect in zip(pointed, rest[DRAWS:], strict=True):
        rows[lens].append(_row(item, "pointed", size, effect, control, DRAWS))
    return {lens: pa.Table.from_pylist(own, schema=EFFECTS.schema) for lens, own in rows.items()}


def _pointed(reading: Reading, words: Sequence[Followed], total: int) -> Numbers | None:
    rows = np.flatnonzero(reading.positions.kind == PositionKind.PATCH)
    token = next((word.target.token for word in words if word.source == "answer"), None)
    if token is None or len(rows) != total:
        return None
    column = [target.token for target in reading.targets].index(token)
    return POINTED.chosen(reading.target_logprobs[:, rows, column].max(0))


def _row(
    item: Item, change: str, patches: int, effect: float, control: float | None, draws: int
) -> dict[str, object]:
    return {
        "item": item.name,
        "group": item.group,
        "change": change,
        "layer": 0,
        "patches": patches,
        "effect": effect,
        "control": control,
        "draws": draws,
    }
