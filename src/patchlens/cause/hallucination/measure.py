"""Hallucination: which nouns of a caption are made up, by scores of the picture; and taking them out."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from patchlens.cause.cases import Case
from patchlens.cause.finding import Finding
from patchlens.cause.hallucination.edit_out import edited, windows_of
from patchlens.cause.hallucination.nouns import Noun, known_nouns, swapped
from patchlens.cause.hallucination.rows import Chosen, choose, rows_of, sentence_of
from patchlens.cause.hallucination.scores import noun_scores
from patchlens.cause.ledger import Ledger, Record, each, head_of
from patchlens.cause.settings import HallucinationSettings
from patchlens.errors import SelectionError
from patchlens.lens import Lens
from patchlens.models.adapter import Adapter
from patchlens.models.generate import generate_greedy
from patchlens.models.inputs import Inputs, prepare
from patchlens.progress import Progress, silent
from patchlens.scenes.questions import Question, ask
from patchlens.scenes.scene import Scene
from patchlens.scenes.vocabulary import OBJECTS, SHAPES

_TRIED: Final = 12
"""Validation captions of which a true noun is edited out."""
_EVERY: Final = 3
_LONGER: Final = 6
"""Tokens by which an edited caption may be longer than the plain one."""
_THINGS: Final = tuple(concept.key for concept in (*OBJECTS, *SHAPES))


def caption_question(scene: Scene, rng: np.random.Generator) -> Question | None:
    """Ask for an English caption of a scene with several things; others are passed over."""
    return ask(scene, rng, "caption", "en") if len(scene.objects) > 1 else None


def hallucination(
    adapter: Adapter,
    lens: Lens,
    cases: Sequence[Case],
    validation: Sequence[Case],
    settings: HallucinationSettings | None = None,
    *,
    about: str = "",
    path: Path | None = None,
    tell: Progress | None = None,
) -> Finding:
    """Score the nouns of captions of drawn scenes, whose truth is known, and edit nouns out.

    The model describes each scene; a noun is made up if no such thing is in it. Besides these own nouns there
    are planted ones: the same caption with one true noun swapped for one that is not there. Scores are those
    of `noun_scores`; their layers, the thresholds of F1 and where to edit are chosen on
    ``validation``. Then made-up nouns, and one true noun of every third caption, are taken out of the patches
    (`patchlens.cause.hallucination.edit_out`).

    Args:
        adapter: the model.
        lens: gives the first of the scores.
        cases: drawn scenes that ask for a caption (`caption_question`).
        validation: other such scenes.
        settings: sizes and seed.
        about: of the cases, in words.
        path: file of records, to go on from when stopped.
        tell: told how much is done.

    Raises:
        SelectionError: a case is no drawn scene, so nothing is known of it, or the model names nothing.
        DataError: the file is of another run.
    """
    own, told = settings or HallucinationSettings(), tell or silent
    parameters = {**asdict(own), "lens": lens.name, "lens_parameters": dict(lens.params())}
    ledger = Ledger(path, head_of("hallucination", adapter, [*validation, *cases], parameters))
    chosen = choose(_made(adapter, lens, validation, own, None, ledger, told), edit=own.edit)
    records = _made(adapter, lens, cases, own, chosen.window, ledger, told)
    rows = rows_of(records, chosen, own.seed)
    return Finding(
        "hallucination",
        adapter.name,
        f"nouns of captions, scored with the {lens.name} lens · {about}",
        len(cases),
        rows,
        sentence_of(rows),
        {**parameters, "validation": len(validation), "chosen": asdict(chosen)},
        _notes(chosen, records),
    )


def calibrated(
    adapter: Adapter, lens: Lens, validation: Sequence[Case], tell: Progress | None = None
) -> Chosen:
    """Layers and thresholds as `hallucination` chooses them, without editing.

    Raises:
        SelectionError: a case is no drawn scene, or the model names nothing in any of them.
    """
    settings = HallucinationSettings(edit=False)
    made = _made(adapter, lens, validation, settings, None, Ledger(None, {}), tell or silent)
    return choose(made, edit=False)


def _made(
    adapter: Adapter,
    lens: Lens,
    cases: Sequence[Case],
    settings: HallucinationSettings,
    window: str | None,
    ledger: Ledger,
    tell: Progress,
) -> list[Record]:
    edited_true = frozenset(case.name for case in (cases[:_TRIED] if window is None else cases[::_EVERY]))
    one = partial(_one, adapter, lens, settings, window, edited_true)
    return [record for record in each(cases, one, ledger, tell).values() if record.get("own")]


def _one(
    adapter: Adapter,
    lens: Lens,
    settings: HallucinationSettings,
    window: str | None,
    edited_true: frozenset[str],
    case: Case,
) -> Record:
    if case.truth is None:
        raise SelectionError("nothing is known of what this picture shows: take drawn scenes, or score only")
    inputs = prepare(adapter, case.prompt, case.open())
    caption = generate_greedy(adapter, inputs, settings.max_new_tokens)
    nouns = known_nouns(adapter.tokenizer, caption)
    if not nouns:
        return {"own": None}
    there = frozenset(thing.name for thing in case.truth.things)
    rng = np.random.default_rng([settings.seed, zlib.crc32(case.name.encode())])
    score = partial(noun_scores, adapter, lens, inputs)
    record: Record = {"own": {**_told(nouns, there), "scores": score(caption, nouns)}, "planted": None}
    swap = swapped(adapter.tokenizer, caption, nouns, there, rng)
    if swap is not None:
        record["planted"] = _planted(nouns, there, *swap, score)
    if settings.edit:
        most, with_true = len(caption) + _LONGER, case.name in edited_true
        record["edits"] = _edits(adapter, inputs, nouns, there, window, rng, most, with_true)
    return record


def _planted(
    nouns: Sequence[Noun],
    there: frozenset[str],
    caption: tuple[int, ...],
    index: int,
    new: Noun,
    score: Any,
) -> Record:
    """Scores of the swapped noun and of the true ones around it; those the model made up are left out."""
    moved = new.steps[-1] - nouns[index].steps[-1]
    after = nouns[index].steps[-1]
    around = [
        Noun(noun.key, tuple(step + (moved if step > after else 0) for step in noun.steps))
        for n, noun in enumerate(nouns)
        if n != index and noun.key in there
    ]
    kept = [new, *around]
    return {**_told(kept, there), "scores": score(caption, kept)}


def _told(nouns: Sequence[Noun], there: frozenset[str]) -> Record:
    return {"nouns": [noun.key for noun in nouns], "made_up": [noun.key not in there for noun in nouns]}


def _edits(
    adapter: Adapter,
    inputs: Inputs,
    nouns: Sequence[Noun],
    there: frozenset[str],
    window: str | None,
    rng: np.random.Generator,
    most: int,
    with_true: bool,
) -> list[Record]:
    windows = windows_of(inputs) if window is None else (window,)
    false = [n for n, noun in enumerate(nouns) if noun.key not in there]
    true = [n for n, noun in enumerate(nouns) if noun.key in there]
    chosen = [*false, *([int(rng.choice(true))] if true and with_true else [])]
    absent = [key for key in _THINGS if key not in there and key not in {noun.key for noun in nouns}]
    found: list[Record] = []
    for index in chosen:
        other = str(rng.choice(absent))
        for one in edited(adapter, inputs, nouns, index, other, windows, most):
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
