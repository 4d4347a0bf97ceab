"""Ablate the patches that a lens points at for the answer's word, and see whether the answer needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from patchlens.causal import Ablate, Interventions, Rerun, rerun
from patchlens.causal.pointing import Above, Numbers, Pointing, around, blocks, patch_grid
from patchlens.cause.cases import Case
from patchlens.cause.finding import Finding
from patchlens.cause.ledger import Ledger, Record, each, head_of
from patchlens.cause.patches.pointing import Word, answer_word, lens_maps
from patchlens.cause.patches.replacing import Replacing, case_rng
from patchlens.cause.patches.told import find
from patchlens.data.words import ConceptIds, concept_ids, scene_forms
from patchlens.demo import bundled_models
from patchlens.errors import SelectionError
from patchlens.lens import Lens
from patchlens.models.adapter import Adapter
from patchlens.models.inputs import Inputs, prepare
from patchlens.models.tokens import answer_text
from patchlens.progress import Progress
from patchlens.scenes.questions import Question, ask
from patchlens.scenes.scene import Scene
from patchlens.scenes.truth import patch_truth

MAX_NEW_TOKENS: Final = 20


def one_thing(scene: Scene, rng: np.random.Generator) -> Question | None:
    """What the one thing of a scene is, in any of three languages."""
    return ask(scene, rng, "what") if scene.kind == "one" else None


@dataclass(frozen=True)
class Settings:
    """How the experiment is made.

    Args:
        layer: at which the lens's map is taken.
        pointing: which patches of the map it is said to point at.
        block: patches across a block of the causal map.
        step: patches from one block's centre to the next.
        draws: of random patches, for every control.
        word: stands for every answer; None takes it from the model's own answer (`answer_word`).
        seed: of everything drawn at random.
    """

    layer: int = 0
    pointing: Pointing = field(default_factory=lambda: Above(0.1))
    block: int = 5
    step: int = 2
    draws: int = 3
    word: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise SelectionError(f"{self.draws} draws of random patches are no control: take 1 or more")
        if self.block < 1 or self.step < 1:
            raise SelectionError(
                f"blocks are 1 patch wide or more, and as far apart: got {self.block} and {self.step}"
            )


@dataclass(frozen=True)
class Subject:
    """A model, the lens that is held against it, what stands in for patches, and words of known forms."""

    adapter: Adapter
    lens: Lens
    replacing: Replacing
    concepts: ConceptIds | None = field(default=None, repr=False)


def subject_of(adapter: Adapter, lens: Lens, replacing: Replacing, cases: Sequence[Case]) -> Subject:
    """Look up the forms of the drawn scenes' words, where these scenes are what it is about."""
    known = adapter.name in bundled_models() or any(case.truth is not None for case in cases)
    concepts = concept_ids(adapter.tokenizer, *scene_forms()) if known else None
    return Subject(adapter, lens, replacing, concepts)


@dataclass(frozen=True)
class Outcome:
    """What was found, and the record of each case by its name."""

    finding: Finding
    records: Mapping[str, Record] = field(repr=False)


@dataclass(frozen=True)
class Answered:
    """A case with the model's own greedy answer, its word, and the lens's map of that word.

    ``runs`` hold the prompt with the answer; ``grid`` tells picture, row and column of each patch; ``scores``
    ``[patch]`` are the word's log-probabilities under the lens, nats.
    """

    inputs: Inputs
    runs: Rerun
    answer: tuple[int, ...]
    word: Word
    grid: NDArray[np.int64]
    scores: NDArray[np.float64]


def answered(subject: Subject, case: Case, settings: Settings) -> Answered | None:
    """Let the model answer, and read the answer's word on the patches; None where it says nothing.

    Raises:
        SelectionError: the lens reads no patches of this model, or not at that layer.
    """
    adapter = subject.adapter
    inputs = prepare(adapter, case.prompt, case.open())
    (answer,) = rerun(adapter, inputs).answers([()], MAX_NEW_TOKENS)
    if not answer:
        return None
    word = answer_word(adapter, answer, subject.concepts, settings.word)
    maps = lens_maps(subject.lens, adapter, inputs, word, [settings.layer])
    runs = rerun(adapter, adapter.continued(inputs, answer))
    grid = patch_grid(inputs.patch_places)
    return Answered(inputs, runs, answer, word, grid, maps.at(settings.layer))


def cause_patches(
    subject: Subject,
    cases: Sequence[Case],
    settings: Settings,
    *,
    about: str,
    tell: Progress,
    out: Path | None = None,
    notes: Sequence[str] = (),
) -> Outcome:
    """Ablate, case by case, what the lens points at, as many random patches, a ring around it, and the rest.

    For each case the model answers greedily; the effects are the fall of the log-probability of that very
    answer, in nats, and whether the greedy answer is another one then (a flip). Random patches are drawn from
    all of the picture, those pointed at included. With drawn scenes the thing's own patches are ablated too.

    Args:
        subject: model, lens and replacement.
        cases: pictures with their questions.
        settings: layer, number of patches and so on; choose them on other pictures than these.
        about: what the cases are, in words.
        tell: told how far it is.
        out: a file to keep records in, case by case; if it is there, it goes on from it.
        notes: more to say beside the finding.

    Raises:
        SelectionError: the lens or its layer is not for this model.
        DataError: ``out`` holds another experiment.
        PatchlensError: a picture cannot be used; says which.
    """
    parameters = _parameters(subject, settings)
    ledger = Ledger(out, head_of("patches", subject.adapter, cases, parameters))
    records = each(cases, lambda case: measure(subject, case, settings), ledger, tell)
    finding = find(
        list(records.values()),
        model=subject.adapter.name,
        lens=subject.lens.name,
        layer=settings.layer,
        about=about,
        parameters={**parameters, "cases": len(cases)},
        notes=(*_notes(subject, settings), *notes),
        seed=settings.seed,
    )
    return Outcome(finding, records)


