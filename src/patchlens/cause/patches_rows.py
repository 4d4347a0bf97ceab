"""The records of ablated patches as figures beside their controls, and what they support in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from patchlens.cause.finding import Finding, Row, compared
from patchlens.cause.ledger import Record
from patchlens.cause.runner import Experiment
from patchlens.stats.intervals import Estimate
from patchlens.stats.ranks import rank_correlation

_PAIRS = (
    ("pointed at | random", "pointed", "random"),
    ("pointed at | ring", "pointed", "ring"),
    ("all but these | all but random", "rest", "rest of random"),
    ("the thing's | random", "thing", "as the thing"),
)
_SHUFFLES = 100
_FEWEST = 6  # cases: as many that all go one way would be chance 3 times in 100
_ENOUGH = 19  # draws of which all must do less before a single picture says anything


def patches_finding(
    trial: Experiment,
    records: Mapping[str, Record],
    *,
    lens: str,
    layer: int,
    about: str,
    notes: Sequence[str] = (),
) -> Finding:
    """Put the records of `patchlens.cause.patches.measure` together.

    Args:
        trial: the experiment that they are of.
        records: one per case; those without an answer are counted out, and a note says so.
        lens: name of the lens.
        layer: at which its map was taken.
        about: what the cases are.
        notes: more to say.
    """
    known = [record for record in records.values() if record["answer"] is not None]
    seed = trial.parameters["seed"]
    rows = (
        *_pairs(known, "flips", "flips", "share"),
        *_pairs(known, "falls", "fall", "nats"),
        *_maps(known, seed),
    )
    return trial.finding(
        f"{about}: patches that the {lens} lens points at, ablated",
        rows,
        _one(known[0], lens, layer) if len(known) == 1 else _many(known, rows, lens, layer),
        cases=len(known),
        notes=(*notes, *_notes(list(records.values()), known)),
        records=records,
        settled={"cases": len(trial.cases)},
    )


def _pairs(records: Sequence[Record], key: str, title: str, unit: str) -> list[Row]:
    made: list[Row] = []
    for name, own, control in _PAIRS:
        values = [record[key].get(own) for record in records]
        controls = [record[key].get(control) for record in records]
        if any(None not in pair for pair in zip(values, controls, strict=True)):
            made.append(compared(f"{title}: {name}", unit, values, controls))
    return made


def _maps(records: Sequence[Record], seed: int) -> list[Row]:
    own = [rank_correlation(record["lens_map"], record["causal_map"]) for record in records]
    if len(records) == 1:
        name = "lens map, causal map | shuffled"
        controls = [_shuffled(records[0], seed)]
    else:
        name = "lens map, causal map | another's"
        controls = [_strange(records, number) for number in range(len(records))]
    made = [compared(name, "Spearman", own, controls)] if records else []
    peaks = [record["peak_pointed"] for record in records]
    shares = [record["pointed"] / record["patches"] for record in records]
    if records:
        made.append(compared("is pointed at: causal peak | any patch", "share", peaks, shares, chance=True))
    shown = [record["on_thing"] for record in records]
    if any(value is not None for value in shown):
        bases = [record["thing"] for record in records]
        made.append(compared("shows the thing: pointed at | any patch", "share", shown, bases, chance=True))
    return made


def _shuffled(record: Record, seed: int) -> float | None:
    rng = np.random.default_rng(seed)
    drawn = [
        rank_correlation(rng.permutation(record["lens_map"]).tolist(), record["causal_map"])
        for _ in range(_SHUFFLES)
    ]
    known = [value for value in drawn if value is not None]
    return float(np.mean(known)) if known else None


def _strange(records: Sequence[Record], number: int) -> float | None:
    """The causal map of a picture against the lens map of the next one of as many blocks."""
    causal = records[number]["causal_map"]
    for step in range(1, len(records)):
        other = records[(number + step) % len(records)]["lens_map"]
        if len(other) == len(causal):
            return rank_correlation(other, causal)
    return None


def _many(records: Sequence[Record], rows: Sequence[Row], lens: str, layer: int) -> str:
    if not records:
        return "The model answered nothing, so nothing can be said."
    flips = {row.name: row for row in rows}
    if len(records) < _FEWEST:
        return f"{len(records)} cases are too few to say anything of others like them."
    random = flips[f"flips: {_PAIRS[0][0]}"]
    ring = flips.get(f"flips: {_PAIRS[1][0]}")
    count = np.mean([record["pointed"] for record in records])
    share = np.mean([record["pointed"] / record["patches"] for record in records])
    head = (
        f"Ablating the patches that the {lens} lens points at for the answer's word (layer {layer}; on "
        f"average {count:.0f}, {share:.0%} of the picture) changed the answer in {_percent(random.value)} of "
        f"{len(records)} cases, as many random ones in {_percent(random.control)}"
    )
    if not (random.stands_out and random.is_higher):
        return f"{head}: this does not show that the answer depends on them more than on other patches."
    tail = ": the answer depends on them more than on patches at random"
    if ring is None or ring.control is None:
        return f"{head}{tail}."
    beside = f"; the ring around them changed it in {_percent(ring.control)}"
    is_more = ring.stands_out and ring.is_higher
    end = ", and more than on" if is_more else ", but not shown to be more than on"
    return f"{head}{beside}{tail}{end} those around them."


def _percent(found: Estimate | None) -> str:
    return "an unknown share" if found is None or found.value is None else found.text(".0%")


def _one(record: Record, lens: str, layer: int) -> str:
    """One picture has no interval: its draws of random patches tell what chance does."""
    fall, draws = record["falls"]["pointed"], record["falls"]["random"]
    flips = int(sum(record["flips"]["random"]))
    lower = sum(value < fall for value in draws)
    becomes = (
        f"it becomes “{record['instead']}”" if record["flips"]["pointed"] else "it stays the greedy answer"
    )
    moved = f"falls by {fall:.2f} nats" if fall >= 0 else f"rises by {-fall:.2f} nats"
    head = (
        f"Without the {record['pointed']} of {record['patches']} patches that the {lens} lens points at for "
        f"{record['word']} (layer {layer}), the log-probability of the answer “{record['answer']}” {moved} "
        f"and {becomes}; of {len(draws)} draws of as many random patches, {lower} cost less and {flips} "
        "changed it"
    )
    if lower == len(draws) and len(draws) >= _ENOUGH:
        return f"{head}: this answer depends on them more than on patches at random."
    return f"{head}: this does not show that the answer depends on them more than on other patches."


def _notes(records: Sequence[Record], known: Sequence[Record]) -> tuple[str, ...]:
    made: list[str] = ["one case has no interval"] if len(known) == 1 else []
    if len(known) < len(records):
        made.append(f"{len(records) - len(known)} of {len(records)} cases had no answer and are left out")
    rights = [record["right"] for record in known if record["right"] is not None]
    if rights:
        made.append(f"{sum(rights)} of {len(rights)} answers were right before anything was ablated")
    by_token = sum(record["word"].startswith("the token") for record in known)
    if by_token and len(known) > 1:
        made.append(
            f"the lens was asked for the answer's first token alone in {by_token} of {len(known)} cases, for "
            "every known form of the word in the others"
        )
    return tuple(made)
