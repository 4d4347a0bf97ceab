"""Ablate the patches that a lens points at for the answer's word, and see whether the answer needs them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from patchlens.causal import Ablate
from patchlens.causal.pointing import Above, Numbers, Pointing, around, blocks, patch_grid
from patchlens.cause.answer_word import AnswerWord, answer_word, word_maps
from patchlens.cause.fillers import Fillers, case_rng
from patchlens.cause.finding import Finding
from patchlens.cause.ledger import Record
from patchlens.cause.patches_rows import patches_finding
from patchlens.cause.runner import Experiment
from patchlens.data.item import Item
from patchlens.data.words import ConceptIds
from patchlens.lens import Lens
from patchlens.progress import Progress, silent
from patchlens.run import Model
from patchlens.scenes.questions import Question, ask
from patchlens.scenes.scene import Scene
from patchlens.scenes.truth import patch_truth
from patchlens.trace import Trace

MAX_NEW_TOKENS: Final = 20


def one_thing(scene: Scene, rng: np.random.Generator) -> Question | None:
    """What the one thing of a scene is, in any of three languages."""
    return ask(scene, rng, "what") if scene.kind == "one" else None


@dataclass(frozen=True)
class PointedAblation:
    """Ablating what a lens points at, with all that is settled before a case is measured.

    Args:
        model: afterwards it is as it was.
        lens: that is held against it.
        fillers: what stands in for patches.
        layer: at which the lens's map is taken.
        pointing: which patches of the map it is said to point at.
        block: patches across a block of the causal map.
        step: patches from one block's centre to the next.
        draws: of random patches, for every control.
        word: stands for every answer; None takes it from the model's own answer (`answer_word`).
        seed: of everything drawn at random.
        concepts: words of known forms.
    """

    model: Model
    lens: Lens
    fillers: Fillers
    layer: int = 0
    pointing: Pointing = field(default_factory=lambda: Above(0.1))
    block: int = 5
    step: int = 2
    draws: int = 3
    word: str | None = None
    seed: int = 0
    concepts: ConceptIds | None = field(default=None, repr=False)

    @property
    def parameters(self) -> dict[str, Any]:
        """What changes the records."""
        return {
            "lens": self.lens.name,
            "lens_params": dict(self.lens.params()),
            "layer": self.layer,
            "pointing": str(self.pointing),
            "by": self.fillers.kind,
            "reference": self.fillers.name,
            "block": self.block,
            "step": self.step,
            "draws": self.draws,
            "word": self.word,
            "max_new_tokens": MAX_NEW_TOKENS,
            "seed": self.seed,
        }

    def trace(self, case: Item, layers: Sequence[int] | None = None) -> Trace:
        """The model's own answer to a case."""
        return self.model.trace(case.open(), case.prompt, max_new_tokens=MAX_NEW_TOKENS, layers=layers)

    def answer_word(self, answer: Sequence[int]) -> AnswerWord:
        """The word that stands for an answer."""
        return answer_word(self.model.tokenizer, answer, self.concepts, self.word)

    def runs(self, case: Item) -> int:
        """Passes that a case takes at most: each ablation's effect and new answer, each block's effect."""
        _, inputs = self.model.prepare(case.open(), case.prompt)
        ablations = 3 + 2 * self.draws + (0 if case.truth is None else 1 + self.draws)
        return 2 * (1 + ablations) + len(blocks(patch_grid(inputs.patch_places), self.block, self.step))


def ablate_pointed(
    ablation: PointedAblation,
    cases: Sequence[Item],
    *,
    about: str,
    out: Path | None = None,
    notes: Sequence[str] = (),
    progress: Progress = silent,
) -> Finding:
    """Ablate, case by case, what the lens points at, as many random patches, a ring around it, and the rest.

    For each case the model answers greedily; the effects are the fall of the log-probability of that very
    answer, in nats, and whether the greedy answer is another one then (a flip). Random patches are drawn from
    all of the picture, those pointed at included. With drawn scenes the thing's own patches are ablated too.

    Args:
        ablation: model, lens, layer and so on; choose them on other pictures than these.
        cases: pictures with their questions.
        about: what the cases are, in words.
        out: a file to keep records in, case by case; if it is there, it goes on from it.
        notes: more to say beside the finding.
        progress: told how far it is.

    Returns:
        The finding, with the record of each case (`measure`).

    Raises:
        SelectionError: the lens or its layer is not for this model.
        DataError: ``out`` holds another experiment.
        PatchlensError: a picture cannot be used; says which.
    """
    trial = Experiment("patches", ablation.model, cases, ablation.parameters, out, progress)
    records = trial.records(lambda case: measure(ablation, case))
    own = (
        f"pointed at are the patches with {ablation.pointing}, for the answer's word at layer "
        f"{ablation.layer}; ablated ones are replaced by {ablation.fillers.name} as they enter the decoder",
        "in the table, what stands right of the bar is the control",
    )
    lens, layer = ablation.lens.name, ablation.layer
    return patches_finding(trial, records, lens=lens, layer=layer, about=about, notes=(*own, *notes))


