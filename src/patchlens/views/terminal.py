"""A table in a terminal, or elsewhere as plain lines of any width, for a file or another program."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.table import Table

UNLIMITED: Final = 10_000
"""A width that no line reaches."""


def print_table(table: Table, console: Console) -> None:
    """Print a table; without a terminal it has neither frame, colour nor folded cells."""
    if console.is_terminal:
        console.print(table)
        return
    table.box = None
    Console(file=console.file, width=UNLIMITED, color_system=None).print(table)
