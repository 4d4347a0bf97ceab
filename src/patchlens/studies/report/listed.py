"""Tables of items, failures, answers, top words and effects."""

from __future__ import annotations

from typing import Final

from patchlens.stats.intervals import Estimate, share
from patchlens.studies.layout import ALL
from patchlens.studies.report.by_layer import interval
from patchlens.studies.report.source import Source
from patchlens.studies.report.tables import Quantity, Row, Table

MOST_LAYERS: Final = 13
MOST_WORDS: Final = 10

_LOGPROB: Final = Quantity("effect", "change of the answer's log-probability", "nats", low=None)
_TOKENS: Final = Quantity("tokens", "length of the answer", "tokens")

_ITEMS: Final = """
    SELECT model, item, number, coalesce("group", ''), prompt, pictures, expected, answer,
        len(answer_ids), "right", positions, patches, notes, error
    FROM items ORDER BY model, number, item
"""
_FAILURES: Final = """
    SELECT model, item, number, coalesce("group", ''), error FROM items WHERE error IS NOT NULL
    ORDER BY model, number, item
"""
_ANSWERS: Final = """
    WITH said AS (SELECT * FROM done WHERE answer IS NOT NULL), token AS (
        SELECT model, "group", unnest(answer_ids) AS id FROM said
    ), types AS (
        SELECT model, if(grouping("group") = 1, '{all}', "group") AS "group",
            count(DISTINCT id) / count(*) AS ratio
        FROM token GROUP BY GROUPING SETS ((model, "group"), (model))
    ), answer AS (
        SELECT model, if(grouping("group") = 1, '{all}', "group") AS "group", count(*) AS items,
            count("right") AS judged, count(*) FILTER ("right") AS "right", avg(len(answer_ids)) AS tokens,
            stddev_samp(len(answer_ids)) AS sd, skewness(len(answer_ids)) AS skewness,
            count(DISTINCT answer) AS different
        FROM said GROUP BY GROUPING SETS ((model, "group"), (model))
    )
    SELECT model, "group", items, judged, "right", tokens, sd, skewness, different, ratio
    FROM answer LEFT JOIN types USING (model, "group") ORDER BY ALL
"""
_WORDS: Final = """
    WITH layers AS (
        SELECT model, layer, row_number() OVER (PARTITION BY model ORDER BY layer) - 1 AS place,
            count(*) OVER (PARTITION BY model) AS n
        FROM (SELECT DISTINCT model, layer FROM by_layer)
    ), shown AS (
        SELECT model, layer FROM layers
        WHERE n <= {layers} OR list_contains(
            [round(i * (n - 1) / ({layers} - 1)) FOR i IN range({layers})], place)
    ), top AS (
        SELECT model, lens, "group", layer, top_ids[1] AS token, top_pieces[1] AS piece,
            CASE WHEN step = 0 THEN 'answer' ELSE 'patches' END AS place
        FROM cells JOIN shown USING (model, layer) WHERE kind = 'patch' OR step = 0
    ), counted AS (
        SELECT model, lens, if(grouping("group") = 1, '{all}', "group") AS "group", layer, place, token,
            any_value(piece) AS piece, count(*) AS cells
        FROM top GROUP BY GROUPING SETS (
            (model, lens, "group", layer, place, token), (model, lens, layer, place, token))
    ), ranked AS (
        SELECT *, sum(cells) OVER place_of AS total,
            row_number() OVER (place_of ORDER BY cells DESC, token) AS rank
        FROM counted WINDOW place_of AS (PARTITION BY model, lens, "group", layer, place)
    )
    SELECT model, lens, "group", place, layer, rank, token, piece, cells, cells / total
    FROM ranked WHERE rank <= {words} ORDER BY ALL
"""
_EFFECTS: Final = """
    WITH item AS (
        SELECT model, lens, item, any_value("group") AS "group", change, layer, avg(patches) AS patches,
            avg(effect) AS effect, avg(control) AS control
        FROM effects GROUP BY model, lens, item, change, layer
    )
    SELECT model, lens, if(grouping("group") = 1, '{all}', "group") AS "group", change, layer, avg(patches),
        count(*), avg(effect), stddev_samp(effect), skewness(effect),
        count(control), avg(control), stddev_samp(control), skewness(control),
        avg(effect - control), stddev_samp(effect - control), skewness(effect - control)
    FROM item
    GROUP BY GROUPING SETS ((model, lens, "group", change, layer), (model, lens, change, layer))
    ORDER BY ALL
"""


