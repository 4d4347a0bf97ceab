"""Hallucination: which nouns of a caption are made up, by scores of the picture; and taking them out."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from patchlens.cause.cases import CasesLike, about_cases, as_cases, drawn_cases
from patchlens.cause.finding import Finding
from patchlens.cause.hallucination.edit_out import edited, windows_of
from patchlens.cause.hallucination.noun_scores import noun_scores, usual_lens, whole_caption
from patchlens.cause.hallucination.nouns import Noun, known_nouns, swapped
from patchlens.cause.hallucination.rows import Chosen, choose, rows_of, sentence_of
from patchlens.cause.ledger import Record
from patchlens.cause.runner import Experiment
from patchlens.cause.settings import HallucinationSettings
from patchlens.data.item import Item
from patchlens.errors import SelectionError
from patchlens.lens import Lens, LensLike
from patchlens.progress import Progress, silent
from patchlens.run import Model
from patchlens.scenes.questions import Question, ask
from patchlens.scenes.scene import Scene
from patchlens.scenes.seeds import VALIDATION_SEEDS
from patchlens.scenes.vocabulary import OBJECTS, SHAPES
from patchlens.trace import Trace

VALIDATION: Final = 60
"""Drawn scenes that layers and thresholds are chosen on."""
_TRIED: Final = 12
"""Validation captions of which a true noun is edited out."""
_EVERY: Final = 3
_LONGER: Final = 6
"""Tokens by which an edited caption may be longer than the plain one."""
_THINGS: Final = tuple(concept.key for concept in (*OBJECTS, *SHAPES))


def caption_question(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Ask for an English caption of a scene with several things; others are passed over."""
    return ask(scene, rng, "caption", "en") if len(scene.objects) > 1 else None


def cause_hallucination(
    model: Model,
    data: CasesLike,
    settings: HallucinationSettings | None = None,
    *,
    lens: LensLike | None = None,
    validation: Sequence[Item] | None = None,
    about: str | None = None,
    out: Path | None = None,
    progress: Progress = silent,
) -> Finding:
    """Score the nouns of captions of drawn scenes, whose truth is known, and edit nouns out.

    The model describes each scene; a noun is made up if no such thing is in it. Besides these own nouns there
    are planted ones: the same caption with one true noun swapped for one that is not there. Scores are those
    of `noun_scores`; their layers, the thresholds of F1 and where to edit are chosen on
    ``validation``. Then made-up nouns, and one true noun of every third caption, are taken out of the patches
    (`patchlens.cause.hallucination.edit_out`).

    Args:
        model: what `patchlens.load` returns.
        data: drawn scenes that ask for a caption (`caption_question`).
        settings: sizes and seed.
        lens: gives the first of the scores; the logit lens, or cross where pictures need it, if left out.
        validation: other such scenes; `VALIDATION` kept ones if left out.
        about: what the scenes are, in words.
        out: NAME.jsonl, a line per case; run again, it goes on from there.
        progress: told what is being done, how much is done, and of how much.

    Raises:
        SelectionError: a case is no drawn scene, so nothing is known of it, or the model names nothing.
        DataError: the file is of another run.
    """
    own, reader = settings or HallucinationSettings(), usual_lens(model, lens)
    cases, kept = as_cases(data), validation_cases() if validation is None else validation
    parameters = {**asdict(own), "lens": reader.name, "lens_parameters": dict(reader.params())}
    trial = Experiment("hallucination", model, [*kept, *cases], parameters, out, progress)
    chosen = choose(_records(trial, reader, kept, own, None), edit=own.edit)
    records = _records(trial, reader, cases, own, chosen.window)
    rows = rows_of(records, chosen, own.seed)
    return trial.finding(
        f"nouns of captions, scored with the {reader.name} lens · {about or about_cases(cases)}",
        rows,
        sentence_of(rows),
        cases=len(cases),
        notes=_notes(chosen, records),
        settled={"validation": len(kept), "chosen": asdict(chosen)},
    )


def validation_cases(scenes: int = VALIDATION) -> tuple[Item, ...]:
    """Drawn scenes that layers and thresholds are chosen on, and nothing is reported of."""
    return drawn_cases(caption_question, 1, scenes, first=VALIDATION_SEEDS)


