"""The scoreboard: figures of lenses on models, each with its interval and its nulls."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from patchlens.bench.intervals import Estimate

FORMAT_VERSION = 1


@dataclass(frozen=True)
class NullScore:
    """The same measurement where there is nothing to find, and whether the figure beats it."""

    estimate: Estimate
    cleared: bool


@dataclass(frozen=True)
class Score:
    """A metric of a lens at a layer, or over all layers before the last where ``layer`` is None."""

    metric: str
    layer: int | None
    value: Estimate
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


def to_json(board: Board) -> str:
    """The whole board as JSON; a number that is not known is null."""
    return (
        json.dumps({"format_version": FORMAT_VERSION, **_plain(board)}, indent=1, ensure_ascii=False) + "\n"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Score):
        return {
            name: _plain(getattr(value, name))
            for name in ("metric", "layer", "value", "nulls", "cleared", "own_layer")
        }
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(own) for key, own in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(own) for own in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
