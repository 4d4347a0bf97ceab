"""What becomes of an answer when the patches that a lens points at are ablated, beside random ones."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from patchlens.axes import PositionKind
from patchlens.causal import Ablate, Mean, Patches, patch_states, rerun
from patchlens.data.item import Item
from patchlens.reading.reading import Reading
from patchlens.studies.schema import EFFECTS
from patchlens.studies.work.followed import Followed
from patchlens.trace import Trace

SHARE: Final = 0.1
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
    told = trace.adapter.continued(trace.inputs, trace.answer.ids)
    states = patch_states(trace.adapter, [told])
    by, total = Mean(states), len(states)
    size = math.ceil(SHARE * total)
    drawn = _drawn(item.name, total, size)
    found = {lens: _pointed(reading, words, total, size) for lens, reading in readings.items()}
    pointed = {lens: numbers.tolist() for lens, numbers in found.items() if numbers is not None}
    sets = [range(total), *drawn, *pointed.values()]
    runs = rerun(trace.adapter, told).effects([(), *(Ablate(Patches(numbers), by) for numbers in sets)])
    plain, every, *rest = runs.total.tolist()
    control = float(np.mean(rest[:DRAWS])) - plain
    effects = dict(zip(pointed, rest[DRAWS:], strict=True))
    rows = {lens: [_row(item, "all", total, every - plain, None, 0)] for lens in readings}
    for lens, then in effects.items():
        rows[lens].append(_row(item, "pointed", size, then - plain, control, DRAWS))
    return {lens: pa.Table.from_pylist(own, schema=EFFECTS.schema) for lens, own in rows.items()}


def _drawn(name: str, total: int, size: int) -> list[list[int]]:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return [rng.choice(total, size, replace=False).tolist() for _ in range(DRAWS)]


def _pointed(reading: Reading, words: Sequence[Followed], total: int, size: int) -> NDArray[np.int64] | None:
    rows = np.flatnonzero(reading.positions.kind == PositionKind.PATCH)
    token = next((word.target.token for word in words if word.source == "answer"), None)
    if token is None or len(rows) != total:
        return None
    column = [target.token for target in reading.targets].index(token)
    best = reading.target_logprobs[:, rows, column].max(0)
    return np.argsort(-best, kind="stable")[:size]


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
