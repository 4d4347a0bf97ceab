"""Whether what can be read matters: ``patchlens cause``, a command for each experiment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from patchlens.cause.settings import (
    ChangeSettings,
    FidelitySettings,
    GroundingSettings,
    HallucinationSettings,
    KnockoutSettings,
    PatchesSettings,
)
from patchlens.cli import options
from patchlens.cli.app import Flat, app, progress_display, stdout_console
from patchlens.cli.cases import (
    CaseOptions,
    Picture,
    Prepared,
    RecordsFile,
    Scenes,
    begin,
    tell_finding,
)
from patchlens.errors import SelectionError

causes = App(name="cause", help="Check by intervention whether what can be read matters for the answer.")
app.command(causes)


@causes.command
def change(
    picture: Annotated[Path, Parameter(help="A picture.", allow_leading_hyphen=False)],
    /,
    *,
    prompt: Annotated[str, options.Prompt, Parameter(help="What to ask of it.")],
    model: Flat[options.ModelOptions] = options.ModelOptions(),
    settings: Flat[ChangeSettings | None] = None,
    other: Path | None = None,
    json: options.Json = False,
) -> None:
    """Change a pass in any way, and see what becomes of the answer, beside random changes.

    Args:
        other: The picture that --swap takes from.
    """
    own = settings or ChangeSettings()
    if own.swap and other is None:
        raise SelectionError("states are swapped with those of another picture: say with --other which")
    with progress_display() as tell:
        tell("loading the model", 0, 1)
        from patchlens.data.item import Item
        from patchlens.pictures.open import open_picture

        item = Item(picture.name, prompt, (picture,))
        options.check_pictures([item])
        instead = None if other is None else open_picture(other)
        from patchlens.cause.cases import as_cases
        from patchlens.cause.change import cause_change

        on = Prepared(model.load(), as_cases([item]), "", tell)
        on.forecast(own.runs)("changing the pass", 0, 1)
        finding = cause_change(on.model, on.cases, own, other=instead)
    tell_finding(finding, json=json)


@causes.command
def fidelity(
    picture: Picture = None,
    /,
    *,
    cases: Flat[CaseOptions] = CaseOptions(),
    scenes: Scenes = 20,
    model: Flat[options.ModelOptions] = options.ModelOptions(),
    lens: Annotated[tuple[str, ...], options.Lens] = (),
    settings: Flat[FidelitySettings] = FidelitySettings(),
    reference: str | None = None,
    out: RecordsFile = None,
    json: options.Json = False,
) -> None:
    """Take directions out of states, and see whether a lens foretells what that does to the answer.

    Args:
        lens: Name or file of a lens that gives a distribution (repeatable; logit is always among them). All
            that come with the model if left out.
        reference: Pictures to take mean and directions from, as --data; kept drawn scenes if left out.
    """
    with progress_display() as tell:
        tell("loading the model", 0, 1)
        from patchlens.cause.cases import as_cases
        from patchlens.cause.fidelity import cause_fidelity, lenses_of
        from patchlens.scenes.questions import ask

        kept = None if reference is None else as_cases(reference, cases.prompt)
        on = begin(tell, picture, cases, scenes, ask, model)
        lenses = lenses_of(on.model, lens)
        finding = cause_fidelity(
            on.model,
            on.cases,
            settings,
            lenses=lenses,
            reference=kept,
            about=on.about,
            out=out,
            progress=on.forecast(settings.runs(on.model.n_layers, len(lenses))),
        )
    tell_finding(finding, out, json=json)


@causes.command
def grounding(
    picture: Picture = None,
    /,
    *,
    cases: Flat[CaseOptions] = CaseOptions(),
    scenes: Scenes = 8,
    model: Flat[options.ModelOptions] = options.ModelOptions(),
    settings: Flat[GroundingSettings] = GroundingSettings(),
    out: RecordsFile = None,
    json: options.Json = False,
) -> None:
    """Tell answers that need their picture from those that stay the same whatever the picture."""
    drawn = picture is None and cases.data is None
    with progress_display() as tell:
        tell("loading the model", 0, 1)
        from patchlens.cause.grounding import ask_planted, cause_grounding

        on = begin(tell, picture, cases, scenes, ask_planted, model)
        judged = cause_grounding(
            on.model,
            on.cases,
            settings,
            planted=drawn and settings.begun is None,
            about=on.about,
            out=out,
            progress=on.forecast(settings.runs),
        )
    tell_finding(judged, out, json=json)
    if not drawn and not json:
        from patchlens.cause.grounding.words import print_words

        print_words(judged, stdout_console())


@causes.command
def hallucination(
    picture: Picture = None,
    /,
    *,
    cases: Flat[CaseOptions] = CaseOptions(),
    scenes: Scenes = 15,
    validation: int = 60,
    model: Flat[options.ModelOptions] = options.ModelOptions(),
    lens: Annotated[str | None, options.Lens] = None,
    settings: Flat[HallucinationSettings] = HallucinationSettings(),
    out: RecordsFile = None,
    json: options.Json = False,
) -> None:
    """Score every noun of what the model says of a picture; where the truth is known, how well that works.

    Args:
        validation: Other drawn scenes, to choose layers and thresholds on.
        lens: Whose confidence is scored. logit (or cross, where pictures need it) if left out.
    """
    with progress_display() as tell:
        tell("loading the model", 0, 1)
        from patchlens.cause.hallucination import (
            calibrated,
            caption_question,
            cause_hallucination,
            described,
            validation_cases,
        )
        from patchlens.demo import bundled_models

        known, bundled = picture is None and cases.data is None, model.model in bundled_models()
        if picture is not None and cases.prompt is None:
            cases = replace(cases, prompt=_general_prompt(bundled))
        kept = validation_cases(validation) if known or bundled else ()
        on = begin(tell, picture, cases, scenes, caption_question, model)
        told = on.forecast(None, *kept)
        if known:
            outcome = cause_hallucination(
                on.model,
                on.cases,
                settings,
                lens=lens,
                validation=kept,
                about=on.about,
                out=out,
                progress=told,
            )
        else:
            scale = calibrated(on.model, kept, lens, told) if kept else None
            most = settings.max_new_tokens
            outcome = described(
                on.model, on.cases, scale, lens=lens, max_new_tokens=most, out=out, progress=told
            )
    tell_finding(outcome, out, json=json)


def _general_prompt(bundled: bool) -> str:
    from patchlens.demo import GENERIC_PROMPT
    from patchlens.trace import GENERAL_PROMPT

    return GENERIC_PROMPT if bundled else GENERAL_PROMPT


@causes.command
def knockout(
    picture: Picture = None,
    /,
    *,
    cases: Flat[CaseOptions] = CaseOptions(),
    scenes: Scenes = 6,
    model: Flat[options.ModelOptions] = options.ModelOptions(),
    settings: Flat[KnockoutSettings] = KnockoutSettings(),
    out: RecordsFile = None,
    json: options.Json = False,
) -> None:
    """Knock out attention in windows of blocks: from picture to answer, picture to text, text to answer."""
    with progress_display() as tell:
        tell("loading the model", 0, 1)
        from patchlens.cause.knockout import ask_about_thing, cause_knockout

        on = begin(tell, picture, cases, scenes, ask_about_thing, model)
        told = on.forecast(settings.runs(on.model.n_layers))
        finding = cause_knockout(on.model, on.cases, settings, about=on.about, out=out, progress=told)
    tell_finding(finding, out, json=json)


@causes.command
def patches(
    picture: Picture = None,
    /,
    *,
    cases: Flat[CaseOptions] = CaseOptions(),
    scenes: Scenes = 12,
    model: Flat[options.ModelOptions] = options.ModelOptions(),
    lens: Annotated[str | None, options.Lens] = None,
    settings: Flat[PatchesSettings] = PatchesSettings(),
    out: RecordsFile = None,
    html: options.PageFile = None,
    json: options.Json = False,
) -> None:
    """Ablate the patches that a lens points at, and as many others: does the answer need them.

    Args:
        lens: logit, cross, embedding, tuned, or a file that patchlens fit wrote. If left out: cross if the
            model reads pictures by cross-attention, else logit.
        html: Write a page with both maps; for one picture.
    """
    with progress_display() as tell:
        tell("loading the model", 0, 1)
        from patchlens.cause.patches import ablate_pointed, one_thing
        from patchlens.cause.patches_choice import settle
        from patchlens.cause.patches_page import read_with_maps

        on = begin(tell, picture, cases, scenes, one_thing, model, html)
        ablation, notes = settle(on.model, on.cases, settings, lens, tell)
        told = on.forecast(ablation.runs(on.cases[0]))
        finding = ablate_pointed(ablation, on.cases, about=on.about, out=out, notes=notes, progress=told)
        if html is not None:
            from patchlens.views.html import write_page

            (record,) = finding.records.values()
            write_page(read_with_maps(ablation, on.cases[0], record, finding.sentence), html)
    tell_finding(finding, out, html, json=json)
