"""Tables of items, failures, answers, top words, effects, and of when things first happen over the layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from patchlens.stats.intervals import Estimate, share
from patchlens.studies.layout import ALL
from patchlens.studies.report.by_layer import figures, interval
from patchlens.studies.report.source import Source
from patchlens.studies.report.tables import Quantity, Row, Table

MOST_LAYERS: Final = 13
MOST_WORDS: Final = 10

_LOGPROB: Final = Quantity("effect", "change of the answer's log-probability", "nats", low=None)
_TOKENS: Final = Quantity("tokens", "length of the answer", "tokens")

_ITEMS: Final = """
    SELECT model, item, number, coalesce("group", '') AS "group", prompt, pictures, expected, answer,
        len(answer_ids) AS answer_tokens, "right", positions, patches, notes, error
    FROM items ORDER BY model, number, item
"""
_FAILURES: Final = """
    SELECT model, item, number, coalesce("group", '') AS "group", error FROM items
    WHERE error IS NOT NULL
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
    SELECT model, lens, "group", place, layer, rank, token, piece, cells, cells / total AS share
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
_EMERGENCE: Final = """
    SELECT model, lens, if(grouping("group") = 1, '{all}', "group") AS "group", event,
        count(*), count(layer), avg(layer), stddev_samp(layer), skewness(layer),
        quantile_cont(layer, 0.25), quantile_cont(layer, 0.5), quantile_cont(layer, 0.75)
    FROM events
    GROUP BY GROUPING SETS ((model, lens, "group", event), (model, lens, event))
    ORDER BY ALL
"""


def items(source: Source) -> Table:
    """Every item of every model, done or failed."""
    return source.table("items", "Every item of every model, done or failed.", _ITEMS)


def failures(source: Source) -> Table:
    """Items that failed, with the reason."""
    return source.table(
        "failures", "Items that failed, with the reason; no other table knows them.", _FAILURES
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
                *figures(rights, length),
                *(different, different / count, ratio),
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
    about = (
        "By model, lens, group, place (patches, or where the answer starts) and layer (at most "
        f"{MOST_LAYERS}, evenly spaced): the tokens that are most often first, with their share "
        "of all cells there."
    )
    return source.table("words", about, _WORDS.format(all=ALL, layers=MOST_LAYERS, words=MOST_WORDS))


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
        rows.append((*key, patches, n, controls, *figures(*found)))
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


def emergence(source: Source, last_layers: Mapping[str, int]) -> Table:
    """By model, lens, group and event: in how many items it happens, and at which layer in those.

    Args:
        source: an open study.
        last_layers: number of the last layer of each model.
    """
    rows: list[Row] = []
    for *key, items, emerged, mean, sd, skew, lower, median, upper in source.query(
        _EMERGENCE.format(all=ALL)
    ):
        part = share(emerged, items)
        quantity = Quantity("layer", "layer", "layer", high=last_layers[key[0]])
        layer = interval(mean, sd, skew, emerged, quantity)
        rows.append(
            (
                *key,
                *(items, items - emerged, *figures(part, layer)),
                *(lower, median, upper),
            )
        )
    return Table(
        "emergence",
        "By model, lens, group and event: in how many items it happens (Wilson's interval), and in those, "
        "the layer where it does (mean with its interval, quartiles).",
        (
            *("model", "lens", "group", "event", "items", "never", "share", "share_low", "share_high"),
            *("layer_mean", "layer_low", "layer_high", "layer_q25", "layer_median", "layer_q75"),
        ),
        tuple(rows),
    )
