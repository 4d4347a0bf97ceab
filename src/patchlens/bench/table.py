"""The scoreboard in the terminal: a table per model, a column per lens, best first."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from patchlens.bench import wording
from patchlens.bench.board import Board, ModelScores
from patchlens.views.terminal import print_table
from patchlens.views.words import visible_text


def print_board(board: Board, console: Console) -> None:
    """Print every model's table, what was left out and why, and how to read it."""
    for scores in board.models:
        head = Text(visible_text(scores.model), style="bold")
        console.print(head.append(visible_text(f" · {scores.dtype} · {board.data}"), style="not bold dim"))
        print_table(table(scores), console)
        for name, reason in scores.left_out.items():
            console.print(Text(visible_text(f"left out: {name}: {reason}"), style="dim"), soft_wrap=True)
        console.print()
    console.print(Text(wording.RULE, style="dim"), soft_wrap=True)


def table(scores: ModelScores) -> Table:
    """Headlines as rows, lenses as columns; under each figure the null that comes nearest."""
    made = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    made.add_column("")
    for own in scores.lenses:
        made.add_column(Text(visible_text(own.lens)), overflow="fold")
    words, maps = zip(*(wording.layers(own) for own in scores.lenses), strict=True)
    for metric in wording.rows(scores.lenses):
        if metric.name == "readable_top5":
            made.add_row("words at layer", *words)
        if metric.name == "auroc_all":
            made.add_row("maps at layer", *maps)
        cells = [wording.cell(own.headline(metric.name), metric) for own in scores.lenses]
        made.add_row(wording.NAMES[metric.name], *(_cell(cell) for cell in cells))
    return made


def _cell(cell: wording.Cell) -> Text:
    text = Text(cell.value, style="" if cell.cleared else "bold red")
    if not cell.null:
        return text
    mark = "" if cell.cleared else "✗ "
    return text.append(f"\n{mark}{cell.null}", style="not bold dim" if cell.cleared else "not bold red")
