"""Scoring lenses where the truth is known: ``patchlens bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from patchlens.cli import options
from patchlens.cli.app import Flat, app, progress_display, say_written, stdout_console


@app.command
def bench(
    *,
    model: Annotated[tuple[str, ...], Parameter(alias="-m")] = ("demo", "demo-cross"),
    lens: Annotated[tuple[str, ...], options.Lens] = (),
    seeds: int = 5,
    scenes: int = 20,
    data: Annotated[Path | None, Parameter(alias="-d")] = None,
    prompt: Annotated[str, options.Prompt] = "What is in the picture?",
    html: options.PageFile = None,
    json: options.Json = False,
    load: Flat[options.LoadOptions] = options.LoadOptions(),
) -> None:
    """Score lenses on pictures whose truth is known: what they read, where, and beside which nulls.

    Args:
        model: demo, demo-cross, a folder, or a hub id (repeatable).
        lens: Name or file of a lens (repeatable). All there are if left out.
        seeds: Batches of fresh pictures that intervals are over.
        scenes: Pictures per seed.
        data: Folder of pictures with masks in COCO's format, instead of scenes.
        prompt: What to ask of each picture of a folder.
        html: Write a page with charts (needs the extra "chart").
    """
    if html is not None:
        from patchlens.bench.page import check_charts

        check_charts()
    with progress_display() as tell:
        tell("loading the models", 0, 1)
        from patchlens.bench.exam import annotated_exam, drawn_exam

        exam = drawn_exam(seeds, scenes) if data is None else annotated_exam(data, seeds, scenes, prompt)
        from patchlens.bench.compare import compare

        board = compare(model, lens, exam, load_options=vars(load), progress=tell)
    if html is not None:
        from patchlens.bench.page import write_board

        write_board(board, html)
    if json:
        from patchlens.bench.board import to_json

        print(to_json(board), end="")
    else:
        from patchlens.bench.table import print_board

        print_board(board, stdout_console())
    say_written(html)
