"""From records of fidelity to rows with intervals: pictures are resampled, directions are what is ranked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from patchlens.experiments.finding import Row, mean
from patchlens.experiments.ranks import partial_spearman, spearman
from patchlens.fit.intervals import Estimate, bootstrap

if TYPE_CHECKING:
    from patchlens.experiments.fidelity import FidelitySettings

Array = NDArray[np.float64]
Means = list[Array]
"""Means over pictures, ``[resample, layer, direction]`` each."""
UNIT: Final = "Spearman"
_SHUFFLES: Final = 20
_FIELDS: Final = ("foretold", "true", "size", "shift")
FORETOLD, TRUE, SIZE, SHIFT = range(4)


def rows_of(
    records: Sequence[dict[str, Any]], lenses: Sequence[str], layers: Sequence[int], settings: FidelitySettings
) -> tuple[Row, ...]:
    """Rows of each lens: the mean over layers beside its controls, the answer's word, then layer by layer."""
    rows: list[Row] = []
    for name in lenses:
        rows += _means(_Ranked(records, name, settings.seed), name)
        if name != "logit" and "logit" in lenses and settings.basis == "principal":
            rows.append(_against_logit(records, name, settings.seed))
        rows.append(_word(records, name, settings.seed))
    for name in lenses:
        ranked = _Ranked(records, name, settings.seed)
        for index, layer in enumerate(layers):
            rows.append(ranked.row(f"{name}, layer {layer}, against size", _rho, _rho_size, index))
    return tuple(rows)


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
    if row.stands_out and row.difference is not None and (row.difference.value or 0) > 0:
        return f"{said}, better than the size of the step alone does, {row.control}."
    return (
        f"{said}; the size of the step alone does so with {row.control}, so this does not show that the lens "
        "knows more of a direction than how far the states differ along it."
    )


class _Ranked:
    """One lens's figures of all pictures, resampled together."""

    def __init__(self, records: Sequence[dict[str, Any]], name: str, seed: int) -> None:
        self.shape = len(records[0][name]["true"]), max(map(len, records[0][name]["true"]))
        self.sums = [_stacked(records, name, field) for field in _FIELDS]
        self.seed = seed

    def row(self, name: str, own: _Figure, control: _Figure, layer: int | None = None) -> Row:
        """A figure, its control, and their difference in the same resamples."""
        return Row(
            name,
            UNIT,
            self.estimate(own, layer),
            self.estimate(control, layer),
            self.estimate(lambda means: own(means) - control(means), layer),
        )

    def estimate(self, figure: _Figure, layer: int | None = None) -> Estimate:
        """Mean over layers, or one of them, with its interval; none of a single picture."""

        def statistic(means: Sequence[Array]) -> Array:
            values = figure([each.reshape(-1, *self.shape) for each in means])
            return values.mean(1) if layer is None else values[:, layer]

        return _estimate(self.sums, statistic, self.seed)


_Figure = Callable[[Means], Array]


def _means(ranked: _Ranked, name: str) -> list[Row]:
    rows = [
        ranked.row(f"{name}", _rho, _shuffled(ranked)),
        ranked.row(f"{name}, against size", _rho, _rho_size),
        Row(f"{name}, size held fixed", UNIT, ranked.estimate(_rho_beyond_size)),
    ]
    if not np.array_equal(ranked.sums[FORETOLD], ranked.sums[SHIFT]):
        rows.append(ranked.row(f"{name}, against another layer's lens", _rho, _rho_shift))
    return rows


def _rho(means: Means) -> Array:
    return spearman(means[FORETOLD], means[TRUE])


def _rho_size(means: Means) -> Array:
    return spearman(means[SIZE], means[TRUE])


def _rho_shift(means: Means) -> Array:
    return spearman(means[SHIFT], means[TRUE])


def _rho_beyond_size(means: Means) -> Array:
    return partial_spearman(means[FORETOLD], means[TRUE], means[SIZE])


def _shuffled(ranked: _Ranked) -> _Figure:
    """The mean over some shuffles of the directions, the same in every resample."""
    rng = np.random.default_rng([ranked.seed, 17])
    orders = [rng.permutation(ranked.shape[1]) for _ in range(_SHUFFLES)]

    def figure(means: Means) -> Array:
        return np.mean([spearman(means[FORETOLD][..., order], means[TRUE]) for order in orders], axis=0)

    return figure


def _against_logit(records: Sequence[dict[str, Any]], name: str, seed: int) -> Row:
    own, logit = _Ranked(records, name, seed), _Ranked(records, "logit", seed)

    def difference(means: Sequence[Array]) -> Array:
        shaped = [each.reshape(-1, *own.shape) for each in means]
        return (spearman(shaped[0], shaped[2]) - spearman(shaped[1], shaped[2])).mean(1)

    sums = [own.sums[FORETOLD], logit.sums[FORETOLD], own.sums[TRUE]]
    return Row(
        f"{name}, against logit", UNIT, own.estimate(_rho), logit.estimate(_rho), _estimate(sums, difference, seed)
    )


def _word(records: Sequence[dict[str, Any]], name: str, seed: int) -> Row:
    """Signed change of the answer's word, over the directions of one picture at a time; mean over layers."""
    rng = np.random.default_rng([seed, 18])
    own: list[float | None] = []
    control: list[float | None] = []
    for record in records:
        foretold, true = (np.array(record[name][field]) for field in ("word", "true_word"))
        own.append(_known(spearman(foretold, true)))
        control.append(_known(spearman(foretold[:, rng.permutation(foretold.shape[1])], true)))
    if len(records) < 2:
        return Row(f"{name}, log-probability of the answer's word", UNIT, Estimate(own[0], None, None))
    both = [(a, b) for a, b in zip(own, control, strict=True) if a is not None and b is not None]
    return Row(
        f"{name}, log-probability of the answer's word",
        UNIT,
        mean([a for a, _ in both], seed),
        mean([b for _, b in both], seed),
        mean([a - b for a, b in both], seed),
    )


def _known(values: Array) -> float | None:
    return None if np.isnan(values).all() else float(np.nanmean(values))


def _stacked(records: Sequence[dict[str, Any]], name: str, field: str) -> Array:
    """``[picture, layer * direction]``; layers with fewer directions are cut to the fewest."""
    fewest = min(len(row) for record in records for row in record[name][field])
    return np.array([[row[:fewest] for row in record[name][field]] for record in records], float).reshape(
        len(records), -1
    )


def _estimate(sums: Sequence[Array], statistic: Callable[[Sequence[Array]], Array], seed: int) -> Estimate:
    found = bootstrap(np.ones(len(sums[0])), sums, statistic, seed)
    return found if len(sums[0]) > 1 else Estimate(found.value, None, None)