def items(source: Source) -> Table:
    """Every item of every model, done or failed."""
    return Table(
        "items",
        "Every item of every model, done or failed.",
        (
            *(
                "model",
                "item",
                "number",
                "group",
                "prompt",
                "pictures",
                "expected",
                "answer",
                "answer_tokens",
            ),
            *("right", "positions", "patches", "notes", "error"),
        ),
        tuple(source.query(_ITEMS)),
    )


def failures(source: Source) -> Table:
    """Items that failed, with the reason."""
    return Table(
        "failures",
        "Items that failed, with the reason; no other table knows them.",
        ("model", "item", "number", "group", "error"),
        tuple(source.query(_FAILURES)),
    )


def answers(source: Source) -> Table:
    """By model and group: how long, how varied and how often right the answers are."""
    rows: list[Row] = []
    for model, group, count, judged, right, tokens, sd, skewness, different, ratio in source.query(
        _ANSWERS.format(all=ALL)
    ):
        rights = share(right, judged) if judged else Estimate(None)
        length = interval(tokens, sd, skewness, count, _TOKENS)
        rows.append(
            (
                *(model, group, count, judged),
                *(rights.value, rights.low, rights.high),
                *(length.value, length.low, length.high, different, different / count, ratio),
            )
        )
    return Table(
        "answers",
        "By model and group: share of right answers among those judged (Wilson's interval), length in "
        "tokens, different answers, and type-token ratio, which falls as answers get more or longer.",
        (
            *("model", "group", "items", "judged", "right", "right_low", "right_high"),
            *("tokens", "tokens_low", "tokens_high", "different", "variety", "type_token_ratio"),
        ),
        tuple(rows),
    )


def words(source: Source) -> Table:
    """By model, lens, group, place and layer: the tokens that are most often first."""
    rows = source.query(_WORDS.format(all=ALL, layers=MOST_LAYERS, words=MOST_WORDS))
    return Table(
        "words",
        "By model, lens, group, place (patches, or where the answer starts) and layer (at most "
        f"{MOST_LAYERS}, evenly spaced): the tokens that are most often first, with their share "
        "of all cells there.",
        ("model", "lens", "group", "place", "layer", "rank", "token", "piece", "cells", "share"),
        tuple(rows),
    )


def effects(source: Source) -> Table:
    """By model, lens, group and change: what the change did, beside its control."""
    rows: list[Row] = []
    for *key, patches, n, own, sd, skew, controls, control, sd2, skew2, less, sd3, skew3 in source.query(
        _EFFECTS.format(all=ALL)
    ):
        found = [
            interval(own, sd, skew, n, _LOGPROB),
            interval(control, sd2, skew2, controls, _LOGPROB),
            interval(less, sd3, skew3, controls, _LOGPROB),
        ]
        rows.append(
            (*key, patches, n, controls, *(v for one in found for v in (one.value, one.low, one.high)))
        )
    return Table(
        "effects",
        "By model, lens, group and change: the change of the answer's log-probability (nats), the same under "
        "the control, and their difference over the items that have both.",
        (
            *("model", "lens", "group", "change", "layer", "patches", "items", "controls"),
            *("effect", "effect_low", "effect_high", "control", "control_low", "control_high"),
            *("difference", "difference_low", "difference_high"),
        ),
        tuple(rows),
    )
