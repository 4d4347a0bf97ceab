"""What a study found: ``patchlens report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchlens.cli.app import app, progress_display, stdout_console


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="As written by patchlens study.", metavar="DIR")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the report; DIR/report if left out.")
    ] = None,
    no_pages: Annotated[
        bool, typer.Option("--no-pages", help="Write no pages of the saved readings.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print all tables as JSON.")] = False,
) -> None:
    """Write the report of a study: a page of curves, differences and all items, and every table as CSV."""
    from patchlens.studies.report import make_report, write_report

    with progress_display() as tell:
        made = make_report(folder, progress=tell)
        written = write_report(made, folder, out, pages=not no_pages, progress=tell)
    if json:
        from patchlens.studies.report.summary import to_json

        typer.echo(to_json(made, written))
        return
    from patchlens.studies.report.summary import print_report

    print_report(made, stdout_console())
    typer.echo(f"{written.page}")
