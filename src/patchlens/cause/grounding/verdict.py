"""Whether an answer needs its picture, from what the model says under other pictures: a rule on numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from patchlens.cause.grounding.replaced import CONTROL, SCRAMBLED
from patchlens.stats.intervals import Bound, bound_of

Verdict = Literal["grounded", "prior", "inverted", "unclear"]
VERDICTS: Final[tuple[Verdict, ...]] = ("grounded", "prior", "inverted", "unclear")
THRESHOLD: Final = 0.25
"""Change of log-probability, in nats, from which on an answer rests on the picture; see `verdict`.

Chosen on 200 validation scenes for each bundled model: of the values tried from 0.1 to 1 the highest
with the most planted verdicts right.
"""
FLOOR: Final = math.log(0.01)
"""Log-probabilities below count as this: how unlikely the unlikely is does not matter."""


@dataclass(frozen=True)
class Under:
    """What the model makes of an answer under one picture.

    ``logprobs`` of its tokens, each after those before it; ``kept``, whether each is what the model says
    there; ``says``, the model's own greedy answer, and whether that is ``same``.
    """

    kind: str
    logprobs: Sequence[float]
    kept: Sequence[bool]
    same: bool
    says: str


@dataclass(frozen=True)
class Evidence:
    """What a verdict rests on.

    ``drops`` are nats by which an answer, or one token of it, is less likely, and ``kept`` how often it is
    said all the same, by kind of replaced picture, each a mean over the pictures of the kind. ``drop`` is the
    mean over all kinds but the control and scrambled pictures, which still show what the parts look like.
    ``bounds`` names the kinds under which a drop was cut off at `FLOOR`, so that it is "at least" or "at
    most" what ``drops`` says; ``bound`` says so of ``drop``.
    """

    verdict: Verdict
    drop: float
    drops: Mapping[str, float]
    kept: Mapping[str, float]
    bounds: Mapping[str, Bound | None] = field(default_factory=dict[str, "Bound | None"])
    bound: Bound | None = None


def verdict(drop: float, kept: Mapping[str, float]) -> Verdict:
    """Judge an answer.

    ``grounded``: replacing the picture costs it `THRESHOLD` nats or more, and it is not always said all the
    same. ``inverted``: replacing the picture makes it likelier by as much. ``prior``: neither, and it is said
    whatever the picture. ``unclear``: all else.

    Args:
        drop: nats by which it is less likely, as in `Evidence`.
        kept: share of pictures under which it is said, by kind, the control aside.
    """
    always = all(share == 1 for kind, share in kept.items() if kind != CONTROL)
    if drop >= THRESHOLD and not always:
        return "grounded"
    if drop <= -THRESHOLD:
        return "inverted"
    return "prior" if always and abs(drop) < THRESHOLD else "unclear"


def weigh(own: Sequence[float], under: Sequence[Under], token: int | None = None) -> Evidence:
    """Weigh a whole answer, or one token of it.

    Args:
        own: log-probability of each token under the picture itself.
        under: the same under replaced pictures, of every kind but perhaps some.
        token: which token; None for the whole answer, whose change counts as `FLOOR` at most.
    """
    chosen = range(len(own)) if token is None else [token]
    drops: dict[str, list[float]] = {}
    kept: dict[str, list[bool]] = {}
    cut: dict[str, list[Bound | None]] = {}
    for one in under:
        lost = sum(max(own[i], FLOOR) - max(one.logprobs[i], FLOOR) for i in chosen)
        counted = min(max(lost, FLOOR), -FLOOR)
        drops.setdefault(one.kind, []).append(counted)
        cut.setdefault(one.kind, []).append(_cut(sum(own[i] - one.logprobs[i] for i in chosen), counted))
        kept.setdefault(one.kind, []).append(one.same if token is None else one.kept[token])
    mean_drops = {kind: sum(values) / len(values) for kind, values in drops.items()}
    shares = {kind: sum(values) / len(values) for kind, values in kept.items()}
    bounds: dict[str, Bound | None] = {kind: bound_of(own) for kind, own in cut.items() if any(own)}
    weighed = [kind for kind in mean_drops if kind not in (CONTROL, SCRAMBLED)]
    drop = sum(mean_drops[kind] for kind in weighed) / len(weighed)
    bound = bound_of(one for kind in weighed for one in cut[kind])
    return Evidence(verdict(drop, shares), drop, mean_drops, shares, bounds, bound)


def _cut(lost: float, counted: float) -> Bound | None:
    """How a change in full stands to what it counts as."""
    if abs(lost - counted) < 1e-9:
        return None
    return "at least" if lost > counted else "at most"
