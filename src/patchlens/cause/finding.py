"""What an experiment found: effects beside their controls, with intervals, and one sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from patchlens.stats.chance import LEVEL, against_chances, exchanged, holm
from patchlens.stats.intervals import (
    FREE,
    OF_UNIT,
    SHARE,
    Estimate,
    Jackknife,
    differing,
    mean,
)


@dataclass(frozen=True)
class Row:
    """A figure, the same under the control (None where it is a control itself), and their difference.

    ``difference`` is taken case by case, so that what varies between pictures does not count. ``p`` is of its
    being none, two-sided, and corrected where a headline is looked for among several rows.
    """

    name: str
    unit: str
    value: Estimate
    control: Estimate | None = None
    difference: Estimate | None = None
    p: float | None = None

    @property
    def stands_out(self) -> bool:
        """Whether chance gives so large a difference at most once in twenty times, on both sides together."""
        return self.p is not None and self.p <= LEVEL

    @property
    def is_higher(self) -> bool:
        """Whether the figure is higher than under the control; whether that is sure, `stands_out` says."""
        return self.difference is not None and (self.difference.value or 0) > 0


@dataclass(frozen=True)
class Finding:
    """The outcome of an experiment.

    ``about`` says in words what was done on what, ``sentence`` what the evidence supports and no more.
    ``parameters`` are what is needed to run it again, ``records`` what each case gave; they are not written.
    """

    experiment: str
    model: str
    about: str
    cases: int
    rows: tuple[Row, ...]
    sentence: str
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    notes: tuple[str, ...] = ()
    records: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict[str, Any], repr=False, compare=False, kw_only=True
    )

    def to_json(self) -> str:
        """JSON text; what is not defined is null."""
        told = asdict(replace(self, records={}))
        del told["records"]
        return json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def compared(
    name: str,
    unit: str,
    values: Sequence[float | None],
    controls: Sequence[float | Sequence[float] | None],
    *,
    chance: bool = False,
) -> Row:
    """A row of a figure and its control, over the cases that have both.

    Args:
        name: what is measured.
        unit: of all figures; a share and the like are kept within what they can be.
        values: one per case.
        controls: of each case, or several draws of a control, which count by their mean.
        chance: whether controls are shares that chance alone would give, and not measured.
    """
    pairs = [
        (value, np.atleast_1d(np.asarray(control, np.float64)))
        for value, control in zip(values, controls, strict=True)
        if value is not None and control is not None
    ]
    own = np.array([value for value, _ in pairs], np.float64)
    other = np.array([drawn.mean() for _, drawn in pairs], np.float64)
    within = OF_UNIT.get(unit, FREE)
    by_yes_or_no = within == SHARE and any(np.isin(side, (0.0, 1.0)).all() for side in (own, other))
    difference = (differing if by_yes_or_no else mean)(own - other, within.of_differences)
    p = (
        against_chances(own.tolist(), other.tolist())
        if chance
        else exchanged([np.append(value, drawn) for value, drawn in pairs])
    )
    return Row(name, unit, mean(own, within), mean(other.tolist(), within), difference, p)


def jackknifed(name: str, unit: str, own: Jackknife, control: Jackknife) -> Row:
    """A row of a figure that is no mean over cases, and its control."""
    within = OF_UNIT.get(unit, FREE)
    difference = own - control
    return Row(
        name,
        unit,
        own.estimate(within),
        control.estimate(within),
        difference.estimate(within.of_differences),
        difference.p,
    )


def looked_at_together(rows: Sequence[Row]) -> list[Row]:
    """Rows among which a headline is looked for, their ``p`` corrected by Holm for the number of looks."""
    return [replace(row, p=p) for row, p in zip(rows, holm([row.p for row in rows]), strict=True)]
