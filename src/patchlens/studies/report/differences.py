"""What differs between groups, models and lenses: every comparison, each beside its null."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Final, Literal

import numpy as np

from patchlens.intervals import Array
from patchlens.studies.report.by_layer import EVENTS, MEANS, NATS, PROBABILITY, SHARE
from patchlens.studies.report.nulls import DRAWS, Difference, holm, paired, unpaired
from patchlens.studies.report.source import Source
from patchlens.studies.report.tables import ALL, Quantity, Row, Table

Between = Literal["groups", "models", "lenses"]

LAYER: Final = "layer"
DEPTH: Final = "share of the layers"

_LAST: Final = (
    Quantity("entropy_answer_last", "entropy where the answer starts, last layer", NATS),
    Quantity("probability_last", "probability of the answer's tokens, last layer", PROBABILITY, high=1.0),
)
_OF_ITEM: Final = (
    Quantity("answer_tokens", "length of the answer in tokens", "tokens"),
    Quantity("right", "answers that are right", SHARE, high=1.0),
)
SUMMARIES: Final = (
    *(Quantity(q.name, f"{q.about}, mean over layers", q.unit, q.low, q.high) for q in MEANS),
    *_LAST,
    *(Quantity(q.name, f"layer where {q.about}", LAYER) for q in EVENTS),
    *_OF_ITEM,
)
"""One number per model, lens and item; these are what differences are of."""

_NO_LENS: Final = frozenset({"attention_image", *(quantity.name for quantity in _OF_ITEM)})
"""Quantities that no lens has a part in: they are compared once per model."""

_SUMMARIES: Final = """
    WITH last AS (SELECT model, max(layer) AS last FROM by_layer GROUP BY model),
    mean AS (
        SELECT model, lens, item, any_value("group") AS "group", {means},
            any_value(entropy_answer) FILTER (layer = last) AS entropy_answer_last,
            any_value(probability) FILTER (layer = last) AS probability_last
        FROM by_layer JOIN last USING (model) GROUP BY model, lens, item
    ),
    happened AS (
        SELECT model, lens, item, {events} FROM events GROUP BY model, lens, item
    )
    SELECT mean.model, mean.lens, mean.item, mean."group", {columns}
    FROM mean LEFT JOIN happened USING (model, lens, item) JOIN done USING (model, item)
    ORDER BY mean.model, mean.lens, done.number, mean.item
