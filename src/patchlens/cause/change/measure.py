"""What becomes of an answer under interventions, and under random ones of the same sort."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from patchlens.capture import capture
from patchlens.causal import Together, rerun
from patchlens.causal.ablate import By
from patchlens.causal.places import Stage
from patchlens.cause.cases import Case
from patchlens.cause.change.written import (
    Written,
    ablation,
    addition,
    knocking_out,
    projection,
    swap,
)
from patchlens.cause.finding import Finding, Row
from patchlens.errors import PromptError, SelectionError
from patchlens.models.adapter import Adapter
from patchlens.models.inputs import Inputs, prepare
from patchlens.models.tokens import answer_text
from patchlens.pictures.open import OpenedPicture
from patchlens.stats.intervals import Estimate


@dataclass(frozen=True)
class Wanted:
    """Interventions as they are written (see `patchlens.cause.change.written`); they act together."""

    ablate: Sequence[str] = ()
    knockout: Sequence[str] = ()
    project: Sequence[str] = ()
    add: Sequence[str] = ()
    swap: Sequence[str] = ()
    draws: int = 20
    seed: int = 0
    max_new_tokens: int = field(default=20)

    def __post_init__(self) -> None:
        if not any((self.ablate, self.knockout, self.project, self.add, self.swap)):
            raise SelectionError(
                "nothing is changed: say with --ablate, --knockout, --project, --add or --swap what to change"
            )
        if self.draws < 1:
            raise SelectionError(f"{self.draws} random draws are no control: take 1 or more")


def change(
    adapter: Adapter,
    case: Case,
    wanted: Wanted,
    by: Callable[[], By],
    *,
    other: OpenedPicture | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> Finding:
    """Change a pass, and hold what becomes of the model's own greedy answer against random changes.

    Args:
        adapter: the model; afterwards it is as it was.
        case: a picture with its question.
        wanted: what to change, together.
        by: gives what ablated patches are replaced by; asked for if any are.
        other: the picture that swapped states come from, under the same question.
        parameters: more to write beside the finding.

    Raises:
        SelectionError: a place, layer or block does not exist, or a swap has no other picture.
        TargetError: a word has no token.
        InterventionError: the other picture's states do not fit this one's places.
        PromptError: the model says nothing, so there is no answer to change.
    """
    prompt = prepare(adapter, case.prompt, case.open())
    first = rerun(adapter, prompt)
    (answer,) = first.answers([()], wanted.max_new_tokens)
    if not answer:
        raise PromptError("the model answers nothing here, so there is no answer that could change")
    inputs = adapter.continued(prompt, answer)
    changes = _read(Stage(adapter, inputs), case, wanted, by, other, inputs, answer)
    rng = np.random.default_rng(wanted.seed)
    drawn = [Together(tuple(own.drawn(rng) for own in changes)) for _ in range(wanted.draws)]
    runs = [Together(), Together(tuple(own.own for own in changes)), *drawn]
    totals = rerun(adapter, inputs).effects(runs).total
    falls = (totals[0] - totals[1:]).tolist()
    said = first.answers(runs[1:], wanted.max_new_tokens)
    return _finding(adapter, case, changes, answer, falls, said, wanted, parameters or {})


def _read(
    stage: Stage,
    case: Case,
    wanted: Wanted,
    by: Callable[[], By],
    other: OpenedPicture | None,
    inputs: Inputs,
    answer: Sequence[int],
) -> list[Written]:
    """Each intervention, in the order of the options."""
    changes: list[Written] = []
    if wanted.ablate:
        replacement = by()
        changes += [ablation(text, stage, replacement) for text in wanted.ablate]
    changes += [knocking_out(text, stage) for text in wanted.knockout]
    changes += [projection(text, stage) for text in wanted.project]
    changes += [addition(text, stage) for text in wanted.add]
    if wanted.swap:
        if other is None:
            raise SelectionError("states are swapped with those of another picture: say with --other which")
        there = stage.adapter.continued(prepare(stage.adapter, case.prompt, [other]), answer)
        if len(there) != len(inputs):
            raise SelectionError(
                f"the other picture makes {len(there)} positions and this one {len(inputs)}: swap with one "
                "of the same size"
            )
        source = capture(stage.adapter, there)
        changes += [swap(text, stage, source) for text in wanted.swap]
    return changes


def _finding(
    adapter: Adapter,
    case: Case,
    changes: Sequence[Written],
    answer: Sequence[int],
    falls: Sequence[float],
    said: Sequence[Sequence[int]],
    wanted: Wanted,
    parameters: Mapping[str, Any],
) -> Finding:
    texts = [answer_text(adapter.tokenizer, ids) for ids in (answer, *said)]
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
    sentence = (
        f"With {'; '.join(own.told for own in changes)}, the log-probability of the answer “{texts[0]}” "
        f"{'falls' if falls[0] >= 0 else 'rises'} by {abs(falls[0]):.2f} nats and the answer {becomes}; of "
        f"{wanted.draws} random changes of the same sort and size {less} cost less and "
        f"{int(sum(flips[1:]))} made it another."
    )
    return Finding(
        "change",
        adapter.name,
        f"{case.name}: {case.prompt}",
        1,
        rows,
        sentence,
        {"changes": [own.told for own in changes], "answers": texts, "falls": list(falls), **parameters},
        _notes(changes),
    )


def _notes(changes: Sequence[Written]) -> tuple[str, ...]:
    plain = "one case has no interval; the control is the mean over the random changes"
    same = [
        f"{own.told}: these are all there are, so as many at random are the same"
        for own in changes
        if own.is_all
    ]
    return (plain, *same)
