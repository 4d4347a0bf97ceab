"""What an experiment found: effects beside their controls, with intervals, and one sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from patchlens.stats.intervals import Array, Estimate, bootstrap, wilson


@dataclass(frozen=True)
class Row:
    """A figure, the same under the control (None where it is a control itself), and their difference.

    ``difference`` is taken case by case, so that what varies between pictures does not count.
    """

    name: str
    unit: str
    value: Estimate
    control: Estimate | None = None
    difference: Estimate | None = None

    @property
    def stands_out(self) -> bool:
        """Whether the interval of the difference leaves out 0."""
        own = self.difference
        return (
            own is not None and own.low is not None and own.high is not None and (own.low > 0 or own.high < 0)
        )

    @property
    def is_higher(self) -> bool:
        """Whether the figure is higher than under the control; whether that is sure, `stands_out` says."""
        return self.difference is not None and (self.difference.value or 0) > 0


@dataclass(frozen=True)
class Finding:
    """The outcome of an experiment.

    ``about`` says in words what was done on what, ``sentence`` what the evidence supports and no more.
    ``parameters`` are what is needed to run it again.
    """

    experiment: str
    model: str
    about: str
    cases: int
    rows: tuple[Row, ...]
    sentence: str
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """JSON text; what is not defined is null."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def mean(values: Sequence[float | None], seed: int = 0) -> Estimate:
    """Mean over cases with its 95% interval, cases resampled; those without a value are left out.

    One case alone has no interval: resampling it would give the same case again, as if nothing could vary.
    For the same reason shares of yes and no (values 0 and 1, or 0 and -1 of a difference) get Wilson's
    interval, which has a width even where all cases agree.
    """
    known = np.array([value for value in values if value is not None], np.float64)
    if not len(known):
        return Estimate(None, None, None)
    if len(known) == 1:
        return Estimate(float(known[0]), None, None)
    if np.isin(known, (0.0, 1.0)).all():
        return wilson(float(known.mean()), len(known))
    if np.isin(known, (0.0, -1.0)).all():
        less = wilson(-float(known.mean()), len(known))
        return Estimate(*(None if bound is None else -bound for bound in (less.value, less.high, less.low)))
    return bootstrap(np.ones(len(known)), [known[:, None]], _first, seed)


def compared(
    name: str,
    unit: str,
    values: Sequence[float | None],
    controls: Sequence[float | None],
    seed: int = 0,
) -> Row:
    """A row of a figure and its control, over the cases that have both."""
    both = [(v, c) for v, c in zip(values, controls, strict=True) if v is not None and c is not None]
    own, other = [v for v, _ in both], [c for _, c in both]
    difference = mean([v - c for v, c in both], seed)
    return Row(name, unit, mean(own, seed), mean(other, seed), difference)


def _first(means: Sequence[Array]) -> Array:
    return means[0][:, 0]
