"""``patchlens cause fidelity``: whether a lens foretells what changes do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from patchlens.lens import Lens
    from patchlens.run import Model

_REFERENCE = 128


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
        from patchlens.cause.cases import drawn_cases, own_cases
        from patchlens.cause.fidelity import cause_fidelity
        from patchlens.cause.settings import FidelitySettings
        from patchlens.fit import read_items
        from patchlens.run import load
        from patchlens.scenes.questions import ask
        from patchlens.scenes.seeds import VALIDATION_SEEDS

        settings = FidelitySettings(chosen, at, basis, directions, seed)  # pyright: ignore[reportArgumentType]
        cases, about = cases_of(picture, prompt, data, seeds, scenes, ask)
        kept = (
            drawn_cases(ask, 1, _REFERENCE, first=VALIDATION_SEEDS)
            if reference is None
            else own_cases(read_items(reference, prompt))
        )
        loaded = load(model, dtype=dtype, device_map=device_map)
        loaded.adapter.prove()
        tell("loading the model", 1, 1)
        finding = cause_fidelity(
            loaded, cases, _lenses(loaded, lens), kept, settings, about=about, out=out, progress=tell
        )
    tell_finding(finding, out, json=json)


def _lenses(model: Model, wanted: list[str] | None) -> dict[str, Lens]:
    """The lenses by name, the logit lens first; of those that come with a model, those that can be asked."""
    from patchlens.demo import bundled_lenses
    from patchlens.lens.open import open_lens

    names = dict.fromkeys(["logit", *(wanted or bundled_lenses(model.name))])
    found: dict[str, Lens] = {}
    for name in names:
        short = Path(name).stem
        found[name if short in found else short] = open_lens(name, model)
    if wanted:
        return found
    return {name: lens for name, lens in found.items() if lens.has_distribution}
