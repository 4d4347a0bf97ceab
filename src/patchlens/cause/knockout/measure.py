"""Where what the picture shows gets to the answer: attention knocked out in sliding windows of blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from patchlens.causal import rerun
from patchlens.causal.places import Stage
from patchlens.causal.protocol import Interventions
from patchlens.cause.cases import Case
from patchlens.cause.finding import Finding, Row, compared, looked_at_together
from patchlens.cause.knockout.routes import (
    ROUTES,
    Window,
    thing_patches,
    usual_width,
    windows,
    with_controls,
)
from patchlens.cause.ledger import Ledger, Record, each, head_of
from patchlens.errors import SelectionError
from patchlens.models.adapter import Adapter
from patchlens.models.generate import generate_greedy
from patchlens.models.inputs import prepare
from patchlens.models.tokens import answer_text
from patchlens.progress import Progress
from patchlens.scenes.questions import Question, ask
from patchlens.scenes.scene import Scene

DRAWS: Final = 3
"""Random draws that a control is the mean of."""
_RESAMPLES: Final = 1000
_SURE: Final = 0.95
_BLIND: Final = ("text → answer",)


@dataclass(frozen=True)
class Settings:
    """How `knockout` does it; ``width`` counts the blocks of a window (None: `usual_width`)."""

    width: int | None = None
    draws: int = DRAWS
    max_new_tokens: int = 20
    seed: int = 0


def ask_about_thing(scene: Scene, rng: np.random.Generator) -> Question | None:
    """What the only thing in a scene is, or the colour of one of the things."""
    if rng.random() < 0.5:
        return ask(scene, rng, "what") if scene.kind == "one" else None
    return ask(scene, rng, "colour")


def knockout(
    adapter: Adapter,
    cases: Sequence[Case],
    about: str,
    settings: Settings,
    *,
    path: Path | None,
    tell: Progress,
) -> Finding:
    """Knock out attention on every route, in a window around every block, and see what it costs the answer.

    Measured is by how many nats the model's own greedy answer gets less likely. (After Geva et al. 2023,
    arXiv 2304.14767, section 5, who take the change of the probability in percent.) ``answer`` is the last
    position of the prompt and those after it, each of which predicts a token of the answer.

    Args:
        adapter: the model.
        cases: questions about pictures.
        about: what the cases are, in words.
        settings: how.
        path: of the ledger, or None to keep none.
        tell: told how far it is.

    Raises:
        SelectionError: sizes out of range.
        PatchlensError: a case cannot be made; says which.
    """
    n_blocks = adapter.n_layers
    width = usual_width(n_blocks) if settings.width is None else settings.width
    if not 1 <= width <= n_blocks or settings.draws < 1 or settings.max_new_tokens < 1:
        raise SelectionError(
            f"choose windows of 1 to {n_blocks} blocks, 1 draw or more and answers of 1 token or more"
        )
    adapter.prove()
    over = windows(n_blocks, width)
    parameters = {**asdict(settings), "width": width}

    def one(case: Case) -> Record:
        return _costs(adapter, case, over, settings)

    head = head_of("knockout", adapter, cases, parameters)
    records = each(cases, one, Ledger(path, head), tell)
    return _finding(adapter.name, about, [records[case.name] for case in cases], over, parameters)


def _costs(adapter: Adapter, case: Case, over: Sequence[Window], settings: Settings) -> Record:
    """Nats that the answer loses by route and window, beside each of the controls."""
    asked = prepare(adapter, case.prompt, case.open())
    ids = generate_greedy(adapter, asked, settings.max_new_tokens)
    if not ids:
        return {"answer": "", "routes": {}}
    inputs = adapter.continued(asked, ids)
    stage = Stage(adapter, inputs)
    thing = thing_patches(stage, case.truth)
    cut = {route: with_controls(stage, route, thing, settings.draws, settings.seed) for route in ROUTES}
    keys = [(route, window) for route in ROUTES if cut[route] for window in over]
    plans: list[Interventions] = [()]
    for route, window in keys:
        plans += [edges.knockout(window.blocks) for edges in cut[route]]
    total = rerun(adapter, inputs).effects(plans).total.double()
    lost = (total[0] - total[1:]).reshape(len(keys), 1 + settings.draws).numpy()
    routes: dict[str, list[tuple[float, list[float]]]] = {}
    for (route, _), values in zip(keys, lost, strict=True):
        routes.setdefault(route, []).append((float(values[0]), values[1:].tolist()))
    answer = answer_text(adapter.tokenizer, ids)
    return {
        "answer": answer,
        "edges": {route: len(own[0]) for route, own in cut.items() if own},
        "routes": routes,
    }


def _finding(
    model: str, about: str, records: Sequence[Record], over: Sequence[Window], parameters: Mapping[str, Any]
) -> Finding:
    answered = [record for record in records if record["routes"]]
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
    silent = len(records) - len(answered)
    if silent:
        notes += (f"{silent} cases were left out: the model says nothing",)
    about = f"{about}, windows of {parameters['width']} blocks"
    sentence = _sentence(found, rows)
    return Finding("knockout", model, about, len(answered), tuple(rows.values()), sentence, parameters, notes)


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
    told = ("In this one case, which tells nothing of others, of" if one else "Of") + " all windows, "
    told += f"{_dearest(narrow, found, rows)}."
    seen = [key for key in narrow if key[0] not in _BLIND]
    best = max(narrow, key=lambda key: rows[key].value.value or 0.0)
    return (
        told if best in seen else f"{told} Of those on ways from the picture, {_dearest(seen, found, rows)}."
    )


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
    told = f"{row.name} costs most: {row.value} nats, its random control {row.control}"
    sure = _sureness([found[key] for key in keys], keys.index(best))
    if sure >= _SURE:
        return f"{told}; it is the dearest in {sure:.0%} of resamples of the cases"
    return f"{told}; but it is the dearest in only {sure:.0%} of resamples of the cases, so others may be"


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
