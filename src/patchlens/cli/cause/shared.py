"""Options that the experiments share, how they find their cases, and how they tell what they found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchlens.cli.app import app, stdout_console
from patchlens.errors import SelectionError

if TYPE_CHECKING:
    from patchlens.cause.cases import Ask
    from patchlens.cause.finding import Finding
    from patchlens.data.item import Item

causes = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(
    causes, name="cause", help="Check by intervention whether what can be read matters for the answer."
)

PictureArgument = Annotated[
    Path | None, typer.Argument(help="A picture. Drawn scenes if left out, and no --data.", metavar="[IMAGE]")
]
PromptOption = Annotated[
    str | None, typer.Option("--prompt", "-p", help="What to ask of the picture, or of each of a folder.")
]
DataOption = Annotated[
    str | None,
    typer.Option("--data", "-d", help="A folder of pictures, a .jsonl file (image, prompt), or scenes:N."),
]
SeedsOption = Annotated[int, typer.Option("--seeds", help="Batches of fresh drawn scenes.")]
ScenesOption = Annotated[int, typer.Option("--scenes", help="Drawn scenes of each seed.")]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="NAME.jsonl, a line per case; run again, it goes on from there."),
]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write what was found: NAME.json.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Of everything drawn at random.")]


def cases_of(
    picture: Path | None, prompt: str | None, data: str | None, seeds: int, scenes: int, ask: Ask
) -> tuple[tuple[Item, ...], str]:
    """The cases that the options mean, and what they are in words.

    Raises:
        SelectionError: a picture together with other data, or a picture without a question.
        DataError, ImageError: as `patchlens.fit.read_items`.
    """
    from patchlens.cause.cases import as_cases, drawn_cases
    from patchlens.data.item import Item
    from patchlens.data.read import read_items

    if picture is not None:
        if data is not None:
            raise SelectionError("a picture and --data together: give one of them")
        if not prompt:
            raise SelectionError("say with --prompt what to ask of the picture")
        return as_cases([Item(str(picture), prompt, (picture,))]), picture.name
    if data is not None:
        cases = as_cases(read_items(data, prompt))
        return cases, f"{len(cases)} cases of {data}"
    if prompt is not None:
        raise SelectionError("drawn scenes come with their questions: leave --prompt out, or give a picture")
    return drawn_cases(ask, seeds, scenes), f"drawn scenes, {scenes} for each of {seeds} seeds"


def tell_finding(finding: Finding, *written: Path | None, json: Path | None) -> None:
    """Print a finding, write it if asked, and say what was written."""
    from patchlens.cause.table import print_finding
    from patchlens.files import write_atomically

    if json is not None:
        write_atomically(json, finding.to_json())
    print_finding(finding, stdout_console())
    for path in (*written, json):
        if path is not None:
            typer.echo(f"wrote {path}", err=True)
