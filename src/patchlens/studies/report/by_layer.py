"""What an item's reading says at each layer, one number per quantity, and the curves over the items."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from patchlens.stats.intervals import Estimate, share, spread
from patchlens.studies.layout import ALL
from patchlens.studies.report.source import Source
from patchlens.studies.report.tables import Quantity, Row, Table

NATS: Final = "nats"
PROBABILITY: Final = "probability"
SHARE: Final = "share"

MEANS: Final = (
    Quantity("entropy_answer", "entropy where the answer starts", NATS),
    Quantity("entropy_patches", "entropy at the patches", NATS),
    Quantity("probability", "probability of the answer's tokens, mean over its steps", PROBABILITY, high=1.0),
    Quantity("kl_answer", "KL to the final layer where the answer starts", NATS),
    Quantity("kl_patches", "KL to the final layer at the patches", NATS),
    Quantity("attention_image", "attention on the patches, mean over the answer's steps", SHARE, high=1.0),
    Quantity(
        "expected_answer", "probability of the expected words where the answer starts", PROBABILITY, high=1.0
    ),
    Quantity("expected_patches", "probability of the expected words at the patches", PROBABILITY, high=1.0),
)
_ENTROPIES: Final = frozenset({"entropy_answer", "entropy_patches"})
KNOWN: Final = (
    Quantity(
        "language_known_answer", "first words of a known language where the answer starts", SHARE, high=1.0
    ),
    Quantity("language_known_patches", "first words of a known language at the patches", SHARE, high=1.0),
)
EVENTS: Final = (
    Quantity("answer_first", "the answer's first token is first for the first time", SHARE, high=1.0),
    Quantity("answer_leads", "the answer's first token is first from here on", SHARE, high=1.0),
    Quantity("expected_top1_answer", "an expected word is first where the answer starts", SHARE, high=1.0),
    Quantity(
        "expected_top5_answer", "an expected word is among five where the answer starts", SHARE, high=1.0
    ),
    Quantity("expected_top1_patches", "an expected word is first at a patch", SHARE, high=1.0),
    Quantity("expected_top5_patches", "an expected word is among five at a patch", SHARE, high=1.0),
)
"""What happens at a layer of an item, or never; as a curve, the share of items where it has happened."""

_BY_LAYER: Final = """
    CREATE TEMP TABLE by_layer AS
    WITH expected_once AS (
        SELECT model, lens, item, layer, position, token, any_value(kind) AS kind, any_value(step) AS step,
            exp(max(logprob)::DOUBLE) AS probability, min(rank) AS rank
        FROM targets WHERE source = 'expected' GROUP BY model, lens, item, layer, position, token
    ), expected_cell AS (
        SELECT model, lens, item, layer, position, any_value(kind) AS kind, any_value(step) AS step,
            sum(probability) AS probability, min(rank) AS rank
        FROM expected_once GROUP BY model, lens, item, layer, position
    ), expected AS (
        SELECT model, lens, item, layer,
            avg(probability) FILTER (step = 0) AS expected_answer,
            avg(probability) FILTER (kind = 'patch') AS expected_patches,
            min(rank) FILTER (step = 0) AS expected_rank_answer,
            min(rank) FILTER (kind = 'patch') AS expected_rank_patches
        FROM expected_cell GROUP BY model, lens, item, layer
    ), cell AS (
        SELECT model, lens, item, layer, any_value("group") AS "group",
            avg(entropy) FILTER (step = 0) AS entropy_answer,
            avg(entropy) FILTER (kind = 'patch') AS entropy_patches,
            avg(exp(answer_logprob::DOUBLE)) FILTER (step >= 0) AS probability,
            avg(kl_to_final) FILTER (step = 0) AS kl_answer,
            avg(kl_to_final) FILTER (kind = 'patch') AS kl_patches,
            avg(attention_patch) FILTER (step >= 0) AS attention_image,
            avg((language IS NOT NULL)::INT) FILTER (step = 0) AS language_known_answer,
            avg((language IS NOT NULL)::INT) FILTER (kind = 'patch') AS language_known_patches,
            min(answer_rank) FILTER (step = 0) AS answer_rank
        FROM cells GROUP BY model, lens, item, layer
    )
    SELECT cell.*, expected.* EXCLUDE (model, lens, item, layer)
    FROM cell LEFT JOIN expected USING (model, lens, item, layer)
"""
_EVENTS: Final = """
    CREATE TEMP TABLE events AS
    WITH ranked AS (
        SELECT *, max(layer) FILTER (answer_rank > 0) OVER (PARTITION BY model, lens, item) AS last_behind
        FROM by_layer
    )
    {parts}
"""
_EVENT: Final = """
    SELECT model, lens, item, any_value("group") AS "group", '{name}' AS event,
        min(layer) FILTER ({happens}) AS layer
    FROM ranked GROUP BY model, lens, item HAVING count({known}) > 0
