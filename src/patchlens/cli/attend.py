"""Where attention goes: ``patchlens attend``."""

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
from patchlens.selection import parse_numbers


@app.command()
def attend(
    images: Annotated[
        list[Path] | None,
        typer.Argument(help="Pictures; none for a text-only prompt.", metavar="IMAGE"),
    ] = None,
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="The question. Required.")] = ...,  # pyright: ignore[reportArgumentType]
    model: ModelOption = "demo",
    query: Annotated[
        str,
        typer.Option(
            "--query",
            "-q",
            help="Whose attention: answer (where it starts), steps (of all its tokens), last, "
            "or a word of the prompt.",
        ),
    ] = "answer",
    layers: Annotated[str | None, typer.Option("--layers", help="Such as 1,4-8,-1. All if left out.")] = None,
    heads: Annotated[
        str | None,
        typer.Option("--heads", help="Such as 0,4-7, to average over and to map. All if left out."),
    ] = None,
    sink_factor: Annotated[
        float, typer.Option("--sink-factor", help="How many times the median a state of a sink is long.")
    ] = 10.0,
    sink_dims: Annotated[
        str | None, typer.Option("--sink-dims", help="Dimensions that also tell a sink, such as 1415,2533.")
    ] = None,
    relative: Annotated[
        bool, typer.Option("--relative", help="Also against a generic prompt about the same picture.")
    ] = False,
    generic: Annotated[
        str | None, typer.Option("--generic", help="That prompt in your words; implies --relative.")
    ] = None,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=0, help="Longest answer; 0 for none.")
    ] = 20,
    json: Annotated[Path | None, typer.Option("--json", help="Write every figure: NAME.json.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write a reading with the maps: NAME.safetensors.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page that shows the maps on the picture.")
    ] = None,
    dtype: DtypeOption = "auto",
    device_map: DeviceOption = None,
    revision: RevisionOption = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Give the prompt as it is, without chat template.")
    ] = False,
) -> None:
    """Measure how much attention falls on the picture, on the text and on sinks, at every layer."""
    for path, suffix in ((json, ".json"), (out, ".safetensors"), (html, ".html")):
        check_writable(path, suffix)
    chosen_layers = None if layers is None else parse_numbers(layers)
    chosen_heads = None if heads is None else parse_numbers(heads)
    dimensions = () if sink_dims is None else tuple(parse_numbers(sink_dims))
    with progress_display() as tell:
        tell("loading the model", 0, 1)
        from patchlens.attention import SinkRule, with_account
        from patchlens.run import load

        rule = SinkRule(sink_factor, dimensions)
        loaded = load(model, dtype=dtype, device_map=device_map, revision=revision)
        tell("loading the model", 1, 1)
        trace = loaded.trace(
            [str(image) for image in images or []],
            prompt,
            max_new_tokens=max_new_tokens,
            steps=query in ("steps", "last"),
            layers=None if out or html else [-1],
            chat=False if raw else None,
            progress=tell,
        )
        account = trace.attend(
            query, layers=chosen_layers, heads=chosen_heads, rule=rule, relative=generic or relative
        )
        reading = with_account(trace.read(progress=tell), account) if out or html else None
    if json is not None:
        from patchlens.attention.report import to_json
        from patchlens.files import write_atomically

        write_atomically(json, to_json(account))
    if reading is not None and out is not None:
        reading.save(out)
    if reading is not None and html is not None:
        from patchlens.views.html import write_page

        write_page(reading, html)
    from patchlens.attention.table import print_account

    for note in dict.fromkeys((*trace.notes, *account.notes)):
        typer.echo(f"note: {note}", err=True)
    print_account(account, stdout_console())
    for written in (json, out, html):
        if written is not None:
            typer.echo(f"wrote {written}", err=True)
