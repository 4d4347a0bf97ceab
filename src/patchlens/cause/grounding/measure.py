"""Does an answer need its picture: what becomes of it when the picture is replaced."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from patchlens.cause.cases import Case
from patchlens.cause.grounding.judged import Judged, judge, judged
from patchlens.cause.grounding.planted import planted_tokens, settled
from patchlens.cause.grounding.replaced import CONTROL, KINDS, OTHER, Kind, Pixels, is_blank, replaced
from patchlens.cause.grounding.replies import begun, replies, said
from patchlens.cause.grounding.verdict import Under
from patchlens.cause.ledger import Ledger, Record, each, head_of
from patchlens.cause.settings import GroundingSettings
from patchlens.errors import naming
from patchlens.models.adapter import Adapter
from patchlens.models.inputs import Inputs, prepare
from patchlens.models.tokens import answer_text, piece_table
from patchlens.progress import Progress
from patchlens.scenes.scene import make_scene
from patchlens.scenes.seeds import SPARE_SEEDS

ALONE: Final[tuple[Kind, ...]] = (CONTROL, *(kind for kind in KINDS if kind != OTHER))
"""What a picture is replaced by without another one."""


def grounding(
    adapter: Adapter,
    cases: Sequence[Case],
    about: str,
    asked: GroundingSettings,
    *,
    planted: bool = False,
    path: Path | None,
    tell: Progress,
) -> Judged:
    """Judge for every case whether the model's answer, and every token of it, needs the picture.

    The model's greedy answer is held against the same prompt with the picture replaced by grey, black, noise,
    its own parts in another order, and other pictures, each of its size; the controls are the picture itself
    with faint noise, and the model from which its pictures are hidden (`blinded`), whose answers need none.
    `patchlens.cause.grounding.verdict` has the rule.

    Args:
        adapter: the model.
        cases: questions about pictures.
        about: what the cases are, in words.
        asked: how.
        planted: the cases are those of `ask_planted`, so that verdicts can be held against what is known.
        path: of the ledger, or None to keep none.
        tell: told how far it is.

    Raises:
        PromptError, ImageError, PatchlensError: a case cannot be made; says which.
    """
    adapter.prove()
    follows = settled(adapter.tokenizer) if planted else {}
    parameters = {**asdict(asked), "planted": planted}

    def one(case: Case) -> Record:
        pictures = [np.asarray(picture.image) for picture in case.open()]
        if all(is_blank(picture) for picture in pictures):
            return {"blank": True}
        sets = _sets(pictures, _others(cases, case, asked), asked.seed)
        made = {
            name: _answered(adapter, case.prompt, sets, asked, blind=blind)
            for name, blind in (("seen", False), ("blinded", True))
        }
        known = planted_tokens(adapter.tokenizer, case.truth, made["seen"]["ids"], follows)
        return {"blank": False, **made, "planted": known if planted else {}}

    head = head_of("grounding", adapter, cases, parameters)
    records = each(cases, one, Ledger(path, head), tell)
    verdicts = [judge(case, records[case.name]) for case in cases]
    return judged(adapter.name, about, verdicts, parameters)


Sets = Sequence[tuple[Kind | None, Sequence[Pixels]]]
"""Pictures to ask about: those of the case first, without a kind, then replaced ones."""


def _sets(pictures: Sequence[Pixels], others: Sequence[Pixels], seed: int) -> Sets:
    shown: list[Kind] = [*ALONE, *(OTHER for _ in others)]
    beside = [*(others[0] for _ in ALONE), *others]
    made: list[tuple[Kind | None, Sequence[Pixels]]] = [(None, pictures)]
    for number, (kind, other) in enumerate(zip(shown, beside, strict=True)):
        rng = np.random.default_rng([seed, 41, number])
        made.append((kind, [replaced(picture, kind, rng, other) for picture in pictures]))
    return made


def _others(cases: Sequence[Case], case: Case, asked: GroundingSettings) -> list[Pixels]:
    """Pictures of other cases, drawn at random, and drawn scenes where these are too few."""
    named = int.from_bytes(hashlib.sha256(case.name.encode()).digest()[:4])
    rng = np.random.default_rng([asked.seed, 43, named])
    rest = [other for other in cases if other.name != case.name]
    chosen = rng.choice(len(rest), min(asked.others, len(rest)), replace=False)
    found: list[Pixels] = []
    for number in chosen.tolist():
        with naming("taken as another picture"):
            found.append(np.asarray(rest[number].open()[0].image))
    spare = SPARE_SEEDS + named % 1_000_000
    return found + [make_scene(spare + n).picture for n in range(asked.others - len(found))]


def _answered(adapter: Adapter, prompt: str, sets: Sets, asked: GroundingSettings, *, blind: bool) -> Record:
    """The answer to a case's own pictures, and what becomes of it under all of them."""
    prompts = [_asked(adapter, prompt, pictures, asked) for _, pictures in sets]
    ids = said(adapter, prompts[0], asked.max_new_tokens, blind=blind)
    if not ids:
        return {"answer": "", "ids": [], "pieces": [], "own": [], "under": []}
    own, *rest = replies(adapter, prompts, ids, blind=blind)
    under: list[dict[str, Any]] = []
    for (kind, _), inputs, reply in zip(sets[1:], prompts[1:], rest, strict=True):
        same = all(reply.kept) and (reply.ended or len(ids) == asked.max_new_tokens)
        instead = ids if same else said(adapter, inputs, asked.max_new_tokens, blind=blind)
        assert kind is not None
        text = answer_text(adapter.tokenizer, instead)
        under.append(asdict(Under(kind, reply.logprobs, reply.kept, list(instead) == list(ids), text)))
    pieces = piece_table(adapter.tokenizer, ids)
    return {
        "answer": answer_text(adapter.tokenizer, ids),
        "ids": ids,
        "pieces": [pieces[token] for token in ids],
        "own": own.logprobs,
        "under": under,
    }


def _asked(adapter: Adapter, prompt: str, pictures: Sequence[Pixels], asked: GroundingSettings) -> Inputs:
    inputs = prepare(adapter, prompt, list(pictures))
    return inputs if asked.begun is None else begun(adapter, inputs, asked.begun)