"""
_HAPPENS: Final = {
    "answer_first": ("answer_rank", "answer_rank = 0"),
    "answer_leads": ("answer_rank", "answer_rank = 0 AND layer > coalesce(last_behind, -1)"),
    "expected_top1_answer": ("expected_rank_answer", "expected_rank_answer < 1"),
    "expected_top5_answer": ("expected_rank_answer", "expected_rank_answer < 5"),
    "expected_top1_patches": ("expected_rank_patches", "expected_rank_patches < 1"),
    "expected_top5_patches": ("expected_rank_patches", "expected_rank_patches < 5"),
}
_LANGUAGES: Final = """
    CREATE TEMP TABLE languages AS
    WITH known AS (
        SELECT model, lens, item, layer, language, "group",
            CASE WHEN kind = 'patch' THEN 'patches' ELSE 'answer' END AS place
        FROM cells WHERE language IS NOT NULL AND (kind = 'patch' OR step = 0)
    ), total AS (
        SELECT model, lens, item, layer, place, any_value("group") AS "group", count(*) AS cells
        FROM known GROUP BY model, lens, item, layer, place
    ), counted AS (
        SELECT model, lens, item, layer, place, language, count(*) AS said
        FROM known GROUP BY model, lens, item, layer, place, language
    ), spoken AS (SELECT DISTINCT language FROM known)
    SELECT total.model, total.lens, total.item, total."group", total.layer,
        'language_' || total.place || '=' || spoken.language AS quantity,
        coalesce(counted.said, 0) / total.cells AS value
    FROM total CROSS JOIN spoken LEFT JOIN counted USING (model, lens, item, layer, place, language)
"""
_CURVES: Final = """
    WITH layers AS (SELECT DISTINCT model, lens, layer FROM by_layer), long AS (
        SELECT model, lens, item, "group", layer, quantity, value FROM (
            UNPIVOT by_layer ON {names} INTO NAME quantity VALUE value)
        UNION ALL SELECT model, lens, item, "group", layer, quantity, value FROM languages
        UNION ALL
        SELECT model, lens, item, "group", layers.layer, event,
            coalesce(events.layer <= layers.layer, false)::INT
        FROM events JOIN layers USING (model, lens)
    )
    SELECT model, lens, if(grouping("group") = 1, '{all}', "group") AS "group", layer, quantity,
        avg(value), stddev_samp(value), skewness(value), count(value)
    FROM long
    GROUP BY GROUPING SETS ((model, lens, "group", layer, quantity), (model, lens, layer, quantity))
    ORDER BY ALL
"""


def prepare(source: Source) -> None:
    """Make the tables by_layer, events and languages, one row per item and layer, event or language."""
    source.query(_BY_LAYER)
    parts = [
        _EVENT.format(name=name, known=known, happens=happens) for name, (known, happens) in _HAPPENS.items()
    ]
    source.query(_EVENTS.format(parts=" UNION ALL ".join(parts)))
    source.query(_LANGUAGES)


def curves(source: Source, quantities: Sequence[Quantity]) -> Table:
    """Mean over items with a 95% interval, by model, lens, group, layer and quantity."""
    known = {quantity.name: quantity for quantity in quantities}
    measured = ", ".join(quantity.name for quantity in (*MEANS, *KNOWN) if quantity.name in known)
    rows: list[Row] = []
    for model, lens, group, layer, name, mean, sd, skewness, items in source.query(
        _CURVES.format(names=measured, all=ALL)
    ):
        quantity = _within_vocabulary(known[name], source.manifest.vocab_sizes.get(model))
        yes_or_no = name in _HAPPENS
        found = (
            share(round(mean * items), items) if yes_or_no else interval(mean, sd, skewness, items, quantity)
        )
        rows.append((model, lens, group, layer, name, *figures(found), items))
    return Table(
        "curves",
        "By model, lens, group, layer and quantity: the mean over items with its 95% interval.",
        ("model", "lens", "group", "layer", "quantity", "mean", "low", "high", "items"),
        tuple(rows),
    )


def _within_vocabulary(quantity: Quantity, vocab_size: int | None) -> Quantity:
    """The quantity with the most that an entropy can be, where the vocabulary's size is known."""
    if vocab_size is None or quantity.name not in _ENTROPIES:
        return quantity
    return replace(quantity, high=math.log(vocab_size))


def languages(source: Source) -> tuple[Quantity, ...]:
    """One quantity per place and language that a first word was known to be of."""
    places = {"answer": "where the answer starts", "patches": "at the patches"}
    found = source.query("SELECT DISTINCT quantity FROM languages ORDER BY quantity")
    made: list[Quantity] = []
    for (name,) in found:
        place, language = name.removeprefix("language_").split("=", 1)
        about = f"first words in “{language}” {places[place]}, of those of a known language"
        made.append(Quantity(name, about, SHARE, high=1.0))
    return tuple(made)


def interval(
    mean: float | None, sd: float | None, skewness: float | None, items: int, quantity: Quantity
) -> Estimate:
    """A mean over items with the interval of `patchlens.stats.intervals.spread`.

    Args:
        mean: over items; None where there is none.
        sd: sample standard deviation over items.
        skewness: of the sample; None where it is not defined.
        items: how many; fewer than two have no interval.
        quantity: gives the possible range.
    """
    if mean is None or sd is None:
        return Estimate(mean, n=items)
    return spread(mean, sd / math.sqrt(items), items, quantity.within, skewness or 0.0)


def figures(*estimates: Estimate) -> tuple[float | None, ...]:
    """Value, low and high of each, as columns."""
    return tuple(figure for one in estimates for figure in (one.value, one.low, one.high))
