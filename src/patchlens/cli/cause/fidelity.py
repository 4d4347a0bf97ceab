"""``patchlens cause fidelity``: whether a lens foretells what changes do."""

from __future__ import annotations

from typing import Annotated

import typer

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
from patchlens.selection import parse_numbers


@causes.command()
def fidelity(
    picture: PictureArgument = None,
    prompt: PromptOption = None,
    data: DataOption = None,
    model: ModelOption = "demo",
    lens: Annotated[
        list[str] | None,
        typer.Option(
            "--lens",
            help="Name or file of a lens that gives a distribution (repeatable; logit is always among them). "
            "All that come with the model if left out.",
        ),
    ] = None,
    layers: Annotated[
        str | None, typer.Option("--layers", help="Such as 1,4-8. All below the last if left out.")
    ] = None,
    at: Annotated[
        str, typer.Option("--at", help="last (where the answer starts) or patches: whose states are changed.")
    ] = "last",
    basis: Annotated[
        str, typer.Option("--basis", help="principal (the states' directions) or lens (each lens's own).")
    ] = "principal",
    directions: Annotated[int, typer.Option("--directions", help="How many of each layer, at most.")] = 64,
    seeds: SeedsOption = 5,
    scenes: ScenesOption = 20,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            help="Pictures to take mean and directions from, as --data; kept drawn scenes if left out.",
        ),
    ] = None,
    seed: SeedOption = 0,
    out: OutOption = None,
    json: JsonOption = None,
    dtype: DtypeOption = "auto",
    device_map: DeviceOption = None,
) -> None:
    """Take directions out of states, and see whether a lens foretells what that does to the answer."""
    check_writable(out, ".jsonl")
    check_writable(json, ".json")
    chosen = None if layers is None else tuple(parse_numbers(layers))
    with progress_display() as tell:
        tell("loading the model", 0, 1)
        from patchlens.cause.cases import as_cases
        from patchlens.cause.fidelity import cause_fidelity, lenses_of
        from patchlens.cause.settings import FidelitySettings
        from patchlens.run import load
        from patchlens.scenes.questions import ask

        settings = FidelitySettings(chosen, at, basis, directions, seed)  # pyright: ignore[reportArgumentType]
        cases, about = cases_of(picture, prompt, data, seeds, scenes, ask)
        kept = None if reference is None else as_cases(reference, prompt)
        loaded = load(model, dtype=dtype, device_map=device_map)
        loaded.adapter.prove()
        tell("loading the model", 1, 1)
        finding = cause_fidelity(
            loaded,
            cases,
            settings,
            lenses=lenses_of(loaded, lens or ()),
            reference=kept,
            about=about,
            out=out,
            progress=tell,
        )
    tell_finding(finding, out, json=json)
