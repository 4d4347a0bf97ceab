"""The values that are held against each other: by model, lens and group, an item a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from patchlens.stats.intervals import Array
from patchlens.studies.layout import ALL
from patchlens.studies.report.summaries import LAYER, SUMMARIES
from patchlens.studies.report.tables import Row, Table


@dataclass(frozen=True)
class Side:
    """Items of one model, lens and group, and their values ``[item, quantity]`` in the order of SUMMARIES."""

    items: tuple[str, ...]
    values: Array


Sides = dict[tuple[str, str, str], Side]
"""By model, lens (empty: for each quantity, the lens that knows it of most items) and group (or all)."""


def sides_of(summary: Table) -> Sides:
    """All sides of the table of ``summaries``."""
    own: dict[tuple[str, str, str], list[Row]] = {}
    for row in summary.rows:
        model, lens, _, group = (str(value) for value in row[:4])
        for key in ((model, lens, group), (model, lens, ALL)):
            own.setdefault(key, []).append(row)
    sides = {key: _side(rows) for key, rows in own.items()}
    free: Sides = {}
    for model in dict.fromkeys(model for model, _, _ in sides):
        lenses = [lens for name, lens, group in sides if (name, group) == (model, ALL)]
        known = [(~np.isnan(sides[model, lens, ALL].values)).sum(0) for lens in lenses]
        fullest = np.argmax(known, axis=0)
        for group in dict.fromkeys(group for name, _, group in sides if name == model):
            parts = {
                i: sides[model, lens, group] for i, lens in enumerate(lenses) if (model, lens, group) in sides
            }
            free[model, "", group] = _put_together(parts, fullest)
    return sides | free


def matched(one: Side, other: Side) -> tuple[Side, Side]:
    """Both sides with the items that both have, in one order."""
    place = {item: i for i, item in enumerate(other.items)}
    pairs = [(i, place[item]) for i, item in enumerate(one.items) if item in place]
    rows = np.array(pairs, np.int64).reshape(-1, 2)
    items = tuple(one.items[i] for i, _ in pairs)
    return Side(items, one.values[rows[:, 0]]), Side(items, other.values[rows[:, 1]])


def joined(sides: Sequence[Side]) -> Side:
    """Sides of other items as one."""
    items = tuple(item for side in sides for item in side.items)
    return Side(items, np.concatenate([side.values for side in sides]))


def in_depths(side: Side, last: int) -> Side:
    """Layers as shares of the number of the last one."""
    layers = np.array([quantity.unit == LAYER for quantity in SUMMARIES])
    return replace(side, values=np.where(layers, side.values / max(last, 1), side.values))


def _side(rows: Sequence[Row]) -> Side:
    values = np.array([[np.nan if value is None else value for value in row[4:]] for row in rows], np.float64)
    return Side(tuple(str(row[2]) for row in rows), values)


def _put_together(parts: Mapping[int, Side], chosen: NDArray[np.intp]) -> Side:
    """Every item of any lens, each quantity by the lens whose number is ``chosen`` for it."""
    items = tuple(dict.fromkeys(item for side in parts.values() for item in side.items))
    place = {item: i for i, item in enumerate(items)}
    values = np.full((len(items), len(chosen)), np.nan)
    for number, side in parts.items():
        rows = [place[item] for item in side.items]
        values[np.ix_(rows, chosen == number)] = side.values[:, chosen == number]
    return Side(items, values)
