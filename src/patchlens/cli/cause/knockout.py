"""Where what is seen gets to the answer: ``patchlens cause knockout``."""

from __future__ import annotations

from typing import Annotated

import typer

from patchlens.cause.settings import KnockoutSettings
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


@causes.command()
def knockout(
    picture: PictureArgument = None,
    prompt: PromptOption = None,
    model: ModelOption = "demo",
    data: DataOption = None,
    width: Annotated[
        int | None,
        typer.Option(
            "--width", min=1, help="Blocks of a window. A fifth of the depth, 3 at least, if left out."
        ),
    ] = None,
    draws: Annotated[
        int, typer.Option("--draws", min=1, help="Random draws that a control is the mean of.")
    ] = 3,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, help="Longest answer.")] = 20,
    seeds: SeedsOption = 5,
    scenes: ScenesOption = 6,
    seed: SeedOption = 0,
    out: OutOption = None,
    json: JsonOption = None,
    dtype: DtypeOption = "auto",
    device_map: DeviceOption = None,
) -> None:
    """Knock out attention in windows of blocks: from picture to answer, picture to text, text to answer."""
    check_writable(out, ".jsonl")
    check_writable(json, ".json")
    settings = KnockoutSettings(width, draws, max_new_tokens, seed)
    with progress_display(long=True) as tell:
        tell("loading the model", 0, 1)
        from patchlens.cause.knockout import ask_about_thing, cause_knockout
        from patchlens.run import load

        cases, about = cases_of(picture, prompt, data, seeds, scenes, ask_about_thing)
        loaded = load(model, dtype=dtype, device_map=device_map)
        tell("loading the model", 1, 1)
        finding = cause_knockout(loaded, cases, settings, about=about, out=out, progress=tell)
    tell_finding(finding, out, json=json)
