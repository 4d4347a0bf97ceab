"""Looking at readings: ``patchlens show``, ``view`` and ``chart``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from patchlens.cli import options
from patchlens.cli.app import app, open_in_browser, say_written, stdout_console
from patchlens.errors import SelectionError
from patchlens.selection import parse_position


@app.command
def show(
    reading: options.ReadingFile,
    /,
    *,
    position: options.Position = "answer",
    step: options.Step = None,
    json: options.Json = False,
) -> None:
    """Print what each layer reads at a position, as a table."""
    from patchlens.reading.store import open_reading

    opened = open_reading(reading)
    if json:
        from patchlens.views.summary import to_json

        print(to_json(opened))
        return
    from patchlens.views.tables import print_reading

    print_reading(opened, stdout_console(), at=parse_position(position), step=step)


@app.command
def view(
    reading: options.ReadingFile,
    other: Annotated[options.ReadingFile | None, Parameter(help="One more, to compare with.")] = None,
    /,
    *,
    out: Annotated[Path | None, options.writes(".html", alias="-o")] = None,
    open_: options.Flag = False,
) -> None:
    """Write a page of a reading, or of two side by side, that opens offline in any browser.

    Args:
        out: HTML file; NAME.html beside NAME.safetensors if left out.
        open_: Show the page in the browser.
    """
    from patchlens.reading.store import open_reading
    from patchlens.views.html import write_page

    paths = [path for path in (reading, other) if path is not None]
    opened = [open_reading(path) for path in paths]
    page = out or reading.parent / f"{'-vs-'.join(path.stem for path in paths)}.html"
    options.check_writable(page, ".html")
    write_page(opened[0], page, beside=opened[1] if len(opened) > 1 else None)
    print(page)
    if open_:
        open_in_browser(page)


@app.command
def chart(
    reading: options.ReadingFile,
    /,
    *,
    out: Annotated[Path, options.writes(".png", ".svg", alias="-o")],
    kind: Literal["topk", "trajectory", "heatmap", "entropy"] = "topk",
    position: options.Position = "answer",
    step: options.Step = None,
    layer: int | None = None,
    concept: Annotated[tuple[str, ...], Parameter(alias="-c")] = (),
    image: int = 0,
) -> None:
    """Draw a chart of a reading (needs the extra "chart").

    Args:
        out: PNG or SVG file.
        kind: What is drawn.
        layer: Layer of a heatmap; several if left out.
        concept: Word for a trajectory or heatmap (repeatable).
        image: Which picture, from 0.
    """
    if image < 0:
        raise SelectionError(f"there is no picture {image}: they are counted from 0")
    from patchlens.reading.store import open_reading
    from patchlens.views.charts import write_chart

    write_chart(
        open_reading(reading),
        kind,
        out,
        at=parse_position(position),
        step=step,
        layer=layer,
        concept=concept or None,
        image=image,
    )
    say_written(out)
