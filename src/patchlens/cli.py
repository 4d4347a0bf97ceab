"""The command line: parse, call one function, print. Heavy imports wait inside the commands."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchlens.errors import OutputError, PatchlensError, SelectionError
from patchlens.selection import parse_numbers, parse_position, parse_positions

if TYPE_CHECKING:
    from rich.console import Console

    from patchlens.run import Progress

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
ReadingArgument = Annotated[Path, typer.Argument(help="A reading, as written by --out.", metavar="READING")]
PositionOption = Annotated[
    str, typer.Option("--position", help="Index in the sequence (negative from the end), or 'answer'.")
]
StepOption = Annotated[
    int | None, typer.Option("--step", help="Answer token number (0 is the first), instead of a position.")
]


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the readings, pages and index.")
    ] = Path("patchlens-demo"),
) -> None:
    """Read the bundled pictures with the bundled models and write a page for each. Needs no network."""
    with _progress() as tell:
        from patchlens.tour import make_tour

        index = make_tour(out, tell)
    typer.echo(f"{index}")


@app.command()
def read(
    images: Annotated[
        list[Path] | None,
        typer.Argument(help="Pictures; none for a text-only reading.", metavar="IMAGE"),
    ] = None,
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="The question. Required.")] = ...,  # pyright: ignore[reportArgumentType]
    model: ModelOption = "demo",
    lens: Annotated[str, typer.Option("--lens", help="Which lens: logit.")] = "logit",
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="Tokens kept per layer and position.")] = 10,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", help="Word to follow exactly through all layers (repeatable)."),
    ] = None,
    layers: Annotated[str | None, typer.Option("--layers", help="Such as 0,4-8,-1. All if left out.")] = None,
    positions: Annotated[
        str | None,
        typer.Option("--positions", help="Such as 0,4-8,-1, or all, answer, text, patches. All if left out."),
    ] = None,
    steps: Annotated[
        bool, typer.Option("--steps", help="Also read the position of every further answer token.")
    ] = False,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=0, help="Longest answer; 0 for none.")
    ] = 20,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the reading: NAME.safetensors.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page to open in a browser.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    dtype: Annotated[str, typer.Option("--dtype", help="auto, float32, bfloat16 or float16.")] = "auto",
    device_map: Annotated[
        str | None, typer.Option("--device-map", help="Such as auto or cuda; the CPU if left out.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", help="Branch, tag or commit on the hub.")
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Give the prompt as it is, without chat template.")
    ] = False,
) -> None:
    """Read pictures and a prompt: what the model is about to say at every layer and position."""
    _check_writable(out, ".safetensors")
    _check_writable(html, ".html")
    chosen_layers = None if layers is None else parse_numbers(layers)
    chosen_positions = parse_positions(positions)
    with _progress() as tell:
        tell("loading the model", 0, 1)
        from patchlens.run import find_lens, load

        loaded = load(model, dtype=dtype, device_map=device_map, revision=revision)
        tell("loading the model", 1, 1)
        trace = loaded.trace(
            [str(image) for image in images or []],
            prompt,
            max_new_tokens=max_new_tokens,
            steps=steps,
            layers=chosen_layers,
            positions=chosen_positions,
            chat=False if raw else None,
            progress=tell,
        )
        reading = trace.read(find_lens(lens), top_k=top_k, targets=target or [], progress=tell)
    if out is not None:
        reading.save(out)
    if html is not None:
        from patchlens.views.html import write_page

        write_page(reading, html)
    for note in reading.notes:
        typer.echo(f"note: {note}", err=True)
    if as_json:
        from patchlens.views.summary import to_json

        typer.echo(to_json(reading))
    else:
        from patchlens.views.tables import print_reading

        print_reading(reading, _console(), position="answer" if 0 in reading.positions.step else -1)
    for written in (out, html):
        if written is not None:
            typer.echo(f"wrote {written}", err=True)


@app.command()
def show(reading: ReadingArgument, position: PositionOption = "answer", step: StepOption = None) -> None:
    """Print what each layer reads at a position, as a table."""
    from patchlens.store import open_reading
    from patchlens.views.tables import print_reading

    opened = open_reading(reading)
    print_reading(opened, _console(), position=parse_position(position), step=step)


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
    from patchlens.store import open_reading
    from patchlens.views.html import write_page

    if len(readings) > 2:
        raise SelectionError(f"a page shows one reading or two, not {len(readings)}")
    opened = [open_reading(path) for path in readings]
    page = out or readings[0].parent / f"{'-vs-'.join(path.stem for path in readings)}.html"
    _check_writable(page, ".html")
    write_page(opened[0], page, beside=opened[1] if len(opened) > 1 else None)
    typer.echo(f"{page}")
    if open_:
        _open_in_browser(page)


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
    from patchlens.store import open_reading
    from patchlens.views.charts import write_chart

    opened = open_reading(reading)
    write_chart(
        opened,
        kind,
        out,
        position=parse_position(position),
        step=step,
        layer=layer,
        concept=concept or None,
        image=image,
    )
    typer.echo(f"wrote {out}", err=True)


@app.command()
def models(
    check: Annotated[
        str | None, typer.Option("--check", help="Load this model and print its self-check.")
    ] = None,
    dtype: Annotated[str, typer.Option("--dtype", help="auto, float32, bfloat16 or float16.")] = "auto",
    revision: Annotated[
        str | None, typer.Option("--revision", help="Branch, tag or commit on the hub.")
    ] = None,
) -> None:
    """List the models that can be read, or prove that one of them is read rightly."""
    from patchlens.views.tables import print_identity, print_models

    if check is None:
        from patchlens.demo import bundled_models
        from patchlens.models import supported_families

        bundled = dict.fromkeys(bundled_models(), "bundled: answers questions about drawn scenes, offline")
        print_models(bundled | supported_families(), _console())
        return
    with _progress() as tell:
        tell("loading the model", 0, 1)
        from patchlens.run import load

        loaded = load(check, dtype=dtype, revision=revision)
        report = loaded.adapter.prove()
    print_identity(loaded.adapter.name, report, _console())


def _check_writable(path: Path | None, suffix: str) -> None:
    """Say what is wrong with an output path before the model runs, not after."""
    if path is None:
        return
    if path.suffix != suffix:
        raise OutputError(f"cannot write {path}: expected a name that ends in {suffix}")
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {path.parent}")


def _open_in_browser(page: Path) -> None:
    import webbrowser

    if not webbrowser.open(page.resolve().as_uri()):
        raise OutputError(f"found no browser to open {page} in; open it by hand")


def _console() -> Console:
    from rich.console import Console

    return Console()


@contextmanager
def _progress() -> Generator[Progress]:
    """A progress display on standard error, gone when done; silent when that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks: dict[str, int] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)  # pyright: ignore[reportArgumentType]

        yield tell


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
