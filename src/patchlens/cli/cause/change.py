"""Any interventions on one picture: ``patchlens cause change``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchlens.cause.settings import ChangeSettings
from patchlens.cli.app import DeviceOption, DtypeOption, ModelOption, check_writable, progress_display
from patchlens.cli.cause.shared import JsonOption, SeedOption, causes, tell_finding

Written = list[str] | None


@causes.command()
def change(
    picture: Annotated[Path, typer.Argument(help="A picture.", metavar="IMAGE")],
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="What to ask of it.")],
    model: ModelOption = "demo",
    ablate: Annotated[
        Written,
        typer.Option(
            "--ablate",
            help="PATCHES[@LAYER]: all, 0,4-8, or rows x columns 2-5x3-6. Repeatable.",
        ),
    ] = None,
    by: Annotated[str, typer.Option("--by", help="Ablated become mean, zero, noise or other.")] = "mean",
    knockout: Annotated[
        Written, typer.Option("--knockout", help="QUERIES:SOURCES[@BLOCKS], such as answer:patches@3-5.")
    ] = None,
    project: Annotated[
        Written,
        typer.Option("--project", help="WORD[:WHERE][@LAYERS]: take it out, as cat:patches@0."),
    ] = None,
    add: Annotated[
        Written,
        typer.Option("--add", help="WORD*STRENGTH[:WHERE][@LAYERS]: put it in, as cat*8:last@4."),
    ] = None,
    swap: Annotated[
        Written, typer.Option("--swap", help="WHERE[@LAYER]: states of --other, such as patches or last@4.")
    ] = None,
    other: Annotated[Path | None, typer.Option("--other", help="The picture that --swap takes from.")] = None,
    draws: Annotated[int, typer.Option("--draws", help="Random changes of the same sort, as control.")] = 20,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, help="Longest answer.")] = 20,
    seed: SeedOption = 0,
    json: JsonOption = None,
    dtype: DtypeOption = "auto",
    device_map: DeviceOption = None,
) -> None:
    """Change a pass in any way, and see what becomes of the answer, beside random changes."""
    check_writable(json, ".json")
    settings = ChangeSettings(
        tuple(ablate or ()),
        by,  # pyright: ignore[reportArgumentType]
        tuple(knockout or ()),
        tuple(project or ()),
        tuple(add or ()),
        tuple(swap or ()),
        draws,
        max_new_tokens,
        seed,
    )
    with progress_display() as tell:
        tell("loading the model", 0, 1)
        from patchlens.cause.change import cause_change
        from patchlens.fit import Item
        from patchlens.pictures.open import open_picture
        from patchlens.run import load

        item = Item(picture.name, prompt, (picture,))
        instead = None if other is None else open_picture(other)
        loaded = load(model, dtype=dtype, device_map=device_map)
        tell("changing the pass", 0, 1)
        finding = cause_change(loaded, [item], settings, other=instead)
    tell_finding(finding, json=json)
