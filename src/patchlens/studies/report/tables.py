"""The tables of a report, and how they are written as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass

from patchlens.stats.intervals import Range

Value = str | int | float | bool | list[str] | None
Row = tuple[Value, ...]


@dataclass(frozen=True)
class Table:
    """Rows of plain values under named columns; None is "not known" or "does not apply"."""

    name: str
    about: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def column(self, name: str) -> list[Value]:
        """All values of one column, in the order of the rows."""
        place = self.columns.index(name)
        return [row[place] for row in self.rows]

    def records(self) -> list[dict[str, Value]]:
        """The rows as dictionaries."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def csv(self) -> str:
        """The table as RFC 4180 has it, with a header: what is not known is empty, lists are JSON.

        Numbers have nine digits, which hold every 32-bit number of the dataset exactly.
        """
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\r\n")
        writer.writerow(self.columns)
        writer.writerows([_cell(value) for value in row] for row in self.rows)
        return buffer.getvalue()


def _cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.9g}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else str(value)


@dataclass(frozen=True)
class Quantity:
    """Something measured: its name in the tables, what it is in words, its unit and its possible range."""

    name: str
    about: str
    unit: str
    low: float | None = 0.0
    high: float | None = None

    @property
    def within(self) -> Range:
        """What it can be, as intervals take it."""
        return Range(self.low, self.high)


@dataclass(frozen=True)
class Standing:
    """How many items of a study a model is through with."""

    model: str
    wanted: int
    done: int
    failed: int

    @property
    def missing(self) -> int:
        """Items that have not been read yet."""
        return max(self.wanted - self.done - self.failed, 0)


@dataclass(frozen=True)
class Report:
    """What a study found.

    ``quantities`` say what the curves, and ``summaries`` what the differences are of. ``notes`` say what the
    reader must know first: what is missing, what failed, what has no interval.
    """

    name: str
    models: tuple[str, ...]
    lenses: tuple[str, ...]
    groups: tuple[str, ...]
    progress: tuple[Standing, ...]
    versions: Mapping[str, str]
    notes: tuple[str, ...]
    quantities: tuple[Quantity, ...]
    summaries: tuple[Quantity, ...]
    tables: tuple[Table, ...]

    def table(self, name: str) -> Table:
        """A table by its name.

        Raises:
            KeyError: there is no such table.
        """
        return {table.name: table for table in self.tables}[name]