"""
_COLUMNS: Final = (
    *("between", "model", "lens", "first", "second", "quantity", "unit", "first_mean", "second_mean"),
    *("first_items", "second_items", "left_out", "difference", "low", "high", "effect_size", "effect"),
    *("effect_low", "effect_high", "null_low", "null_high", "p", "p_holm", "tests"),
)


def summaries(source: Source) -> Table:
    """One row per model, lens and done item: its means over layers, its emergence layers, its answer.

    An event's layer is empty where it never happens, or where the item has nothing that could.
    """
    means = ", ".join(f"avg({quantity.name}) AS {quantity.name}" for quantity in MEANS)
    events = ", ".join(f"any_value(layer) FILTER (event = '{q.name}') AS {q.name}" for q in EVENTS)
    told = {"answer_tokens": "len(answer_ids)", "right": '"right"::INT'}
    columns = ", ".join(f"{told.get(q.name, q.name)} AS {q.name}" for q in SUMMARIES)
    rows = source.query(_SUMMARIES.format(means=means, events=events, columns=columns))
    return Table(
        "summaries",
        "One row per model, lens and item: means over layers, layers of emergence, length of the answer.",
        ("model", "lens", "item", "group", *(quantity.name for quantity in SUMMARIES)),
        tuple(rows),
    )


@dataclass(frozen=True)
class _Side:
    """Items of one model, lens and group, and their values ``[item, quantity]`` in the order of SUMMARIES."""

    items: tuple[str, ...]
    values: Array


_Sides = dict[tuple[str, str, str], _Side]
"""By model, lens (empty: whichever has most items) and group (or all)."""


@dataclass(frozen=True)
class _Comparison:
    """Two sides and what they are called; a lens that is empty stands for what no lens has a part in."""

    between: Between
    model: str
    lens: str
    first: str
    second: str
    sides: tuple[_Side, _Side]
    in_depths: bool = False

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        free = self.lens == "" and self.between != "lenses"
        chosen = (q for q in SUMMARIES if (q.name in _NO_LENS) == free)
        return tuple(replace(q, unit=DEPTH) if self.in_depths and q.unit == LAYER else q for q in chosen)


def differences(summary: Table, last_layers: Mapping[str, int], draws: int = DRAWS) -> Table:
    """All comparisons of groups, models and lenses, with p-values corrected by Holm within each of the three.

    Args:
        summary: the table of ``summaries``.
        last_layers: number of the last layer of each model. Between models that differ in it, layers are
            compared as shares of the layers.
        draws: how many relabelled studies make a null.
    """
    made: dict[Between, list[tuple[_Comparison, Quantity, Difference]]] = {
        "groups": [],
        "models": [],
        "lenses": [],
    }
    for seed, comparison in enumerate(_comparisons(_sides(summary), last_layers)):
        found = _compared(comparison, seed, draws)
        listed = zip(comparison.quantities, found, strict=True)
        made[comparison.between] += [(comparison, quantity, one) for quantity, one in listed if one]
    rows: list[Row] = []
    for own in made.values():
        corrected = holm([found.p for _, _, found in own])
        tests = sum(p is not None for p in corrected)
        rows += [_row(*entry, p, tests) for entry, p in zip(own, corrected, strict=True)]
    about = (
        "First less second, with a 95% interval, the effect size (Hedges' g between groups, d_z between "
        f"models and lenses on the same items), and the null from {draws:,} relabelled studies; p corrected "
        "by Holm over all tests between groups, between models, and between lenses."
    )
    return Table("differences", about, _COLUMNS, tuple(rows))


def _sides(summary: Table) -> _Sides:
    own: dict[tuple[str, str, str], list[Row]] = {}
    for row in summary.rows:
        model, lens, _, group = (str(value) for value in row[:4])
        for key in ((model, lens, group), (model, lens, ALL)):
            own.setdefault(key, []).append(row)
    sides = {key: _side(rows) for key, rows in own.items()}
    for model in dict.fromkeys(model for model, _, _ in own):
        lenses = {
            lens: len(rows) for (name, lens, group), rows in own.items() if (name, group) == (model, ALL)
        }
        fullest = max(lenses, key=lambda lens: lenses[lens])
        sides |= {(model, "", g): sides[m, lens, g] for m, lens, g in own if (m, lens) == (model, fullest)}
    return sides


def _side(rows: Sequence[Row]) -> _Side:
    values = np.array([[np.nan if value is None else value for value in row[4:]] for row in rows], np.float64)
    return _Side(tuple(str(row[2]) for row in rows), values)


def _comparisons(sides: _Sides, last_layers: Mapping[str, int]) -> Generator[_Comparison]:
    models, lenses, groups = (tuple(dict.fromkeys(key[place] for key in sides)) for place in range(3))
    apart = combinations([group for group in groups if group != ALL], 2)
    for lens, model, (one, other) in product(lenses, models, apart):
        if pair := _pair(sides, (model, lens, one), (model, lens, other)):
            yield _Comparison("groups", model, lens, one, other, pair)
    for lens, (one, other) in product(lenses, combinations(models, 2)):
        if pair := _pair(sides, (one, lens, ALL), (other, lens, ALL)):
            yield _between_models(one, other, lens, pair, last_layers)
    for model, (one, other) in product(models, combinations([lens for lens in lenses if lens], 2)):
        if pair := _pair(sides, (model, one, ALL), (model, other, ALL)):
            yield _Comparison("lenses", model, "", one, other, _matched(*pair))


def _pair(
    sides: _Sides, first: tuple[str, str, str], second: tuple[str, str, str]
) -> tuple[_Side, _Side] | None:
    return (sides[first], sides[second]) if first in sides and second in sides else None


def _between_models(
    one: str, other: str, lens: str, pair: tuple[_Side, _Side], last_layers: Mapping[str, int]
) -> _Comparison:
    in_depths = last_layers[one] != last_layers[other]
    if in_depths:
        pair = _in_depths(pair[0], last_layers[one]), _in_depths(pair[1], last_layers[other])
    return _Comparison("models", "", lens, one, other, _matched(*pair), in_depths)


def _in_depths(side: _Side, last: int) -> _Side:
    layers = np.array([quantity.unit == LAYER for quantity in SUMMARIES])
    return replace(side, values=np.where(layers, side.values / max(last, 1), side.values))


def _matched(one: _Side, other: _Side) -> tuple[_Side, _Side]:
    """Both sides with the items that both have, in one order."""
    place = {item: i for i, item in enumerate(other.items)}
    pairs = [(i, place[item]) for i, item in enumerate(one.items) if item in place]
    rows = np.array(pairs, np.int64).reshape(-1, 2)
    items = tuple(one.items[i] for i, _ in pairs)
    return _Side(items, one.values[rows[:, 0]]), _Side(items, other.values[rows[:, 1]])


def _compared(comparison: _Comparison, seed: int, draws: int) -> list[Difference | None]:
    names = {quantity.name for quantity in comparison.quantities}
    columns = np.array([quantity.name in names for quantity in SUMMARIES])
    first, second = (side.values[:, columns] for side in comparison.sides)
    return (unpaired if comparison.between == "groups" else paired)(first, second, seed, draws)


def _row(
    comparison: _Comparison, quantity: Quantity, found: Difference, p_holm: float | None, tests: int
) -> Row:
    items = max(len(side.items) for side in comparison.sides)
    apart = comparison.between == "groups"
    there = sum(len(side.items) for side in comparison.sides) if apart else items
    used = found.first_items + found.second_items if apart else found.first_items
    return (
        *(comparison.between, comparison.model, comparison.lens, comparison.first, comparison.second),
        *(quantity.name, quantity.unit, found.first, found.second, found.first_items, found.second_items),
        *(there - used, found.difference, found.low, found.high),
        *("Hedges' g" if apart else "d_z", found.effect, found.effect_low, found.effect_high),
        *(found.null_low, found.null_high, found.p, p_holm, tests),
    )
