"""``patchlens cause hallucination``: which nouns of a caption the picture backs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    SeedOption,
    SeedsOption,
    cases_of,
    causes,
    tell_finding,
)
from patchlens.progress import Tell

if TYPE_CHECKING:
    from patchlens.data.item import Item
    from patchlens.lens import Lens
    from patchlens.run import Model


@causes.command()
def hallucination(
    picture: PictureArgument = None,
    prompt: PromptOption = None,
    data: DataOption = None,
    model: ModelOption = "demo",
    lens: Annotated[
        str | None,
        typer.Option(
            "--lens", help="Whose confidence is scored. logit (or cross, where pictures need it) if left out."
        ),
    ] = None,
    seeds: SeedsOption = 5,
    scenes: Annotated[int, typer.Option("--scenes", help="Drawn scenes of each seed.")] = 15,
    validation: Annotated[
        int, typer.Option("--validation", help="Other drawn scenes, to choose layers and thresholds on.")
    ] = 60,
    edit: Annotated[
        bool, typer.Option("--edit/--no-edit", help="Also take nouns out and describe the picture again.")
    ] = True,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=1, help="Longest caption, in tokens.")
    ] = 40,
    seed: SeedOption = 0,
    out: OutOption = None,
    json: JsonOption = None,
    dtype: DtypeOption = "auto",
    device_map: DeviceOption = None,
) -> None:
    """Score every noun of what the model says of a picture; where the truth is known, how well that works."""
    check_writable(out, ".jsonl")
    check_writable(json, ".json")
    with progress_display() as tell:
        tell("loading the model", 0, 1)
        from patchlens.cause.hallucination import caption_question, cause_hallucination, validation_cases
        from patchlens.cause.settings import HallucinationSettings
        from patchlens.demo import bundled_models
        from patchlens.lens.open import open_lens
        from patchlens.run import load

        asked = prompt or (_prompt(model in bundled_models()) if picture is not None else None)
        cases, about = cases_of(picture, asked, data, seeds, scenes, caption_question)
        are_own = picture is not None or data is not None
        knows_scenes = not are_own or model in bundled_models()
        kept = validation_cases(validation) if knows_scenes else ()
        loaded = load(model, dtype=dtype, device_map=device_map)
        loaded.adapter.prove()
        chosen = open_lens(lens or ("cross" if loaded.adapter.cross_blocks else "logit"), loaded)
        tell("loading the model", 1, 1)
        if are_own:
            _describe(loaded, chosen, cases, kept, max_new_tokens, out, json, tell)
            return
        settings = HallucinationSettings(max_new_tokens, edit, seed)
        finding = cause_hallucination(
            loaded,
            cases,
            settings,
            lens=chosen,
            validation=kept,
            about=about,
            out=out,
            progress=tell,
        )
    tell_finding(finding, out, json=json)


def _describe(
    model: Model,
    lens: Lens,
    cases: tuple[Item, ...],
    validation: tuple[Item, ...],
    max_new_tokens: int,
    out: Path | None,
    json: Path | None,
    tell: Tell,
) -> None:
    """Pictures of no known truth: scores, and flags where validation scenes calibrate them."""
    from patchlens.cause.hallucination import calibrated, described
    from patchlens.cause.hallucination.described import print_described
    from patchlens.files import write_atomically

    chosen = calibrated(model, validation, lens, tell) if validation else None
    found = described(model, cases, chosen, lens=lens, max_new_tokens=max_new_tokens, out=out, progress=tell)
    if json is not None:
        write_atomically(json, found.to_json())
    print_described(found, stdout_console())
    for path in (out, json):
        if path is not None:
            typer.echo(f"wrote {path}", err=True)


def _prompt(is_bundled: bool) -> str:
    from patchlens.demo import GENERIC_PROMPT
    from patchlens.trace import GENERAL_PROMPT

    return GENERIC_PROMPT if is_bundled else GENERAL_PROMPT
