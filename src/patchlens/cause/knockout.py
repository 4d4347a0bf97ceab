"""Where what the picture shows gets to the answer: attention knocked out in sliding windows of blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from patchlens.causal.places import Stage
from patchlens.cause.cases import CasesLike, about_cases, as_cases
from patchlens.cause.finding import Finding, Row, compared, looked_at_together
from patchlens.cause.ledger import Record
from patchlens.cause.routes import (
    ROUTES,
    Window,
    thing_patches,
    usual_width,
    windows,
    with_controls,
)
from patchlens.cause.runner import Experiment
from patchlens.cause.settings import KnockoutSettings
from patchlens.data.item import Item
from patchlens.errors import SelectionError
from patchlens.progress import Progress, silent
from patchlens.run import Model
from patchlens.scenes.questions import Question, ask
from patchlens.scenes.scene import Scene

_RESAMPLES: Final = 1000
_SURE: Final = 0.95
_BLIND: Final = ("text → answer",)


def ask_about_thing(scene: Scene, rng: np.random.Generator) -> Question | None:
    """What the only thing in a scene is, or the colour of one of the things."""
    if rng.random() < 0.5:
        return ask(scene, rng, "what") if scene.kind == "one" else None
    return ask(scene, rng, "colour")


def cause_knockout(
    model: Model,
    data: CasesLike,
    settings: KnockoutSettings | None = None,
    *,
    prompt: str | None = None,
    about: str | None = None,
    out: Path | None = None,
    progress: Progress = silent,
) -> Finding:
    """Knock out attention on every route, in a window around every block, and see what it costs the answer.

    Measured is by how many nats the model's own greedy answer gets less likely. (After Geva et al. 2023,
    arXiv 2304.14767, section 5, who take the change of the probability in percent.) ``answer`` is the last
    position of the prompt and those after it, each of which predicts a token of the answer.

    Args:
        model: what to ask.
        data: a picture, a folder, a ``.jsonl`` file, ``scenes:N``, items, or cases.
        settings: how.
        prompt: what to ask of the picture, or of each of a folder.
        about: what the pictures are, in words.
        out: NAME.jsonl, a line per case; run again, it goes on from there.
        progress: told how far it is.

    Raises:
        SelectionError: there are fewer blocks than a window is wide.
        PatchlensError: a case cannot be made; says which.
    """
    cases, own = as_cases(data, prompt), settings or KnockoutSettings()
    n_blocks = model.n_layers
    width = usual_width(n_blocks) if own.width is None else own.width
    if width > n_blocks:
        raise SelectionError(f"{model.name} has {n_blocks} blocks: choose windows of 1 to {n_blocks} blocks")
    trial = Experiment("knockout", model, cases, {**asdict(own), "width": width}, out, progress)
    over = windows(n_blocks, width)
    records = trial.records(lambda case: measure(model, case, over, own))
    return _finding(trial, about or about_cases(cases), records, over)


def measure(model: Model, case: Item, over: Sequence[Window], settings: KnockoutSettings) -> Record:
    """Nats that the answer loses by route and window, beside each of the controls."""
    most = settings.max_new_tokens
    trace = model.trace(case.open(), case.prompt, max_new_tokens=most, layers=[0])
    if not trace.answer.ids:
        return {"answer": "", "routes": {}}
    stage = Stage(trace.adapter, trace.told)
    thing = thing_patches(stage, case.known())
    cut = {route: with_controls(stage, route, thing, settings.draws, settings.seed) for route in ROUTES}
    keys = [(route, window) for route in ROUTES if cut[route] for window in over]
    runs = [edges.knockout(window.blocks) for route, window in keys for edges in cut[route]]
    lost = -trace.effects(runs).change.reshape(len(keys), 1 + settings.draws)
    routes: dict[str, list[tuple[float, list[float]]]] = {}
    for (route, _), values in zip(keys, lost, strict=True):
        routes.setdefault(route, []).append((float(values[0]), values[1:].tolist()))
    return {
        "answer": trace.answer.text,
        "edges": {route: len(own[0]) for route, own in cut.items() if own},
        "routes": routes,
    }


def _finding(trial: Experiment, about: str, records: Mapping[str, Record], over: Sequence[Window]) -> Finding:
    answered = [record for record in records.values() if record["routes"]]
    found: dict[tuple[str, Window], Values] = {}
    for route in ROUTES:
        if any(route in record["routes"] for record in answered):
            for number, window in enumerate(over):
                found[route, window] = [
                    tuple(record["routes"].get(route, [(None, None)] * len(over))[number])
                    for record in answered
                ]
    rows = dict(
        zip(found, looked_at_together([_row(key, values) for key, values in found.items()]), strict=True)
    )
    notes = (
        "windows at either end are cut off: they have fewer blocks",
        "blocks are counted from 0",
        f"what stands out does so among {len(rows)} rows (Holm)",
    )
    if len(answered) < len(records):
        notes += (f"{len(records) - len(answered)} cases were left out: the model says nothing",)
    return trial.finding(
        f"{about}, windows of {trial.parameters['width']} blocks",
        list(rows.values()),
        _sentence(found, rows),
        cases=len(answered),
        notes=notes,
        records=records,
    )


Values = Sequence[tuple[float | None, Sequence[float] | None]]
"""What a knockout and draws of its control cost in each case; None where the case has no such route."""


def _row(key: tuple[str, Window], values: Values) -> Row:
    route, window = key
    return compared(f"{route}, {window}", "nats", [own for own, _ in values], [other for _, other in values])


def _sentence(found: Mapping[tuple[str, Window], Values], rows: Mapping[tuple[str, Window], Row]) -> str:
    """Name the dearest windows, if they stand out, and how sure it is that they are the dearest."""
    narrow = [key for key in found if key[1].centre is not None and rows[key].value.value is not None]
    if not narrow:
        return "No answer was given, so nothing can be knocked out of it."
    one = len(found[narrow[0]]) == 1
    whole = "In this one case, which tells nothing of others, of" if one else "Of"
    whole += f" all windows, {_dearest(narrow, found, rows)}."
    from_picture = [key for key in narrow if key[0] not in _BLIND]
    best = max(narrow, key=lambda key: rows[key].value.value or 0.0)
    if best in from_picture:
        return whole
    return f"{whole} Of those on ways from the picture, {_dearest(from_picture, found, rows)}."


def _dearest(
    keys: Sequence[tuple[str, Window]],
    found: Mapping[tuple[str, Window], Values],
    rows: Mapping[tuple[str, Window], Row],
) -> str:
    best = max(keys, key=lambda key: rows[key].value.value or 0.0)
    row = rows[best]
    alone = sum(own is not None for own, _ in found[best]) == 1
    if not ((alone or row.stands_out) and row.is_higher):
        return "none costs the answer more than its random control"
    if alone and row.control:
        return (
            f"{row.name} costs most: {row.value.value:.3f} nats, its random control {row.control.value:.3f}"
        )
    costs = f"{row.name} costs most: {row.value} nats, its random control {row.control}"
    sure = _sureness([found[key] for key in keys], keys.index(best))
    if sure >= _SURE:
        return f"{costs}; it is the dearest in {sure:.0%} of resamples of the cases"
    return f"{costs}; but it is the dearest in only {sure:.0%} of resamples of the cases, so others may be"


def _sureness(values: Sequence[Values], chosen: int) -> float:
    """Share of resamples of the cases in which the chosen mean is the highest."""
    table: NDArray[np.float64] = np.array(
        [[np.nan if own is None else own for own, _ in row] for row in values], np.float64
    )
    n = table.shape[1]
    weights = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), _RESAMPLES).astype(np.float64)
    known = np.isfinite(table)
    count = weights @ known.T
    sums = weights @ np.where(known, table, 0.0).T
    means = np.divide(sums, count, out=np.full_like(sums, -np.inf), where=count > 0)
    return float((means.argmax(1) == chosen).mean())
