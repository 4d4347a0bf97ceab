"""Ablating what a lens points at: ``patchlens cause patches``."""

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
from patchlens.errors import SelectionError

if TYPE_CHECKING:
    from patchlens.causal.pointing import Pointing

DRAWS, DRAWS_ALONE = 3, 20
STEP, STEP_ALONE = 2, 1


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
    pointing = _pointing(above, top)
    with progress_display() as tell:
        tell("loading the model", 0, 1)
        from patchlens.cause.patches.choice import settle
        from patchlens.cause.patches.measure import Settings, cause_patches, one_thing, subject_of
        from patchlens.cause.patches.page import read_with_maps
        from patchlens.cause.patches.replacing import make_replacing
        from patchlens.lens.open import open_lens
        from patchlens.run import Model, load

        cases, about = cases_of(image, prompt, data, seeds, scenes, one_thing)
        alone = len(cases) == 1
        if html is not None and not alone:
            raise SelectionError(f"a page is of one picture, not of {len(cases)} cases: leave --html out")
        adapter = load(model, dtype=dtype, device_map=device_map).adapter
        adapter.prove()
        tell("loading the model", 1, 1)
        found = open_lens(lens or ("cross" if adapter.cross_blocks else "logit"), adapter)
        subject = subject_of(adapter, found, make_replacing(adapter, cases, by, seed), cases)
        settings = Settings(
            block=block,
            step=(STEP_ALONE if alone else STEP) if step is None else step,
            draws=(DRAWS_ALONE if alone else DRAWS) if draws is None else draws,
            word=word,
            seed=seed,
        )
        settings, note = settle(subject, cases, settings, layer, pointing, tell)
        notes = [note]
        if image is not None:
            notes += Model(adapter).trace(str(image), prompt or "", max_new_tokens=0, layers=[0]).notes
        outcome = cause_patches(subject, cases, settings, about=about, tell=tell, out=out, notes=notes)
        if html is not None:
            from patchlens.views.html import write_page

            (case,), (record,) = cases, outcome.records.values()
            write_page(read_with_maps(subject, case, settings, record, outcome.finding.sentence), html)
    tell_finding(outcome.finding, out, html, json=json)


def _pointing(above: float | None, top: float | None) -> Pointing | None:
    from patchlens.causal.pointing import Above, Top

    if above is not None and top is not None:
        raise SelectionError("--above and --top together: give one of them")
    return Above(above) if above is not None else Top(top) if top is not None else None
