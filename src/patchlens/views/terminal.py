"""Tables in a terminal, or elsewhere as plain lines of any width, for a file or another program.

In a terminal, columns that can be spared go where room is short, and a line says which; what is still too
wide is folded. Nothing goes without a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from patchlens.reading.records import Answer
from patchlens.views.words import visible_text

UNLIMITED: Final = 10_000
"""A width that no line reaches."""


def new_table(numbers: Sequence[str] = ()) -> Table:
    """A table in the one style of all, begun with columns of numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    add_numbers(table, *numbers)
    return table


def add_numbers(table: Table, *names: str) -> None:
    """Add columns whose cells stand at the right and are never folded while there is room."""
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)


def add_texts(table: Table, *names: str | Text) -> None:
    """Add columns of text, which are never folded while there is room."""
    for name in names:
        table.add_column(name, no_wrap=True)


def print_table(table: Table, console: Console, spare: Iterable[int] = ()) -> None:
    """Print a table; without a terminal it is whole, with neither frame, colour nor folded cells.

    Args:
        table: what to print.
        console: where.
        spare: numbers of columns that may be left out where a terminal is too narrow, the first one first.
    """
    if not console.is_terminal:
        table.box, table.padding = None, (0, 2, 0, 0)
        Console(file=console.file, width=UNLIMITED, color_system=None).print(table)
        return
    gone: set[int] = set()
    shown, waiting = table, iter(spare)
    while _width(shown, console) > console.width and (column := next(waiting, None)) is not None:
        gone.add(column)
        shown = _without(table, gone)
    if _width(shown, console) > console.width:
        for column in shown.columns:
            column.no_wrap, column.overflow = False, "fold"
    console.print(shown)
    if gone:
        names = ", ".join(str(table.columns[column].header) for column in sorted(gone))
        console.print(Text(f"no room here for: {names}; a wider terminal or a file has them", style="dim"))


def heading(named: str, prompt: str, answer: Answer) -> Text:
    """What was read, the prompt and the answer, a line each; all of it is text, never markup."""
    head = Text(visible_text(named) + "\n", style="dim")
    head.append("prompt  ").append(visible_text(prompt) + "\n", style="not dim")
    said = visible_text(answer.text) if answer.ids else "(none was asked for)"
    return head.append("answer  ").append(said, style="not dim bold")


def _width(table: Table, console: Console) -> int:
    return Measurement.get(console, console.options.update_width(UNLIMITED), table).maximum


def _without(table: Table, gone: set[int]) -> Table:
    kept = [replace(column) for number, column in enumerate(table.columns) if number not in gone]
    made = Table(*kept, box=table.box, pad_edge=table.pad_edge, padding=table.padding)
    made.rows.extend(table.rows)
    return made
