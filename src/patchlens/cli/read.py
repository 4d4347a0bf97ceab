"""Reading pictures: ``patchlens demo`` and ``patchlens read``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchlens.cli.app import (
    DeviceOption,
    DtypeOption,
    ModelOption,
    RevisionOption,
    app,
    check_writable,
    progress_display,
    stdout_console,
)
from patchlens.selection import parse_numbers, parse_positions


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the readings, pages and index.")
    ] = Path("patchlens-demo"),
) -> None:
    """Read the bundled pictures with the bundled models and write a page for each. Needs no network."""
    with progress_display() as tell:
        from patchlens.cli.tour import make_tour

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
    lens: Annotated[
        str,
        typer.Option("--lens", help="logit, cross, embedding, tuned, or a file that patchlens fit wrote."),
    ] = "logit",
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="Tokens kept per layer and position.")] = 10,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", help="Word to follow exactly through all layers (repeatable)."),
    ] = None,
    channel: Annotated[
        list[str] | None,
        typer.Option(
            "--channel",
            help="More maps for the page (repeatable): contribution or attention, what the answer takes from "
            "where; contextual, how like it each state is.",
        ),
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
    dtype: DtypeOption = "auto",
    device_map: DeviceOption = None,
    revision: RevisionOption = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Give the prompt as it is, without chat template.")
    ] = False,
) -> None:
    """Read pictures and a prompt: what the model is about to say at every layer and position."""
    check_writable(out, ".safetensors")
    check_writable(html, ".html")
    chosen_layers = None if layers is None else parse_numbers(layers)
    chosen_positions = None if positions is None else parse_positions(positions)
    with progress_display() as tell:
        tell("loading the model", 0, 1)
        from patchlens.lens.open import open_lens
        from patchlens.run import load

        loaded = load(model, dtype=dtype, device_map=device_map, revision=revision)
        chosen_lens = open_lens(lens, loaded.adapter)
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
        reading = trace.read(
            chosen_lens, top_k=top_k, targets=target or [], channels=channel or [], progress=tell
        )
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

        print_reading(reading, stdout_console(), at="answer" if 0 in reading.positions.step else -1)
    for written in (out, html):
        if written is not None:
            typer.echo(f"wrote {written}", err=True)
