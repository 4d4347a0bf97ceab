"""The application, its shared options, and what every command needs: progress, a console, checks of paths."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchlens.errors import OutputError, PatchlensError
from patchlens.progress import Tell

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import ProgressColumn, TaskID

app = typer.Typer(
    name="patchlens",
    help="See what a vision-language model is about to say, at every layer and every image patch.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ModelOption = Annotated[
    str, typer.Option("--model", "-m", help="demo, demo-cross, a folder, or a hub model id.")
]
DtypeOption = Annotated[str, typer.Option("--dtype", help="auto, float32, bfloat16 or float16.")]
DeviceOption = Annotated[
    str | None, typer.Option("--device-map", help="Such as auto or cuda; the CPU if left out.")
]
RevisionOption = Annotated[str | None, typer.Option("--revision", help="Branch, tag or commit on the hub.")]
ReadingArgument = Annotated[Path, typer.Argument(help="A reading, as written by --out.", metavar="READING")]
PositionOption = Annotated[
    str, typer.Option("--position", help="Index in the sequence (negative from the end), or 'answer'.")
]
StepOption = Annotated[
    int | None, typer.Option("--step", help="Answer token number (0 is the first), instead of a position.")
]


def check_writable(path: Path | None, suffix: str) -> None:
    """Say what is wrong with an output path before the model runs, not after."""
    if path is None:
        return
    if path.suffix != suffix:
        raise OutputError(f"cannot write {path}: expected a name that ends in {suffix}")
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {path.parent}")


def open_in_browser(page: Path) -> None:
    """Show a page to the person at this machine."""
    import webbrowser

    if not webbrowser.open(page.resolve().as_uri()):
        raise OutputError(f"found no browser to open {page} in; open it by hand")


def stdout_console() -> Console:
    """Where tables are printed."""
    from rich.console import Console

    return Console()


@contextmanager
def progress_display(*, long: bool = False) -> Generator[Tell]:
    """A progress display on standard error, gone when done; silent when that is no terminal.

    What takes ``long`` also shows the time left and the notes.
    """
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    with Bar(*_columns(long), console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int, note: str = "") -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total, completed=done, note=note)
            bar.update(tasks[what], completed=done, total=total, note=note)

        yield tell


def _columns(long: bool) -> list[ProgressColumn]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    if not long:
        return [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]

    def whole() -> Column:
        return Column(no_wrap=True)

    return [
        TextColumn("{task.description}", table_column=whole()),
        BarColumn(bar_width=12),
        MofNCompleteColumn(table_column=whole()),
        TimeRemainingColumn(table_column=whole()),
        TextColumn("[progress.remaining]left", table_column=whole()),
        TextColumn("{task.fields[note]}", markup=False),
    ]


def main() -> None:
    """Run the command line: 0 if done, 2 for a mistake that can be mended, 130 if interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue]
    try:
        app()
    except PatchlensError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        sys.exit(130)
