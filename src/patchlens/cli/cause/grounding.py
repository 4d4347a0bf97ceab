"""Whether answers need their picture: ``patchlens cause grounding``."""

from __future__ import annotations

from typing import Annotated

import typer

from patchlens.cli.app import (
    DeviceOption,
    DtypeOption,
    ModelOption,
    check_writable,
    progress_display,
    stdout_console,
)
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
def grounding(
    picture: PictureArgument = None,
    prompt: PromptOption = None,
    model: ModelOption = "demo",
    data: DataOption = None,
    begun: Annotated[
        str | None,
        typer.Option("--begun", help="The beginning of the answer, as already said; what follows is judged."),
    ] = None,
    others: Annotated[int, typer.Option("--others", min=1, help="Other pictures to show instead.")] = 4,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, help="Longest answer.")] = 20,
    seeds: SeedsOption = 5,
    scenes: ScenesOption = 8,
    seed: SeedOption = 0,
    out: OutOption = None,
    json: JsonOption = None,
    dtype: DtypeOption = "auto",
    device_map: DeviceOption = None,
) -> None:
    """Tell answers that need their picture from those that stay the same whatever the picture."""
    check_writable(out, ".jsonl")
    check_writable(json, ".json")
    with progress_display(long=True) as tell:
        tell("loading the model", 0, 1)
        from patchlens.cause.grounding import ask_planted, cause_grounding
        from patchlens.cause.grounding.words import print_words
        from patchlens.cause.settings import GroundingSettings
        from patchlens.run import load

        cases, about = cases_of(picture, prompt, data, seeds, scenes, ask_planted)
        drawn = picture is None and data is None
        settings = GroundingSettings(begun, others, max_new_tokens, seed)
        loaded = load(model, dtype=dtype, device_map=device_map)
        tell("loading the model", 1, 1)
        found = cause_grounding(
            loaded,
            cases,
            settings,
            planted=drawn and begun is None,
            about=about,
            out=out,
            progress=tell,
        )
    tell_finding(found, out, json=json)
    if not drawn:
        print_words(found, stdout_console())
