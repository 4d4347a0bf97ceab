"""Does an answer need its picture: what becomes of it when the picture is replaced."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from patchlens.causal import Interventions, Knockout
from patchlens.cause.cases import CasesLike, about_cases, as_cases
from patchlens.cause.grounding.judged import Judged, judge, judged
from patchlens.cause.grounding.planted import planted_tokens, settled
from patchlens.cause.grounding.replaced import CONTROL, KINDS, OTHER, Kind, Pixels, is_blank, replaced
from patchlens.cause.grounding.verdict import Under
from patchlens.cause.ledger import Record
from patchlens.cause.runner import Experiment
from patchlens.cause.settings import GroundingSettings
from patchlens.data.item import Item
from patchlens.errors import naming
from patchlens.models.tokens import piece_table
from patchlens.pictures.open import OpenedPicture, open_picture
from patchlens.progress import Progress, silent
from patchlens.run import Model
from patchlens.scenes.scene import make_scene
from patchlens.scenes.seeds import SPARE_SEEDS

ALONE: Final[tuple[Kind, ...]] = (CONTROL, *(kind for kind in KINDS if kind != OTHER))
"""What a picture is replaced by without another one."""
BLINDED: Final[Interventions] = Knockout("text", "image") + Knockout("answer", "image")
"""After this no position can take anything from the picture, in any block, nor can one that is generated."""
AT_ONCE: Final = 4096
"""Positions that go through the model together, or one prompt if it has more."""


def cause_grounding(
    model: Model,
    data: CasesLike,
    settings: GroundingSettings | None = None,
    *,
    prompt: str | None = None,
    planted: bool = False,
    about: str | None = None,
    out: Path | None = None,
    progress: Progress = silent,
) -> Judged:
    """Judge for every case whether the model's answer, and every token of it, needs the picture.

    The model's greedy answer is held against the same prompt with the picture replaced by grey, black, noise,
    its own parts in another order, and other pictures, each of its size; the controls are the picture itself
    with faint noise, and the model from which its pictures are hidden (`BLINDED`), whose answers need none.
    `patchlens.cause.grounding.verdict` has the rule.

    Args:
        model: what `patchlens.load` returns.
        data: a folder, a ``.jsonl`` file or ``scenes:N``, items, or cases.
        settings: how it is asked.
        prompt: what to ask of each picture of a folder.
        planted: the cases are those of `ask_planted`, so that verdicts can be held against what is known.
        about: what the pictures are, in words.
        out: NAME.jsonl, a line per case; run again, it goes on from there.
        progress: told what is being done, how much is done, and of how much.

    Raises:
        PromptError, ImageError, PatchlensError: a case cannot be made; says which.
        DataError: the file is of another run.
    """
    own, cases = settings or GroundingSettings(), as_cases(data, prompt)
    follows = settled(model.tokenizer) if planted else None
    parameters = {**asdict(own), "planted": planted}
    trial = Experiment("grounding", model, cases, parameters, out, progress)
    records = trial.records(partial(_record, model, cases, own, follows))
    verdicts = [judge(case, records[case.name]) for case in cases]
    return judged(model.name, about or about_cases(cases), verdicts, parameters)


def _record(
    model: Model,
    cases: Sequence[Item],
    settings: GroundingSettings,
    follows: Mapping[int, int] | None,
    case: Item,
) -> Record:
    pictures = case.open()
    pixels = [np.asarray(picture.image) for picture in pictures]
    if all(is_blank(picture) for picture in pixels):
        return {"blank": True}
    instead = _instead(pixels, _others(cases, case, settings), settings.seed)
    answered = partial(_answered, model, case.prompt, pictures, instead, settings)
    seen, blinded = answered(()), answered(BLINDED)
    planted = {} if follows is None else planted_tokens(model.tokenizer, case.known(), seen["ids"], follows)
    return {"blank": False, "seen": seen, "blinded": blinded, "planted": planted}


Instead = Sequence[tuple[Kind, Sequence[OpenedPicture]]]
"""Pictures in place of those of a case, each with its kind."""


def _instead(pictures: Sequence[Pixels], others: Sequence[Pixels], seed: int) -> Instead:
    kinds: list[Kind] = [*ALONE, *(OTHER for _ in others)]
    beside = [*(others[0] for _ in ALONE), *others]
    made: list[tuple[Kind, Sequence[OpenedPicture]]] = []
    for number, (kind, other) in enumerate(zip(kinds, beside, strict=True)):
        rng = np.random.default_rng([seed, 41, number])
        made.append((kind, [open_picture(replaced(picture, kind, rng, other)) for picture in pictures]))
    return made


def _others(cases: Sequence[Item], case: Item, settings: GroundingSettings) -> list[Pixels]:
    """Pictures of other cases, drawn at random, and drawn scenes where these are too few."""
    named = int.from_bytes(hashlib.sha256(case.name.encode()).digest()[:4])
    rng = np.random.default_rng([settings.seed, 43, named])
    rest = [other for other in cases if other.name != case.name]
    chosen = rng.choice(len(rest), min(settings.others, len(rest)), replace=False)
    found: list[Pixels] = []
    for number in chosen.tolist():
        with naming("taken as another picture"):
            found.append(np.asarray(rest[number].open()[0].image))
    spare = SPARE_SEEDS + named % 1_000_000
    return found + [make_scene(spare + n).picture for n in range(settings.others - len(found))]


def _answered(
    model: Model,
    prompt: str,
    pictures: Sequence[OpenedPicture],
    instead: Instead,
    settings: GroundingSettings,
    under: Interventions,
) -> Record:
    """The answer to a case's own pictures, and what becomes of it under those in their place."""
    most, ends = settings.max_new_tokens, model.adapter.ends
    asked: dict[str, Any] = {"begun": settings.begun, "under": under, "layers": 0}
    plain = model.trace(pictures, prompt, max_new_tokens=most, **asked)
    ids = plain.answer.ids
    if not ids:
        return {"answer": "", "ids": [], "pieces": [], "own": [], "under": []}
    pairs = [(own, prompt) for own in (pictures, *(other for _, other in instead))]
    asked["batch"] = max(1, AT_ONCE // (len(plain.inputs) + len(ids)))
    # with a token after the answer, what the model says where it ends is known too
    traces = model.trace_many(pairs, answer=[*ids, ids[-1]], steps=True, **asked)
    (own, _), *replies = [(trace.answer_logprobs[:-1].tolist(), trace.predicted) for trace in traces]
    kept = [[token == says for token, says in zip(ids, said[:-1], strict=True)] for _, said in replies]
    same = [
        all(each) and (said[-1] in ends or len(ids) == most)
        for each, (_, said) in zip(kept, replies, strict=True)
    ]
    changed = [pair for pair, is_same in zip(pairs[1:], same, strict=True) if not is_same]
    anew = (trace.answer for trace in model.trace_many(changed, max_new_tokens=most, **asked))
    answers = [plain.answer if is_same else next(anew) for is_same in same]
    pieces = piece_table(model.tokenizer, ids)
    return {
        "answer": plain.answer.text,
        "ids": ids,
        "pieces": [pieces[token] for token in ids],
        "own": own,
        "under": [
            asdict(Under(kind, logprobs, own, answer.ids == ids, answer.text))
            for (kind, _), (logprobs, _), own, answer in zip(instead, replies, kept, answers, strict=True)
        ],
    }
