"""From records of fidelity to rows with intervals: pictures are resampled, directions are what is ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from patchlens.cause.finding import Row, mean
from patchlens.stats.intervals import RESAMPLES, Estimate
from patchlens.stats.ranks import correlated, mid_ranks, partial

Array = NDArray[np.float64]
Figures = Mapping[str, Array]
"""By name, rank correlations with the true effect: ``[1 + resample, layer]``, all pictures first."""
UNIT: Final = "Spearman"
_SHUFFLES: Final = 20
_WIDE: Final = 1.96


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
        seed: of resamples and shuffles.
    """
    figures = {name: resampled(records, name, seed) for name in lenses}
    rows: list[Row] = []
    for name, own in figures.items():
        rows += _means(own, name)
        if name != "logit" and "logit" in figures and basis == "principal":
            rows.append(_row(f"{name}, against logit", own["lens"], figures["logit"]["lens"]))
        rows.append(_word(records, name, seed))
    return (
        *rows,
        *(
            _row(f"{name}, layer {layer}, against size", own["lens"], own["size"], index)
            for name, own in figures.items()
            for index, layer in enumerate(layers)
        ),
    )


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


def resampled(records: Sequence[Mapping[str, Any]], name: str, seed: int) -> Figures:
    """Rank correlations over directions, of effects averaged over pictures, under resamples of the pictures.

    ``lens`` is what the lens foretold against the true effect, ``size`` the size of the step in its place,
    ``shift`` another layer's lens, ``shuffled`` the mean over shuffles of the directions, and ``beyond``
    what is left of ``lens`` with the size held fixed.
    """
    n = len(records)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES) if n > 1 else np.ones((0, 1))
    weights = np.concatenate([np.ones((1, n)), weights]) / n
    ranks = {
        field: mid_ranks(np.tensordot(weights, _stacked(records, name, field), 1))
        for field in ("foretold", "true", "size", "shift")
    }
    true, size = ranks["true"], ranks["size"]
    found = {field: correlated(ranks[field], true) for field in ("foretold", "size", "shift")}
    orders = [rng.permutation(true.shape[-1]) for _ in range(_SHUFFLES)]
    return {
        "lens": found["foretold"],
        "size": found["size"],
        "shift": found["shift"],
        "shuffled": np.mean([correlated(ranks["foretold"][..., order], true) for order in orders], axis=0),
        "beyond": partial(found["foretold"], correlated(ranks["foretold"], size), found["size"]),
    }


def interval(values: Array) -> Estimate:
    """The first value, 1.96 standard deviations of the others to either side.

    Means of a resample are noisier than those of all pictures, and noise lowers a rank correlation: resamples
    lie below the value, so that their percentiles would not stand around it. For the same reason the value
    itself errs low if pictures are few, which the interval does not make up for.

    Args:
        values: ``[1 + resample]``, that of all pictures first; no resample gives no interval.
    """
    if np.isnan(values[0]):
        return Estimate(None, None, None)
    if len(values) < 3 or np.isnan(values).any():
        return Estimate(float(values[0]), None, None)
    wide = _WIDE * float(values[1:].std(ddof=1))
    return Estimate(float(values[0]), float(values[0]) - wide, float(values[0]) + wide)


def _means(own: Figures, name: str) -> list[Row]:
    rows = [
        _row(name, own["lens"], own["shuffled"]),
        _row(f"{name}, against size", own["lens"], own["size"]),
        Row(f"{name}, size held fixed", UNIT, interval(own["beyond"].mean(1))),
    ]
    if not np.array_equal(own["lens"], own["shift"], equal_nan=True):
        rows.append(_row(f"{name}, against another layer's lens", own["lens"], own["shift"]))
    return rows


def _row(name: str, own: Array, control: Array, layer: int | None = None) -> Row:
    """A figure, its control and their difference: the mean over layers, or of one."""
    pair = [each.mean(1) if layer is None else each[:, layer] for each in (own, control)]
    return Row(name, UNIT, *(interval(each) for each in (*pair, pair[0] - pair[1])))


def _word(records: Sequence[Mapping[str, Any]], name: str, seed: int) -> Row:
    """Signed change of the answer's word, over the directions of one picture at a time; mean over layers."""
    rng = np.random.default_rng([seed, 18])
    pairs: list[tuple[float, float]] = []
    for record in records:
        foretold, true = (mid_ranks(np.array(record[name][field])) for field in ("word", "true_word"))
        order = rng.permutation(foretold.shape[1])
        both = correlated(foretold, true), correlated(foretold[:, order], true)
        if not np.isnan(both).all(axis=1).any():
            pairs.append((float(np.nanmean(both[0])), float(np.nanmean(both[1]))))
    label = f"{name}, answer's word"
    if len(records) < 2:
        return Row(label, UNIT, Estimate(pairs[0][0] if pairs else None, None, None))
    return Row(
        label,
        UNIT,
        mean([own for own, _ in pairs], seed),
        mean([control for _, control in pairs], seed),
        mean([own - control for own, control in pairs], seed),
    )


def _stacked(records: Sequence[Mapping[str, Any]], name: str, field: str) -> Array:
    """``[picture, layer, direction]``; layers with fewer directions than others cut all to the fewest."""
    fewest = min(len(row) for record in records for row in record[name][field])
    return np.array([[row[:fewest] for row in record[name][field]] for record in records], float)
