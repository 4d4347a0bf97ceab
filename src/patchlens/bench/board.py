"""The scoreboard: figures of lenses on models, each with its interval and its nulls."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final

import numpy as np

from patchlens.stats.intervals import Estimate, Range, mean, spread

FORMAT_VERSION: Final = 1
INTERVAL: Final = "95%, Student's t over seeds, within what is possible"


@dataclass(frozen=True)
class OverSeeds(Estimate):
    """A mean over seeds; ``seeds`` are the values it comes from, one each, NaN where there is none."""

    seeds: tuple[float, ...] = ()

    @property
    def mean(self) -> float:
        """The value, which there always is."""
        return math.nan if self.value is None else self.value


def over_seeds(values: Sequence[float], within: Range, pictures: int) -> OverSeeds | None:
    """A mean over seeds with its interval.

    Each value is itself a mean over many scenes that no other seed has, so the values are independent,
    however alike the patches of one scene are. Where all seeds agree to the last bit, as at a share of 0 or
    1, the interval is over the pictures instead.

    Args:
        values: one per seed, in the seeds' order; NaN where a seed has nothing to score.
        within: what a value can be.
        pictures: how many the values are means over, all seeds together.

    Returns:
        None with fewer than two values, which tell nothing of how much they vary.
    """
    known = np.array([value for value in values if not math.isnan(value)])
    if len(known) < 2:
        return None
    found = mean(known, within) if np.ptp(known) else spread(float(known[0]), 0.0, pictures, within)
    return OverSeeds(found.value, found.low, found.high, len(known), seeds=tuple(map(float, values)))


def clears(value: Estimate, null: Estimate, *, higher_is_better: bool) -> bool:
    """Whether a value beats a null: its whole interval lies on the better side of the null's.

    Stricter than a test of the difference: two intervals that just touch differ at about the 1% level.
    """
    better, worse = (value, null) if higher_is_better else (null, value)
    low = better.value if better.low is None else better.low
    high = worse.value if worse.high is None else worse.high
    return low is not None and high is not None and low > high


@dataclass(frozen=True)
class NullScore:
    """The same measurement where there is nothing to find, and whether the figure beats it."""

    estimate: OverSeeds
    cleared: bool


@dataclass(frozen=True)
class Score:
    """A metric of a lens at a layer, or over all layers before the last where ``layer`` is None."""

    metric: str
    layer: int | None
    value: OverSeeds
    nulls: Mapping[str, NullScore]

    @property
    def failed(self) -> tuple[str, ...]:
        """Nulls that it does not beat, the layer shift apart."""
        return tuple(name for name, null in self.nulls.items() if not null.cleared and name != "shift")

    @property
    def cleared(self) -> bool:
        """Whether the figure beats every null but the layer shift."""
        return not self.failed

    @property
    def own_layer(self) -> bool | None:
        """Whether it also beats the layer shift, so belongs to this layer; None if that was not asked."""
        return self.nulls["shift"].cleared if "shift" in self.nulls else None


@dataclass(frozen=True)
class LensScores:
    """One lens on one model.

    ``words_layer`` and ``maps_layer`` were chosen on validation pictures, as were ``thresholds`` by layer;
    None where the lens says nothing of patches. ``headlines`` are at these layers, ``scores`` at all.
    """

    lens: str
    params: Mapping[str, Any]
    layers: tuple[int, ...]
    layers_alike: bool
    words_layer: int | None
    maps_layer: int | None
    thresholds: Mapping[int, float]
    headlines: tuple[Score, ...]
    scores: tuple[Score, ...]

    def headline(self, metric: str) -> Score | None:
        """The headline of a metric, or None if the lens has none."""
        return next((score for score in self.headlines if score.metric == metric), None)

    def course(self, metric: str) -> tuple[Score, ...]:
        """A metric at every layer, in order."""
        return tuple(score for score in self.scores if score.metric == metric)


@dataclass(frozen=True)
class ModelScores:
    """All lenses on one model, best first; ``left_out`` says of others why they have no figure."""

    model: str
    revision: str | None
    dtype: str
    n_layers: int
    lenses: tuple[LensScores, ...]
    left_out: Mapping[str, str]


@dataclass(frozen=True)
class Board:
    """What was scored, on what, how, and with which versions."""

    data: str
    parameters: Mapping[str, Any]
    models: tuple[ModelScores, ...]
    versions: Mapping[str, str]


_NAMES: Final[Mapping[type, tuple[str, ...]]] = {
    Score: ("metric", "layer", "value", "nulls", "cleared", "own_layer"),
    OverSeeds: ("mean", "low", "high", "seeds"),
}


def to_json(board: Board) -> str:
    """The whole board as JSON; a number that is not known is null."""
    return (
        json.dumps({"format_version": FORMAT_VERSION, **_plain(board)}, indent=1, ensure_ascii=False) + "\n"
    )


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        names = _NAMES.get(type(value)) or tuple(field.name for field in fields(value))
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): _plain(own) for key, own in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(own) for own in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
