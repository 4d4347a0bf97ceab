"""Verdicts on answers, what they rest on, and what they come to together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from patchlens.cause.finding import Finding, Row, compared
from patchlens.cause.grounding.replaced import CONTROL, KINDS
from patchlens.cause.grounding.verdict import FLOOR, THRESHOLD, VERDICTS, Evidence, Under, weigh
from patchlens.cause.ledger import Record
from patchlens.data.item import Item
from patchlens.stats.intervals import SHARE, Bound, Estimate, bound_of, mean


@dataclass(frozen=True)
class JudgedAnswer:
    """An answer, judged as a whole and token by token; ``own`` are the tokens' log-probabilities in nats.

    ``instead`` is what the model says under each replaced picture, with the picture's kind.
    """

    answer: str
    pieces: tuple[str, ...]
    own: tuple[float, ...]
    whole: Evidence
    tokens: tuple[Evidence, ...]
    instead: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Verdicts:
    """A question and its answer; None where the picture is blank or nothing is said, so ``why``.

    ``blinded`` is the answer of the model from which pictures are hidden. ``planted`` are tokens of which it
    is known that they need the picture (``open``) or do not (``settled``).
    """

    case: str
    prompt: str
    seen: JudgedAnswer | None
    blinded: JudgedAnswer | None = None
    planted: Mapping[str, Sequence[int]] = field(default_factory=dict[str, Sequence[int]])
    why: str = ""


@dataclass(frozen=True)
class Judged(Finding):
    """A finding with the verdict on every question."""

    verdicts: tuple[Verdicts, ...] = ()


def judge(case: Item, record: Record) -> Verdicts:
    """Judge what `patchlens.cause.grounding.answers` noted of a case."""
    if record["blank"]:
        why = "the picture is blank already, so that taking its content away shows nothing"
        return Verdicts(case.name, case.prompt, None, why=why)
    seen = _answered(record["seen"])
    why = "" if seen else "the model says nothing"
    return Verdicts(case.name, case.prompt, seen, _answered(record["blinded"]), record["planted"], why)


def _answered(record: Record) -> JudgedAnswer | None:
    if not record["ids"]:
        return None
    own = record["own"]
    under = [Under(**one) for one in record["under"]]
    return JudgedAnswer(
        record["answer"],
        tuple(record["pieces"]),
        tuple(own),
        weigh(own, under),
        tuple(weigh(own, under, token) for token in range(len(own))),
        tuple((one.kind, one.says) for one in under),
    )


def judged(model: str, about: str, verdicts: Sequence[Verdicts], parameters: Mapping[str, Any]) -> Judged:
    """Put verdicts together: effects beside controls, shares, and how often planted verdicts are right."""
    known = [one for one in verdicts if one.seen is not None]
    planted = _planted(known) if parameters["planted"] else ()
    blank = [one for one in verdicts if one.seen is None]
    notes = [f"{one.case} cannot be judged: {one.why}" for one in blank[:3]]
    if len(blank) > 3:
        notes.append(f"nor can {len(blank) - 3} more")
    if len(verdicts) <= parameters["others"]:
        notes.append("this set has too few other pictures: drawn scenes were shown as some or all of them")
    effects = _effects(known)
    if any(row.value.bound for row in effects):
        notes.append(
            f"changes count as {-FLOOR:.2f} nats at most, so some means and intervals err to one side"
        )
    return Judged(
        "grounding",
        model,
        about,
        len(known),
        (*effects, *(_shares(known) if len(known) > 1 else ()), *planted),
        _sentence(known, planted),
        {**parameters, "threshold_nats": THRESHOLD},
        tuple(notes),
        tuple(verdicts),
    )


def _effects(known: Sequence[Verdicts]) -> list[Row]:
    """How far each kind of picture takes the answer's log-probability down, beside the faint noise."""
    found = [one.seen.whole for one in known if one.seen is not None]
    return [_effect(found, kind) for kind in KINDS]


