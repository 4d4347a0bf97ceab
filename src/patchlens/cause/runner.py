"""The one way an experiment is made: case by case into a ledger, then its records into a finding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from patchlens.cause.finding import Finding, Row
from patchlens.cause.ledger import Ledger, Record, each, head_of
from patchlens.data.item import Item
from patchlens.progress import Progress, silent
from patchlens.run import Model


@dataclass(frozen=True)
class Experiment:
    """An experiment on some cases, with its parameters, its model, which is proven, and its file.

    Args:
        name: of the experiment.
        model: afterwards it is as it was.
        cases: all that it is made on.
        parameters: what changes its records; a file of other ones is refused, and the finding repeats them.
        out: file of records, a line per case, to go on from when stopped; None keeps none.
        progress: told how many cases are done.
        beside: what else changes its records, too long for the finding.

    Raises:
        IdentityCheckError: the model does not prove itself.
    """

    name: str
    model: Model
    cases: Sequence[Item] = field(repr=False)
    parameters: Mapping[str, Any]
    out: Path | None = None
    progress: Progress = field(default=silent, repr=False)
    beside: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)

    def __post_init__(self) -> None:
        self.model.adapter.prove()

    @cached_property
    def ledger(self) -> Ledger:
        """Where records are kept."""
        head = head_of(self.name, self.model.adapter, self.cases, self.parameters)
        return Ledger(self.out, {**head, **self.beside})

    def records(
        self, measure: Callable[[Item], Record], cases: Sequence[Item] | None = None
    ) -> dict[str, Record]:
        """Measure every case that the file does not hold, and return all records in the cases' order.

        Args:
            measure: makes the record of a case, of JSON values.
            cases: some of the experiment's; None for all.

        Raises:
            DataError: the file is of another experiment, or of other parameters.
            PatchlensError: a case cannot be made; says which. Those before it are kept.
        """
        return each(self.cases if cases is None else cases, measure, self.ledger, self.progress)

    def finding(
        self,
        about: str,
        rows: Sequence[Row],
        sentence: str,
        *,
        cases: int | None = None,
        notes: Sequence[str] = (),
        records: Mapping[str, Record] | None = None,
        settled: Mapping[str, Any] | None = None,
    ) -> Finding:
        """Put together what came out.

        Args:
            about: what was done on what, in words.
            rows: figures beside their controls.
            sentence: what they support, and no more.
            cases: how many count; None for all.
            notes: what else to know.
            records: what they are made of, to be looked into.
            settled: what came to be known on the way, to stand with the parameters.
        """
        return Finding(
            self.name,
            self.model.name,
            about,
            len(self.cases) if cases is None else cases,
            tuple(rows),
            sentence,
            {**self.parameters, **(settled or {})},
            tuple(notes),
            records=records or {},
        )
