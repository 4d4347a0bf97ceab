"""What a study found: ``patchlens report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from patchlens.cli import options
from patchlens.cli.app import app, progress_display, stdout_console


@app.command
def report(
    folder: Annotated[Path, Parameter(allow_leading_hyphen=False)],
    /,
    *,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    no_pages: options.Flag = False,
    json: options.Json = False,
) -> None:
    """Write the report of a study: a page of curves, differences and all items, and every table as CSV.

    Args:
        folder: As written by patchlens study.
        out: Folder of the report; FOLDER/report if left out.
        no_pages: Write no pages of the saved readings.
    """
    from patchlens.studies.report import make_report, write_report
    from patchlens.studies.report.terminal import print_report, to_json

    with progress_display() as tell:
        made = make_report(folder, progress=tell)
        written = write_report(made, folder, out, pages=not no_pages, progress=tell)
    if json:
        print(to_json(made, written))
        return
    print_report(made, stdout_console())
    print(written.page)
