"""From records of fidelity to rows with intervals over pictures; directions are what is ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from patchlens.cause.finding import Row, compared, jackknifed, looked_at_together
from patchlens.stats.intervals import OF_UNIT, Jackknife, halves
from patchlens.stats.ranks import correlated, partial

Array = NDArray[np.float64]
Figures = Mapping[str, Sequence[Jackknife]]
"""By name, rank correlations with the true effect: their mean over layers, then each layer's."""
UNIT: Final = "Spearman"
_SHUFFLES: Final = 20


def rows_of(
    records: Sequence[Mapping[str, Any]],
    lenses: Sequence[str],
    layers: Sequence[int],
    basis: Literal["principal", "lens"],
    seed: int,
) -> tuple[Row, ...]:
    """Rows of each lens: the mean over layers beside its controls, the answer's word, then layer by layer.

    Args:
        records: one per picture.
        lenses: names, the logit lens among them or not.
        layers: their numbers, in the records' order.
        basis: whether lenses were asked of the same directions, so that they can be compared.
        seed: of shuffles and halves.
    """
    figures = {name: figures_of(records, name, seed) for name in lenses}
    against = looked_at_together(
        [_row(f"{name}, against size", own, "size") for name, own in figures.items()]
    )
    rows: list[Row] = []
    for (name, own), beside in zip(figures.items(), against, strict=True):
        first, *more = _means(own, name)
        rows += [first, beside, *more]
        if name != "logit" and "logit" in figures and basis == "principal":
            rows.append(
                jackknifed(f"{name}, against logit", UNIT, own["lens"][0], figures["logit"]["lens"][0])
            )
        rows.append(_word(records, name, seed))
    by_layer = [
        _row(f"{name}, layer {layer}, against size", own, "size", index)
        for name, own in figures.items()
        for index, layer in enumerate(layers, 1)
    ]
    return (*rows, *looked_at_together(by_layer))


def sentence_of(rows: Sequence[Row], lenses: Sequence[str]) -> str:
    """What the figures support: the highest of the lenses, beside the size of the step alone."""
    by_name = {row.name: row for row in rows}
    whole = {name: by_name[f"{name}, against size"] for name in lenses}
    known = {name: row.value.value for name, row in whole.items() if row.value.value is not None}
    if not known:
        return "No figure is defined here: foretold or true effects are the same for all directions."
    best = max(known, key=lambda name: known[name])
    row = whole[best]
    said = f"Mean over layers, {best} ranks the directions by their true effect with {row.value}"
    if row.stands_out and row.is_higher:
        return f"{said}, better than the size of the step alone does, {row.control}."
    return (
        f"{said}; the size of the step alone does so with {row.control}, so this does not show that the lens "
        "knows more of a direction than how far the states differ along it."
    )


def figures_of(records: Sequence[Mapping[str, Any]], name: str, seed: int) -> Figures:
    """Rank correlations over directions, of effects averaged over pictures: all of them, and halves.

    ``lens`` is what the lens foretold against the true effect, ``size`` the size of the step in its place,
    ``shift`` another layer's lens, ``shuffled`` the mean over shuffles of the directions, and ``beyond``
    what is left of ``lens`` with the size held fixed.
    """
    weights = halves(len(records), seed)
    ranks = {
        field: rankdata(np.tensordot(weights, _stacked(records, name, field), 1), axis=-1)
        for field in ("foretold", "true", "size", "shift")
    }
    true, size = ranks["true"], ranks["size"]
    found = {field: correlated(ranks[field], true) for field in ("foretold", "size", "shift")}
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(true.shape[-1]) for _ in range(_SHUFFLES)]
    shuffled = [correlated(ranks["foretold"][..., order], true) for order in orders]
    every = {
        "lens": found["foretold"],
        "size": found["size"],
        "shift": found["shift"],
        "shuffled": np.mean(shuffled, axis=0),
        "beyond": partial(found["foretold"], correlated(ranks["foretold"], size), found["size"]),
    }
    return {field: over_pictures(values, len(records)) for field, values in every.items()}


def over_pictures(values: Array, n: int) -> tuple[Jackknife, ...]:
    """The mean over layers, then each layer, of figures ``[1 + half, layer]`` over ``n`` pictures, all first.

    Noise lowers a rank correlation, so that the figure errs low where pictures are few. The interval does not
    make up for that.
    """
    columns = np.column_stack([values.mean(1), values]).T
    return tuple(Jackknife(float(own[0]), own[1:], n, n // 2) for own in columns)


def _means(own: Figures, name: str) -> list[Row]:
    rows = [
        _row(name, own, "shuffled"),
        Row(f"{name}, size held fixed", UNIT, own["beyond"][0].estimate(OF_UNIT[UNIT])),
    ]
    shift = zip(own["lens"], own["shift"], strict=True)
    if not all(np.array_equal(lens.parts, other.parts, equal_nan=True) for lens, other in shift):
        rows.append(_row(f"{name}, against another layer's lens", own, "shift"))
    return rows


def _row(name: str, own: Figures, control: str, place: int = 0) -> Row:
    """What the lens foretells, a control, and their difference."""
    return jackknifed(name, UNIT, own["lens"][place], own[control][place])


def _word(records: Sequence[Mapping[str, Any]], name: str, seed: int) -> Row:
    """Signed change of the answer's word, over the directions of one picture at a time; mean over layers."""
    rng = np.random.default_rng([seed, 18])
    pairs: list[tuple[float, float]] = []
    for record in records:
        foretold, true = (rankdata(record[name][field], axis=-1) for field in ("word", "true_word"))
        order = rng.permutation(foretold.shape[1])
        both = correlated(foretold, true), correlated(foretold[:, order], true)
        if not np.isnan(both).all(axis=1).any():
            pairs.append((float(np.nanmean(both[0])), float(np.nanmean(both[1]))))
    return compared(f"{name}, answer's word", UNIT, *([pair[side] for pair in pairs] for side in (0, 1)))


def _stacked(records: Sequence[Mapping[str, Any]], name: str, field: str) -> Array:
    """``[picture, layer, direction]``; layers with fewer directions than others cut all to the fewest."""
    fewest = min(len(row) for record in records for row in record[name][field])
    return np.array([[row[:fewest] for row in record[name][field]] for record in records], float)