def measure(ablation: PointedAblation, case: Item) -> Record:
    """What one case gives: flips and falls of every ablation, and both maps by block.

    The lens's map holds the mean probability of the word over each block, the causal map how far the word
    falls where the answer says it (the whole answer, if it does not), ``causal_answer`` how far the whole
    answer does. ``peak_pointed`` says whether the lens points at the centre of the costliest block.
    """
    trace = ablation.trace(case, [ablation.layer])
    if not trace.answer.ids:
        return {"answer": None}
    word = ablation.answer_word(trace.answer.ids)
    scores = word_maps(trace, ablation.lens, word)[ablation.layer]
    grid, thing = patch_grid(trace.inputs.patch_places), _thing(case, trace)
    chosen = ablation.pointing.chosen(scores)
    sets = _sets(grid, chosen, thing, ablation.draws, case_rng(case, ablation.seed))
    by = ablation.fillers.by(case)
    todo = [Ablate(numbers.tolist(), by) for numbers in sets.values()]
    plain, *answers = trace.answers([(), *todo])
    parts = blocks(grid, ablation.block, ablation.step)
    falls, word_falls = _falls(trace, word, [*todo, *(Ablate(part.patches.tolist(), by) for part in parts)])
    causal_word = word_falls[len(todo) :]
    return {
        "answer": trace.answer.text,
        "right": _is_right(case, trace),
        "word": word.name,
        "pointed": len(chosen),
        "patches": len(grid),
        "instead": dict(zip(sets, answers, strict=True))["pointed"].text,
        "flips": _grouped(sets, [float(answer.ids != plain.ids) for answer in answers]),
        "falls": _grouped(sets, falls[: len(todo)]),
        "on_thing": None if thing is None else float(thing[chosen].mean()),
        "thing": None if thing is None else float(thing.mean()),
        "lens_map": [float(np.exp(scores[part.patches]).mean()) for part in parts],
        "causal_map": causal_word,
        "causal_answer": falls[len(todo) :],
        "peak_pointed": float(parts[int(np.argmax(causal_word))].centre in chosen),
    }


def _sets(
    grid: NDArray[np.int64],
    chosen: Numbers,
    thing: NDArray[np.bool_] | None,
    draws: int,
    rng: np.random.Generator,
) -> dict[str, Numbers]:
    """The patches of every ablation, by name; a control's names end in the number of the draw."""
    every = np.arange(len(grid))
    found = {"pointed": chosen, "ring": around(grid, chosen, rng), "rest": np.setdiff1d(every, chosen)}
    for draw in range(draws):
        drawn = np.sort(rng.choice(every, len(chosen), replace=False))
        found[f"random {draw}"] = drawn
        found[f"rest of random {draw}"] = np.setdiff1d(every, drawn)
    if thing is not None and thing.any():
        found["thing"] = np.flatnonzero(thing)
        for draw in range(draws):
            found[f"as the thing {draw}"] = np.sort(rng.choice(every, int(thing.sum()), replace=False))
    return {name: numbers for name, numbers in found.items() if numbers.size}


def _is_right(case: Item, trace: Trace) -> bool | None:
    """Whether the answer is the true one, where that is known."""
    truth = case.known()
    return trace.answer.text == truth.answer if truth is not None and truth.answer else None


def _thing(case: Item, trace: Trace) -> NDArray[np.bool_] | None:
    """Patches of which a thing covers any part, where the truth is known."""
    truth = case.known()
    if truth is None:
        return None
    return ~patch_truth(truth.things, truth.ground, trace.inputs.patch_places.box).empty


def _falls(trace: Trace, word: AnswerWord, todo: Sequence[Ablate]) -> tuple[list[float], list[float]]:
    """Falls of the log-probability of the answer, and of its word's token where it has one, nats."""
    effects = trace.effects(todo)
    answer = -effects.change
    step = next((step for step, token in enumerate(trace.answer.ids) if token in word.ids), None)
    of_word = answer if step is None else effects.plain[step] - effects.logprobs[:, step]
    return answer.tolist(), of_word.astype(float).tolist()


def _grouped(names: Iterable[str], values: Sequence[float]) -> dict[str, Any]:
    """Values by name, those of the draws of a control in a list."""
    found: dict[str, Any] = {}
    for name, value in zip(names, values, strict=True):
        group, _, draw = name.rpartition(" ")
        if draw.isdigit():
            found.setdefault(group, []).append(value)
        else:
            found[name] = value
    return found
