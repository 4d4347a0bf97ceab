"""A finding in the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from patchlens.cause.finding import Finding, Row
from patchlens.views.terminal import print_table
from patchlens.views.words import visible_text


def print_finding(finding: Finding, console: Console) -> None:
    """Print what was done, the figures beside their controls, and what they support."""
    head = Text(visible_text(f"{finding.model} · {finding.about}"), style="bold")
    console.print(head, soft_wrap=True)
    print_table(_table(finding), console)
    console.print(Text(visible_text(finding.sentence)), soft_wrap=True)
    for note in finding.notes:
        console.print(Text(visible_text(f"note: {note}"), style="dim"), soft_wrap=True)


def _table(finding: Finding) -> Table:
    made = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for name in ("", "mean (95% interval)", "control", "difference", "unit"):
        made.add_column(name, overflow="fold")
    for row in finding.rows:
        made.add_row(*_cells(row))
    return made


def _cells(row: Row) -> tuple[Text, ...]:
    style = "bold" if row.stands_out else ""
    return (
        Text(visible_text(row.name), style=style),
        Text(str(row.value)),
        Text("" if row.control is None else str(row.control), style="dim"),
        Text("" if row.difference is None else str(row.difference), style=style),
        Text(row.unit, style="dim"),
    )