def _effect(found: Sequence[Evidence], kind: str) -> Row:
    own, control = ([one.drops[name] for one in found] for name in (kind, CONTROL))
    row = compared(f"less likely under {kind}", "nats", own, control)
    cut: list[Bound | None] = [one.bounds.get(kind) for one in found]
    control_cut: list[Bound | None] = [one.bounds.get(CONTROL) for one in found]
    assert row.control and row.difference
    return replace(
        row,
        value=replace(row.value, bound=bound_of(cut)),
        control=replace(row.control, bound=bound_of(control_cut)),
        difference=replace(row.difference, bound=bound_of(cut, control_cut)),
    )


def _shares(known: Sequence[Verdicts]) -> list[Row]:
    """How many answers get each verdict, beside those of the model from which pictures are hidden."""
    return [
        compared(
            f"answers {name}",
            "share",
            [_is(one.seen, name) for one in known],
            [_is(one.blinded, name) for one in known],
        )
        for name in VERDICTS
    ]


def _planted(known: Sequence[Verdicts]) -> tuple[Row, ...]:
    """Shares of right verdicts where they are known; a question with several such tokens counts once."""
    opened = [_share(one.seen, one.planted["open"], "grounded") for one in known]
    hidden = [_share(one.blinded, one.planted["open"] and [0], "grounded") for one in known]
    fixed = [_share(one.seen, one.planted["settled"], "prior") for one in known]
    called = [_share(one.seen, one.planted["open"], "prior") for one in known]
    blind = [_share(one.blinded, None, "prior") for one in known]
    intact = [_share(one.seen, None, "prior") for one in known]
    right = [*opened, *fixed]
    return (
        compared("planted: needs the picture, called grounded", "share", opened, hidden),
        Row(
            "planted: settled by what is said, called prior", "share", mean(fixed, SHARE), mean(called, SHARE)
        ),
        compared("planted: pictures hidden from the model, called prior", "share", blind, intact),
        Row("planted: verdicts right, the first two", "share", mean(right, SHARE)),
    )


def _share(answered: JudgedAnswer | None, tokens: Sequence[int] | None, name: str) -> float | None:
    """How many of these tokens, or of all, get a verdict; None where there are none."""
    if answered is None:
        return None
    chosen = range(len(answered.tokens)) if tokens is None else tokens
    if not chosen:
        return None
    return sum(answered.tokens[token].verdict == name for token in chosen) / len(chosen)


def _is(answered: JudgedAnswer | None, name: str) -> float | None:
    return None if answered is None else float(answered.whole.verdict == name)


def _sentence(known: Sequence[Verdicts], planted: Sequence[Row]) -> str:
    if not known:
        return "No answer can be judged."
    if len(known) == 1:
        return _about_one(known[0])
    counts = [
        (name, sum(one.seen is not None and one.seen.whole.verdict == name for one in known))
        for name in VERDICTS
    ]
    told = f"Of {len(known)} answers " + ", ".join(f"{n} {name}" for name, n in counts) + "."
    if planted:
        told += f" Where a verdict is known beforehand, it is right in a share of {planted[-1].value}."
    return told


_MEANS: Final = {
    "grounded": "it rests on the picture",
    "prior": "it stays as likely, and is said, whatever the picture",
    "inverted": "it is likelier without what the picture shows",
    "unclear": "the evidence does not settle whether it needs the picture",
}


def _nats(value: float, bound: Bound | None) -> str:
    return Estimate(value, bound=bound).text(".2f")


def _about_one(one: Verdicts) -> str:
    assert one.seen is not None
    whole = one.seen.whole
    still = [share for kind, share in whole.kept.items() if kind != CONTROL]
    return (
        f'"{one.seen.answer}" is {whole.verdict}: {_MEANS[whole.verdict]}. Replacing the picture makes it '
        f"less likely by {_nats(whole.drop, whole.bound)} nats, faint noise by "
        f"{_nats(whole.drops[CONTROL], whole.bounds.get(CONTROL))}; of {len(still)} "
        f"ways to replace it {sum(share == 1 for share in still)} always leave the answer as it was."
    )
