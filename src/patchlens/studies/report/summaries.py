"""One number per model, lens, item and quantity: what differences are of."""

from __future__ import annotations

from typing import Final

from patchlens.studies.report.by_layer import EVENTS, MEANS, NATS, PROBABILITY, SHARE
from patchlens.studies.report.source import Source
from patchlens.studies.report.tables import Quantity, Table

LAYER: Final = "layer"

_LAST: Final = (
    Quantity("entropy_answer_last", "entropy where the answer starts, last layer", NATS),
    Quantity("probability_last", "probability of the answer's tokens, last layer", PROBABILITY, high=1.0),
)
_OF_ITEM: Final = (
    Quantity("answer_tokens", "length of the answer in tokens", "tokens"),
    Quantity("right", "answers that are right", SHARE, high=1.0),
)
SUMMARIES: Final = (
    *(Quantity(q.name, f"{q.about}, mean over layers", q.unit, q.low, q.high) for q in MEANS),
    *_LAST,
    *(Quantity(q.name, f"layer where {q.about}", LAYER) for q in EVENTS),
    *_OF_ITEM,
)
"""One number per model, lens and item; these are what differences are of."""

NO_LENS: Final = frozenset({"attention_image", *(quantity.name for quantity in _OF_ITEM)})
"""Quantities that no lens has a part in: they are compared once per model."""

_SUMMARIES: Final = """
    WITH last AS (SELECT model, max(layer) AS last FROM by_layer GROUP BY model),
    mean AS (
        SELECT model, lens, item, any_value("group") AS "group", {means},
            any_value(entropy_answer) FILTER (layer = last) AS entropy_answer_last,
            any_value(probability) FILTER (layer = last) AS probability_last
        FROM by_layer JOIN last USING (model) GROUP BY model, lens, item
    ),
    happened AS (
        SELECT model, lens, item, {events} FROM events GROUP BY model, lens, item
    )
    SELECT mean.model, mean.lens, mean.item, mean."group", {columns}
    FROM mean LEFT JOIN happened USING (model, lens, item) JOIN done USING (model, item)
    ORDER BY mean.model, mean.lens, done.number, mean.item
"""


def summaries(source: Source) -> Table:
    """One row per model, lens and done item: its means over layers, its emergence layers, its answer.

    An event's layer is empty where it never happens, or where the item has nothing that could.
    """
    means = ", ".join(f"avg({quantity.name}) AS {quantity.name}" for quantity in MEANS)
    events = ", ".join(f"any_value(layer) FILTER (event = '{q.name}') AS {q.name}" for q in EVENTS)
    told = {"answer_tokens": "len(answer_ids)", "right": '"right"::INT'}
    columns = ", ".join(f"{told.get(q.name, q.name)} AS {q.name}" for q in SUMMARIES)
    about = "One row per model, lens and item: means over layers, layers of emergence, length of the answer."
    return source.table("summaries", about, _SUMMARIES.format(means=means, events=events, columns=columns))