def calibrated(
    model: Model,
    validation: Sequence[Item],
    lens: LensLike | None = None,
    progress: Progress = silent,
) -> Chosen:
    """Layers and thresholds as `cause_hallucination` chooses them, without editing.

    Raises:
        SelectionError: a case is no drawn scene, or the model names nothing in any of them.
    """
    trial = Experiment("hallucination", model, validation, {}, progress=progress)
    settings = HallucinationSettings(edit=False)
    return choose(_records(trial, usual_lens(model, lens), validation, settings, None), edit=False)


def _records(
    trial: Experiment, lens: Lens, cases: Sequence[Item], settings: HallucinationSettings, window: str | None
) -> list[Record]:
    edited_true = frozenset(case.name for case in (cases[:_TRIED] if window is None else cases[::_EVERY]))
    one = partial(_record, trial.model, lens, settings, window, edited_true)
    return [record for record in trial.records(one, cases).values() if record.get("own")]


def _record(
    model: Model,
    lens: Lens,
    settings: HallucinationSettings,
    window: str | None,
    edited_true: frozenset[str],
    case: Item,
) -> Record:
    truth = case.known()
    if truth is None:
        raise SelectionError("nothing is known of what this picture shows: take drawn scenes, or score only")
    pictures = case.open()
    caption = model.trace(pictures, case.prompt, max_new_tokens=settings.max_new_tokens, layers=0)
    said = caption.answer.ids
    nouns = known_nouns(model.tokenizer, said)
    if not nouns:
        return {"own": None}
    there = frozenset(thing.name for thing in truth.things)
    rng = np.random.default_rng([settings.seed, zlib.crc32(case.name.encode())])

    def scored(ids: Sequence[int], nouns: Sequence[Noun]) -> Record:
        return {
            "nouns": [noun.key for noun in nouns],
            "made_up": [noun.key not in there for noun in nouns],
            "scores": noun_scores(whole_caption(model, pictures, case.prompt, ids), lens, nouns),
        }

    swap = swapped(model.tokenizer, said, nouns, there, rng)
    record: Record = {"own": scored(said, nouns), "planted": None if swap is None else scored(*swap)}
    if settings.edit:
        record["edits"] = _edits(caption, nouns, there, window, rng, case.name in edited_true)
    return record


def _edits(
    caption: Trace,
    nouns: Sequence[Noun],
    there: frozenset[str],
    window: str | None,
    rng: np.random.Generator,
    with_true: bool,
) -> list[Record]:
    windows = windows_of(caption.adapter) if window is None else (window,)
    false = [n for n, noun in enumerate(nouns) if noun.key not in there]
    true = [n for n, noun in enumerate(nouns) if noun.key in there]
    chosen = [*false, *([int(rng.choice(true))] if true and with_true else [])]
    absent = [key for key in _THINGS if key not in there and key not in {noun.key for noun in nouns}]
    found: list[Record] = []
    for index in chosen:
        other = str(rng.choice(absent))
        for one in edited(caption, nouns, index, other, windows, len(caption.answer.ids) + _LONGER):
            found.append({"noun": nouns[index].key, "made_up": index in false, "control": other, **one})
    return found


def _notes(chosen: Chosen, records: Sequence[Record]) -> tuple[str, ...]:
    at = ", ".join(f"{name} at {layer}" for name, layer in chosen.layers.items() if layer)
    said = [value for record in records for value in record["own"]["made_up"]]
    notes = [
        f"of {len(said)} nouns that the model said of these pictures it made up {sum(said)}",
        f"chosen on validation scenes: layers ({at}) and thresholds"
        + (f", and where to edit: {chosen.window}" if chosen.window is not None else ""),
        "control: AUROC and F1 with the truth of nouns shuffled, or what the row says; edits: a noun that is "
        "neither said nor there is taken out instead",
    ]
    if chosen.validation_made_up < 10:
        notes.append(
            f"validation scenes hold only {chosen.validation_made_up} nouns that the model made up itself: "
            "the threshold for those is a poor guess"
        )
    return tuple(notes)
