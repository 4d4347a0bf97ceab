"""Ablating what a lens points at: ``patchlens cause patches``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchlens.cause.settings import PatchesSettings
from patchlens.cli.app import DeviceOption, DtypeOption, ModelOption, check_writable, progress_display
from patchlens.cli.cause.shared import (
    DataOption,
    JsonOption,
    OutOption,
    PictureArgument,
    PromptOption,
    ScenesOption,
    SeedOption,
    SeedsOption,
    cases_of,
    causes,
    tell_finding,
)
from patchlens.errors import SelectionError


@causes.command()
def patches(
    image: PictureArgument = None,
    prompt: PromptOption = None,
    model: ModelOption = "demo",
    data: DataOption = None,
    lens: Annotated[
        str | None,
        typer.Option(
            "--lens",
            help="logit, cross, embedding, tuned, or a file that patchlens fit wrote. If left out: cross if "
            "the model reads pictures by cross-attention, else logit.",
        ),
    ] = None,
    layer: Annotated[
        int | None,
        typer.Option("--layer", help="Layer of the lens's map. Chosen on other scenes if left out."),
    ] = None,
    above: Annotated[
        float | None,
        typer.Option(
            "--above",
            help="Ablate patches with at least this share of the map's highest probability: 0.1.",
        ),
    ] = None,
    top: Annotated[
        float | None, typer.Option("--top", help="Ablate this share of the patches instead, such as 0.2.")
    ] = None,
    by: Annotated[
        str, typer.Option("--by", help="What patches are replaced by: mean, zero, noise or other.")
    ] = "mean",
    word: Annotated[
        str | None, typer.Option("--word", help="Word of the answer to map; taken from it if left out.")
    ] = None,
    block: Annotated[
        int, typer.Option("--block", help="Patches across the block around each patch, for the causal map.")
    ] = 5,
    step: Annotated[
        int | None,
        typer.Option(
            "--step",
            help="Patches from one block to the next. 1 for one picture, else 2, if left out.",
        ),
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option("--draws", help="Draws of random patches. 20 for a picture, else 3, if left out."),
    ] = None,
    seeds: SeedsOption = 5,
    scenes: ScenesOption = 12,
    out: OutOption = None,
    json: JsonOption = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with both maps; for one picture.")
    ] = None,
    seed: SeedOption = 0,
    dtype: DtypeOption = "auto",
    device_map: DeviceOption = None,
) -> None:
    """Ablate the patches that a lens points at, and as many others: does the answer need them."""
    for path, suffix in ((out, ".jsonl"), (json, ".json"), (html, ".html")):
        check_writable(path, suffix)
    settings = PatchesSettings(layer, above, top, by, word, block, step, draws, seed)  # pyright: ignore[reportArgumentType]
    with progress_display() as tell:
        tell("loading the model", 0, 1)
        from patchlens.cause.patches import ablate_pointed, one_thing
        from patchlens.cause.patches_choice import settle
        from patchlens.cause.patches_page import read_with_maps
        from patchlens.run import load

        cases, about = cases_of(image, prompt, data, seeds, scenes, one_thing)
        if html is not None and len(cases) > 1:
            raise SelectionError(f"a page is of one picture, not of {len(cases)} cases: leave --html out")
        loaded = load(model, dtype=dtype, device_map=device_map)
        loaded.adapter.prove()
        tell("loading the model", 1, 1)
        ablation, notes = settle(loaded, cases, settings, lens, tell)
        finding = ablate_pointed(ablation, cases, about=about, out=out, notes=notes, progress=tell)
        if html is not None:
            from patchlens.views.html import write_page

            ((case, record),) = zip(cases, finding.records.values(), strict=True)
            write_page(read_with_maps(ablation, case, record, finding.sentence), html)
    tell_finding(finding, out, html, json=json)
