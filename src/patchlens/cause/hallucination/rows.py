"""From records of captions to what is chosen on validation pictures, and to rows with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from patchlens.cause.finding import Row, compared, jackknifed
from patchlens.cause.hallucination.detection import (
    Scored,
    best_f1_threshold,
    jackknifed_auroc,
    jackknifed_f1,
    shuffles,
)
from patchlens.cause.hallucination.noun_scores import LENS, OWN, SCORES
from patchlens.errors import SelectionError

SETS: Final = {"own": "made up by the model", "planted": "planted"}
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Chosen:
    """What validation pictures said: a layer (or pair) per score, thresholds per set and score, and at which
    layers to edit; ``validation_made_up`` is how many nouns the model made up there.
    """

    layers: Mapping[str, str]
    thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, dict[str, float]])
    window: str | None = None
    validation_made_up: int = 0


def choose(records: Sequence[Record], *, edit: bool) -> Chosen:
    """Choose layers by the mean of AUROC over both sets, thresholds by F1, and where to edit.

    An edit is the better, the more often the noun edited out is gone, made up or true, less what else goes:
    the part of other nouns, or that noun when another is edited out.

    Raises:
        SelectionError: the model named nothing in any picture.
    """
    if not records:
        raise SelectionError(
            "no caption names a thing that drawn scenes can show: the model does not know them"
        )
    names = [name for name in SCORES if name in records[0]["own"]["scores"]]
    layers = {name: _best_layer(records, name) for name in names}
    thresholds = {
        which: {name: best_f1_threshold(scored(records, which, name, layers[name])) for name in names}
        for which in SETS
    }
    made_up = sum(sum(record["own"]["made_up"]) for record in records)
    return Chosen(layers, thresholds, _best_window(records) if edit else None, made_up)


def scored(records: Sequence[Record], which: str, name: str, layer: str) -> Scored:
    """All nouns of a set under one score at one layer."""
    own = [(n, record[which]) for n, record in enumerate(records) if record[which] is not None]
    return Scored(
        np.array([value for _, told in own for value in told["scores"][name][layer]], float),
        np.array([value for _, told in own for value in told["made_up"]], bool),
        np.array([n for n, told in own for _ in told["made_up"]], np.intp),
    )


def rows_of(records: Sequence[Record], chosen: Chosen, seed: int) -> tuple[Row, ...]:
    """AUROC and F1 of every score and set beside shuffled truth, then what edits do beside their control."""
    if not records:
        return ()
    rows: list[Row] = []
    for which, said in SETS.items():
        for name, layer in chosen.layers.items():
            own = scored(records, which, name, layer)
            controls = shuffles(own, seed)
            rows.append(jackknifed(f"{said}: AUROC of {name}", "AUROC", *jackknifed_auroc(own, controls)))
        lens, model = (scored(records, which, name, chosen.layers[name]) for name in (LENS, OWN))
        rows.append(jackknifed(f"{said}: {LENS} against {OWN}", "AUROC", *jackknifed_auroc(lens, [model])))
    for which, said in SETS.items():
        for name, layer in chosen.layers.items():
            own = scored(records, which, name, layer)
            found = jackknifed_f1(own, shuffles(own, seed), chosen.thresholds[which][name])
            rows.append(jackknifed(f"{said}: F1 of {name}", "F1", *found))
    return (*rows, *_edit_rows(records))


def sentence_of(rows: Sequence[Row]) -> str:
    """What the lens's score and the edit support."""
    by_name = {row.name: row for row in rows}
    own = by_name.get(f"{SETS['own']}: AUROC of {LENS}")
    against = by_name.get(f"{SETS['own']}: {LENS} against {OWN}")
    if own is None or against is None or own.value.value is None:
        return "The model made up no noun in these pictures, so nothing can be said of finding those."
    beats = "does not beat" if not against.stands_out else "beats" if against.is_higher else "is worse than"
    said = (
        f"Nouns that the model made up are told from true ones by the lens with AUROC {own.value}, which "
        f"{beats} the model's own probability ({against.control})"
    )
    gone = by_name.get("made up: gone when edited out")
    if gone is None or gone.value.value is None:
        return said + "."
    effect = "more often than" if gone.stands_out and gone.is_higher else "not shown to be more often than"
    return (
        f"{said}; edited out they are gone in {gone.value} of pictures, {effect} under the control "
        f"({gone.control})."
    )


def _edit_rows(records: Sequence[Record]) -> list[Row]:
    rows: list[Row] = []
    for made_up, said in ((True, "made up"), (False, "true")):
        for key, what in (("gone", "gone when edited out"), ("lost", "other nouns of that caption gone")):
            values = [_mean(record, made_up, key) for record in records]
            controls = [_mean(record, made_up, f"{key}_control") for record in records]
            if any(value is not None for value in values):
                rows.append(compared(f"{said}: {what}", "share", values, controls))
    return rows


def _mean(record: Record, made_up: bool, key: str) -> float | None:
    own = [e[key] for e in record.get("edits") or () if e["made_up"] == made_up and e[key] is not None]
    return float(np.mean(own)) if own else None


def _best_layer(records: Sequence[Record], name: str) -> str:
    def quality(layer: str) -> float:
        both = [scored(records, which, name, layer).auroc for which in SETS]
        known = [value for value in both if not np.isnan(value)]
        return float(np.mean(known)) if known else 0.5

    return max(records[0]["own"]["scores"][name], key=quality)


def _best_window(records: Sequence[Record]) -> str | None:
    edits = [edit for record in records for edit in record.get("edits") or ()]

    def quality(window: str) -> float:
        own = [edit for edit in edits if edit["window"] == window]
        less = ((edit["gone_control"], edit["lost"] or 0.0) for edit in own)
        return float(np.mean([edit["gone"] - max(each) for edit, each in zip(own, less, strict=True)]))

    return max(dict.fromkeys(edit["window"] for edit in edits), key=quality, default=None)
