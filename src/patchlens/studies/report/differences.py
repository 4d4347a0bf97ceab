"""What differs between groups, models and lenses: every comparison, each beside its null."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Final, Literal

import numpy as np

from patchlens.stats.chance import DRAWS, holm
from patchlens.stats.differences import Difference, against_rest, paired, unpaired
from patchlens.studies.layout import ALL, REST
from patchlens.studies.report.sides import Side, Sides, in_depths, joined, matched, sides_of
from patchlens.studies.report.summaries import LAYER, NO_LENS, SUMMARIES
from patchlens.studies.report.tables import Quantity, Row, Table

Between = Literal["groups", "models", "lenses"]

MOST_PAIRED: Final = 8
"""Groups; where there are more, each is compared with all others together."""
DEPTH: Final = "share of the layers"

_COLUMNS: Final = (
    *("between", "model", "lens", "first", "second", "quantity", "unit", "first_mean", "second_mean"),
    *("first_items", "second_items", "left_out", "difference", "low", "high", "effect_size", "effect"),
    *("effect_low", "effect_high", "null_low", "null_high", "p", "p_holm", "tests"),
)


@dataclass(frozen=True)
class _Comparison:
    """Two sides and what they are called; a lens that is empty stands for what no lens has a part in."""

    between: Between
    model: str
    lens: str
    first: str
    second: str
    sides: tuple[Side, Side]
    in_depths: bool = False

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        free = self.lens == "" and self.between != "lenses"
        chosen = (q for q in SUMMARIES if (q.name in NO_LENS) == free)
        return tuple(
            replace(q, unit=DEPTH, high=1.0) if self.in_depths and q.unit == LAYER else q for q in chosen
        )


_Together = tuple[_Comparison, ...]
"""Comparisons that share their draws: one, or each group of a model and lens with all others."""


def differences(
    summary: Table,
    last_layers: Mapping[str, int],
    draws: int = DRAWS,
    progress: Callable[[int, int], None] | None = None,
) -> Table:
    """All comparisons of groups, models and lenses, with p-values corrected by Holm within each of the three.

    Args:
        summary: the table of ``summaries``.
        last_layers: number of the last layer of each model. Between models that differ in it, layers are
            compared as shares of the layers.
        draws: how many relabelled studies make a null.
        progress: told how many of them are made, of how many.
    """
    made: dict[Between, list[tuple[_Comparison, Quantity, Difference]]] = {
        "groups": [],
        "models": [],
        "lenses": [],
    }
    wanted = list(_comparisons(sides_of(summary), last_layers))
    for seed, together in enumerate(wanted):

        def drawn(some: int, before: int = seed * draws) -> None:
            if progress:
                progress(before + some, len(wanted) * draws)

        for comparison, found in zip(together, _compared(together, seed, draws, drawn), strict=True):
            listed = zip(comparison.quantities, found, strict=True)
            made[comparison.between] += [(comparison, quantity, one) for quantity, one in listed if one]
        drawn(draws)
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


def _comparisons(sides: Sides, last_layers: Mapping[str, int]) -> Generator[_Together]:
    models, lenses, groups = (tuple(dict.fromkeys(key[place] for key in sides)) for place in range(3))
    yield from _between_groups(sides, models, lenses, [group for group in groups if group != ALL])
    for lens, (one, other) in product(lenses, combinations(models, 2)):
        if pair := _pair(sides, (one, lens, ALL), (other, lens, ALL)):
            yield (_between_models(one, other, lens, pair, last_layers),)
    for model, (one, other) in product(models, combinations([lens for lens in lenses if lens], 2)):
        if pair := _pair(sides, (model, one, ALL), (model, other, ALL)):
            yield (_Comparison("lenses", model, "", one, other, matched(*pair)),)


def _between_groups(
    sides: Sides, models: Sequence[str], lenses: Sequence[str], groups: Sequence[str]
) -> Generator[_Together]:
    for lens, model in product(lenses, models):
        own = {group: sides[model, lens, group] for group in groups if (model, lens, group) in sides}
        if len(groups) > MOST_PAIRED and len(own) > 1:
            yield tuple(
                _Comparison("groups", model, lens, group, REST, (side, _others(own, group)))
                for group, side in own.items()
            )
        elif len(groups) <= MOST_PAIRED:
            for one, other in combinations(own, 2):
                yield (_Comparison("groups", model, lens, one, other, (own[one], own[other])),)


def _others(own: Mapping[str, Side], group: str) -> Side:
    return joined([side for name, side in own.items() if name != group])


def _pair(
    sides: Sides, first: tuple[str, str, str], second: tuple[str, str, str]
) -> tuple[Side, Side] | None:
    return (sides[first], sides[second]) if first in sides and second in sides else None


def _between_models(
    one: str, other: str, lens: str, pair: tuple[Side, Side], last_layers: Mapping[str, int]
) -> _Comparison:
    apart = last_layers[one] != last_layers[other]
    if apart:
        pair = in_depths(pair[0], last_layers[one]), in_depths(pair[1], last_layers[other])
    return _Comparison("models", "", lens, one, other, matched(*pair), apart)


def _compared(
    together: _Together, seed: int, draws: int, drawn: Callable[[int], None]
) -> list[list[Difference | None]]:
    comparison = together[0]
    names = {quantity.name for quantity in comparison.quantities}
    columns = np.array([quantity.name in names for quantity in SUMMARIES])
    within = [quantity.within for quantity in comparison.quantities]
    if comparison.second == REST and comparison.between == "groups":
        groups = [one.sides[0].values[:, columns] for one in together]
        return against_rest(groups, seed, draws, drawn, within)
    first, second = (side.values[:, columns] for side in comparison.sides)
    return [(unpaired if comparison.between == "groups" else paired)(first, second, seed, draws, within)]


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
