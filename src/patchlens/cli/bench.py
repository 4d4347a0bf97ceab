"""Scoring lenses where the truth is known: ``patchlens bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchlens.cli.app import DeviceOption, DtypeOption, app, check_writable, progress_display, stdout_console


@app.command()
def bench(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="demo, demo-cross, a folder, or a hub id (repeatable). Both demos if left out.",
        ),
    ] = None,
    lens: Annotated[
        list[str] | None,
        typer.Option("--lens", help="Name or file of a lens (repeatable). All there are if left out."),
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", help="Batches of fresh pictures that intervals are over.")
    ] = 5,
    scenes: Annotated[int, typer.Option("--scenes", help="Pictures per seed.")] = 20,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", "-d", help="Folder of pictures with masks in COCO's format, instead of scenes."
        ),
    ] = None,
    prompt: Annotated[
        str, typer.Option("--prompt", "-p", help="What to ask of each picture of a folder.")
    ] = "What is in the picture?",
    json: Annotated[Path | None, typer.Option("--json", help="Write every figure: NAME.json.")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help='Write a page with charts (needs the extra "chart").')
    ] = None,
    dtype: DtypeOption = "auto",
    device_map: DeviceOption = None,
) -> None:
    """Score lenses on pictures whose truth is known: what they read, where, and beside which nulls."""
    check_writable(json, ".json")
    check_writable(html, ".html")
    if html is not None:
        from patchlens.bench.page import check_charts

        check_charts()
    with progress_display() as tell:
        tell("loading the models", 0, 1)
        from patchlens.bench.board import to_json
        from patchlens.bench.compare import compare
        from patchlens.bench.exam import annotated_exam, drawn_exam
        from patchlens.bench.table import print_board

        exam = drawn_exam(seeds, scenes) if data is None else annotated_exam(data, seeds, scenes, prompt)
        board = compare(
            model or ["demo", "demo-cross"],
            lens or [],
            exam,
            load_options={"dtype": dtype, "device_map": device_map},
            progress=tell,
        )
    if json is not None:
        from patchlens.files import write_atomically

        write_atomically(json, to_json(board))
    if html is not None:
        from patchlens.bench.page import write_board

        write_board(board, html)
    print_board(board, stdout_console())
    for written in (json, html):
        if written is not None:
            typer.echo(f"wrote {written}", err=True)
