"""The application: how options are read from settings, and what every command needs."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, TypeVar, get_args, get_origin

from cyclopts import App, CycloptsError, Parameter, Token, UnusedCliTokensError, convert
from cyclopts.help import DefaultFormatter, HelpPanel

from patchlens import __version__
from patchlens.errors import OutputError, PatchlensError
from patchlens.progress import Tell
from patchlens.selection import parse_numbers

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.progress import TaskID

T = TypeVar("T")
Flat = Annotated[T, Parameter(name="*")]
"""Settings whose fields are options of the command."""
OPTIONS = {"kinds": "positions", "strengths": "strength"}
"""Fields of settings whose option is called otherwise."""


def _read(hint: Any, tokens: Sequence[Token] | dict[str, Any]) -> Any:
    """Read a value; several numbers or choices stand in one word, with commas between."""
    of = next((one for one in get_args(hint) if get_origin(one) is tuple), hint)
    element = get_args(of)[0] if get_origin(of) is tuple else None
    if isinstance(tokens, dict) or not (element in (int, float) or get_origin(element) is Literal):
        return convert(hint, tokens)
    text = ",".join(token.value for token in tokens)
    if element is int:
        return tuple(parse_numbers(text))
    words = dict.fromkeys(word.strip() for word in text.split(","))
    if element is float:
        return tuple(_number(word) for word in words)
    choices = get_args(element)
    unknown = [word for word in words if word not in choices]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is none of {', '.join(choices)}.")
    return tuple(choice for choice in choices if choice in words)


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise ValueError(f"{word!r} is no number: expected numbers with commas between.") from None


def _default(value: Any) -> str | None:
    """What help says of a default: nothing where that is nothing or no."""
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or None  # pyright: ignore[reportUnknownArgumentType]
    return None if value is None or value is False else str(value)


class _Help(DefaultFormatter):
    """Lets help texts flow, wherever their docstring breaks its lines."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        from rich.text import Text

        for entry in panel.entries:
            text = getattr(entry.description, "primary_renderable", None)
            if isinstance(text, Text):
                text.plain = " ".join(text.plain.split())
        super().__call__(console, options, panel)


app = App(
    name="patchlens",
    help="See what a vision-language model is about to say, at every layer and every image patch.",
    version=__version__,
    help_format="plaintext",
    help_formatter=_Help(),
    default_parameter=Parameter(
        converter=_read,
        name_transform=lambda name: OPTIONS.get(name, name).strip("_").replace("_", "-"),
        negative_iterable=(),
        negative_none=(),
        json_list=False,
        json_dict=False,
        allow_leading_hyphen=True,
        show_default=_default,
    ),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.register_install_completion_command(
    help="Make the shell complete commands and options, from its next start."
)


def open_in_browser(page: Path) -> None:
    """Show a page to the person at this machine."""
    import webbrowser

    if not webbrowser.open(page.resolve().as_uri()):
        raise OutputError(f"found no browser to open {page} in; open it by hand")


def stdout_console() -> Console:
    """Where tables are printed."""
    from rich.console import Console

    return Console()


def say(text: str) -> None:
    """Print a line on standard error, with nothing in it that could act in the terminal."""
    from patchlens.views.words import visible_text

    print(visible_text(text), file=sys.stderr)


def say_written(*paths: Path | None) -> None:
    """Say on standard error what was written."""
    for path in paths:
        if path is not None:
            say(f"wrote {path}")


@contextmanager
def progress_display() -> Generator[Tell]:
    """How far the work is and how long it will take, on standard error; silent when that is no terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    def whole() -> Column:
        return Column(no_wrap=True)

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", table_column=whole()),
        BarColumn(bar_width=12),
        MofNCompleteColumn(table_column=whole()),
        TimeRemainingColumn(table_column=whole()),
        TextColumn("[progress.remaining]left", table_column=whole()),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int, note: str = "") -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(escape(what), total=total, completed=done, note=note)
            bar.update(tasks[what], completed=done, total=total, note=note)

        yield tell


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line: 0 if done, 2 for a mistake that can be mended, 130 if interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue]
    try:
        given = sys.argv[1:] if arguments is None else arguments
        app(given, console=stdout_console(), exit_on_error=False, print_error=False, verbose=False)
    except CycloptsError as error:
        known = " ".join(["patchlens", *(error.command_chain or ())])
        _fail(f"{_told(error)} See: {known} --help")
    except PatchlensError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _told(error: CycloptsError) -> str:
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return f"{error.unused_tokens[0]!r} is one argument too many."
    return str(error)


def _fail(text: str) -> NoReturn:
    say(f"error: {text}")
    sys.exit(2)
