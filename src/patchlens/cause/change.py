"""What becomes of an answer under interventions, and under random ones of the same sort."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from patchlens.causal import Together
from patchlens.causal.places import Stage
from patchlens.cause.cases import CasesLike, as_cases
from patchlens.cause.fillers import make_fillers
from patchlens.cause.finding import Finding, Row
from patchlens.cause.runner import Experiment
from patchlens.cause.settings import ChangeSettings
from patchlens.cause.written import (
    WrittenChange,
    ablation,
    addition,
    knocking_out,
    projection,
    swap,
)
from patchlens.data.item import Item
from patchlens.errors import PromptError, SelectionError
from patchlens.pictures.open import PictureLike
from patchlens.run import Model
from patchlens.stats.intervals import Estimate
from patchlens.trace import Trace


def cause_change(
    model: Model,
    data: CasesLike,
    settings: ChangeSettings,
    *,
    prompt: str | None = None,
    other: PictureLike | None = None,
) -> Finding:
    """Change a pass, and hold what becomes of the model's own greedy answer against random changes.

    Args:
        model: what to ask; afterwards it is as it was.
        data: a picture, or an item.
        settings: what to change, together.
        prompt: what to ask of the picture.
        other: the picture that swapped states come from, under the same question.

    Raises:
        SelectionError: a place, layer or block does not exist, a swap has no other picture, or there are
            several pictures.
        TargetError: a word has no token.
        InterventionError: the other picture's states do not fit this one's places.
        PromptError: the model says nothing, so there is no answer to change.
    """
    cases = as_cases(data, prompt)
    if len(cases) != 1:
        raise SelectionError(f"a pass is changed for one picture, not for {len(cases)}: give one")
    if settings.swap and other is None:
        raise SelectionError("states are swapped with those of another picture: say with --other which")
    parameters = {"by": settings.by, "seed": settings.seed, "draws": settings.draws}
    trial = Experiment("change", model, cases, parameters)
    trace = model.trace(cases[0].open(), cases[0].prompt, max_new_tokens=settings.max_new_tokens, layers=[0])
    if not trace.answer.ids:
        raise PromptError("the model answers nothing here, so there is no answer that could change")
    there = _swapped_with(model, cases[0].prompt, trace, other) if settings.swap else None
    changes = _read(model, cases[0], trace, settings, there)
    rng = np.random.default_rng(settings.seed)
    drawn = [Together(tuple(own.drawn(rng) for own in changes)) for _ in range(settings.draws)]
    runs = [Together(tuple(own.own for own in changes)), *drawn]
    falls = (-trace.effects(runs).change).tolist()
    texts = [trace.answer.text, *(answer.text for answer in trace.answers(runs))]
    return _finding(trial, changes, falls, texts)


def _swapped_with(model: Model, prompt: str, trace: Trace, other: PictureLike | None) -> Trace:
    """The same question and answer about the other picture, all of its states kept."""
    said = (*trace.answer.ids, trace.answer.ids[-1])  # the last one's state is not kept
    there = model.trace(other, prompt, answer=said, steps=True)
    if len(there.inputs) != len(trace.told):
        raise SelectionError(
            f"the other picture makes {len(there.inputs)} positions and this one {len(trace.told)}: swap "
            "with one of the same size"
        )
    return there


def _read(
    model: Model, case: Item, trace: Trace, settings: ChangeSettings, there: Trace | None
) -> list[WrittenChange]:
    """Each intervention, in the order of the options."""
    stage, changes = Stage(trace.adapter, trace.told), list[WrittenChange]()
    if settings.ablate:
        by = make_fillers(model, [case], settings.by, settings.seed).by(case)
        changes += [ablation(text, stage, by) for text in settings.ablate]
    changes += [knocking_out(text, stage) for text in settings.knockout]
    changes += [projection(text, stage) for text in settings.project]
    changes += [addition(text, stage) for text in settings.add]
    if there is not None:
        changes += [swap(text, stage, there) for text in settings.swap]
    return changes


def _finding(
    trial: Experiment, changes: Sequence[WrittenChange], falls: Sequence[float], texts: Sequence[str]
) -> Finding:
    flips = [float(text != texts[0]) for text in texts[1:]]
    rows = tuple(
        Row(
            name,
            unit,
            Estimate(own),
            Estimate(float(np.mean(control))),
            Estimate(own - float(np.mean(control))),
        )
        for name, unit, own, control in (
            ("fall of the answer's log-probability", "nats", falls[0], falls[1:]),
            ("the answer is another", "share", flips[0], flips[1:]),
        )
    )
    less = sum(fall < falls[0] for fall in falls[1:])
    becomes = f"becomes “{texts[1]}”" if flips[0] else "stays"
    names = [own.name for own in changes]
    sentence = (
        f"With {'; '.join(names)}, the log-probability of the answer “{texts[0]}” "
        f"{'falls' if falls[0] >= 0 else 'rises'} by {abs(falls[0]):.2f} nats and the answer {becomes}; of "
        f"{len(falls) - 1} random changes of the same sort and size {less} cost less and "
        f"{int(sum(flips[1:]))} made it another."
    )
    (case,) = trial.cases
    settled = {"changes": names, "answers": texts, "falls": falls}
    about = f"{case.name}: {case.prompt}"
    return trial.finding(about, rows, sentence, notes=_notes(changes), settled=settled)


def _notes(changes: Sequence[WrittenChange]) -> tuple[str, ...]:
    plain = "one case has no interval; the control is the mean over the random changes"
    same = [
        f"{own.name}: these are all there are, so as many at random are the same"
        for own in changes
        if own.is_all
    ]
    return (plain, *same)