def measure(subject: Subject, case: Case, settings: Settings) -> Record:
    """What one case gives: flips and falls of every ablation, and both maps by block.

    The lens's map holds the mean probability of the word over each block, the causal map how far the word
    falls where the answer says it (the whole answer, if it does not), ``causal_answer`` how far the whole
    answer does. ``peak_pointed`` says whether the lens points at the centre of the costliest block.
    """
    seen = answered(subject, case, settings)
    if seen is None:
        return {"answer": None}
    rng = case_rng(case, settings.seed)
    chosen = settings.pointing.chosen(seen.scores)
    sets = _sets(seen, chosen, case, settings, rng)
    by = subject.replacing.by(case)
    todo = [Ablate(numbers.tolist(), by) for numbers in sets.values() if numbers.size]
    flips, texts = _flips(subject.adapter, seen, todo)
    parts = blocks(seen.grid, settings.block, settings.step)
    falls, word_falls = _falls(seen, [*todo, *(Ablate(part.patches.tolist(), by) for part in parts)])
    causal_word = word_falls[len(todo) :]
    names = [name for name, numbers in sets.items() if numbers.size]
    thing = _thing(case, seen.inputs)
    return {
        "answer": answer_text(subject.adapter.tokenizer, seen.answer),
        "right": None
        if case.truth is None
        else answer_text(subject.adapter.tokenizer, seen.answer) == case.truth.answer,
        "word": seen.word.told,
        "pointed": len(chosen),
        "patches": len(seen.grid),
        "instead": dict(zip(names, texts, strict=True))["pointed"],
        "flips": _grouped(names, flips),
        "falls": _grouped(names, falls[: len(todo)]),
        "on_thing": None if thing is None else float(thing[chosen].mean()),
        "thing": None if thing is None else float(thing.mean()),
        "lens_map": [float(np.exp(seen.scores[part.patches]).mean()) for part in parts],
        "causal_map": causal_word,
        "causal_answer": falls[len(todo) :],
        "peak_pointed": float(parts[int(np.argmax(causal_word))].centre in chosen),
    }


def _sets(
    seen: Answered, chosen: Numbers, case: Case, settings: Settings, rng: np.random.Generator
) -> dict[str, Numbers]:
    """The patches of every ablation, by name; a control's names end in the number of the draw."""
    every = np.arange(len(seen.grid))
    found = {"pointed": chosen, "ring": around(seen.grid, chosen, rng), "rest": np.setdiff1d(every, chosen)}
    for draw in range(settings.draws):
        drawn = np.sort(rng.choice(every, len(chosen), replace=False))
        found[f"random {draw}"] = drawn
        found[f"rest of random {draw}"] = np.setdiff1d(every, drawn)
    thing = _thing(case, seen.inputs)
    if thing is not None and thing.any():
        found["thing"] = np.flatnonzero(thing)
        for draw in range(settings.draws):
            found[f"as the thing {draw}"] = np.sort(rng.choice(every, int(thing.sum()), replace=False))
    return found


def _thing(case: Case, inputs: Inputs) -> NDArray[np.bool_] | None:
    """Patches of which a thing covers any part, where the truth is known."""
    if case.truth is None:
        return None
    return ~patch_truth(case.truth.things, case.truth.ground, inputs.patch_places.box).empty


def _flips(adapter: Adapter, seen: Answered, todo: Sequence[Interventions]) -> tuple[list[float], list[str]]:
    """Whether each ablation changes the greedy answer, and what it is then."""
    plain, *changed = seen.runs.answers([(), *todo], MAX_NEW_TOKENS)
    return [float(ids != plain) for ids in changed], [answer_text(adapter.tokenizer, ids) for ids in changed]


def _falls(seen: Answered, todo: Sequence[Interventions]) -> tuple[list[float], list[float]]:
    """Falls of the log-probability of the answer, and of its word's token where it has one, nats."""
    effects = seen.runs.effects([(), *todo])
    step = next((step for step, token in enumerate(seen.answer) if token in seen.word.ids), None)
    of_word = effects.total if step is None else effects.logprobs[:, step]
    both = [logprobs.double().numpy() for logprobs in (effects.total, of_word)]
    answer, word = [(logprobs[0] - logprobs[1:]).tolist() for logprobs in both]
    return answer, word


def _grouped(names: Sequence[str], values: Sequence[float]) -> dict[str, Any]:
    """Values by name, those of the draws of a control in a list."""
    found: dict[str, Any] = {}
    for name, value in zip(names, values, strict=True):
        group, _, draw = name.rpartition(" ")
        if draw.isdigit():
            found.setdefault(group, []).append(value)
        else:
            found[name] = value
    return found


def _parameters(subject: Subject, settings: Settings) -> Mapping[str, Any]:
    return {
        "lens": subject.lens.name,
        "lens_params": dict(subject.lens.params()),
        "layer": settings.layer,
        "pointing": str(settings.pointing),
        "by": subject.replacing.kind,
        "reference": subject.replacing.told,
        "block": settings.block,
        "step": settings.step,
        "draws": settings.draws,
        "word": settings.word,
        "max_new_tokens": MAX_NEW_TOKENS,
        "seed": settings.seed,
    }


def _notes(subject: Subject, settings: Settings) -> tuple[str, ...]:
    return (
        f"pointed at are the patches with {settings.pointing}, for the answer's word at layer "
        f"{settings.layer}; ablated ones are replaced by {subject.replacing.told} as they enter the decoder",
        "in the table, what stands right of the bar is the control",
    )
