"""Looking at readings: ``patchlens show``, ``view`` and ``chart``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchlens.cli.app import (
    PositionOption,
    ReadingArgument,
    StepOption,
    app,
    check_writable,
    open_in_browser,
    stdout_console,
)
from patchlens.errors import SelectionError
from patchlens.selection import parse_position


@app.command()
def show(reading: ReadingArgument, position: PositionOption = "answer", step: StepOption = None) -> None:
    """Print what each layer reads at a position, as a table."""
    from patchlens.reading.store import open_reading
    from patchlens.views.tables import print_reading

    opened = open_reading(reading)
    print_reading(opened, stdout_console(), at=parse_position(position), step=step)


@app.command()
def view(
    readings: Annotated[
        list[Path],
        typer.Argument(help="One reading, or two to compare, as written by --out.", metavar="READING"),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="HTML file; NAME.html beside NAME.safetensors if left out."),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
) -> None:
    """Write a page of a reading, or of two side by side, that opens offline in any browser."""
    from patchlens.reading.store import open_reading
    from patchlens.views.html import write_page

    if len(readings) > 2:
        raise SelectionError(f"a page shows one reading or two, not {len(readings)}")
    opened = [open_reading(path) for path in readings]
    page = out or readings[0].parent / f"{'-vs-'.join(path.stem for path in readings)}.html"
    check_writable(page, ".html")
    write_page(opened[0], page, beside=opened[1] if len(opened) > 1 else None)
    typer.echo(f"{page}")
    if open_:
        open_in_browser(page)


@app.command()
def chart(
    reading: ReadingArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="PNG or SVG file. Required.")] = ...,  # pyright: ignore[reportArgumentType]
    kind: Annotated[str, typer.Option("--kind", help="topk, trajectory, heatmap or entropy.")] = "topk",
    position: PositionOption = "answer",
    step: StepOption = None,
    layer: Annotated[
        int | None, typer.Option("--layer", help="Layer of a heatmap; several if left out.")
    ] = None,
    concept: Annotated[
        list[str] | None,
        typer.Option("--concept", "-c", help="Word for a trajectory or heatmap (repeatable)."),
    ] = None,
    image: Annotated[int, typer.Option("--image", help="Which picture, from 0.")] = 0,
) -> None:
    """Draw a chart of a reading (needs the extra "chart")."""
    from patchlens.reading.store import open_reading
    from patchlens.views.charts import write_chart

    opened = open_reading(reading)
    write_chart(
        opened,
        kind,
        out,
        at=parse_position(position),
        step=step,
        layer=layer,
        concept=concept or None,
        image=image,
    )
    typer.echo(f"wrote {out}", err=True)
