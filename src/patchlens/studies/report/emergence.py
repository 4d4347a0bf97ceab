"""When things first happen over the layers of an item, and for how many items they never do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from patchlens.stats.intervals import share
from patchlens.studies.layout import ALL
from patchlens.studies.report.by_layer import interval
from patchlens.studies.report.source import Source
from patchlens.studies.report.tables import Quantity, Row, Table

_EMERGENCE: Final = """
    SELECT model, lens, if(grouping("group") = 1, '{all}', "group") AS "group", event,
        count(*), count(layer), avg(layer), stddev_samp(layer), skewness(layer),
        quantile_cont(layer, 0.25), quantile_cont(layer, 0.5), quantile_cont(layer, 0.75)
    FROM events
    GROUP BY GROUPING SETS ((model, lens, "group", event), (model, lens, event))
    ORDER BY ALL
"""


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
                *(items, items - emerged, part.value, part.low, part.high),
                *(layer.value, layer.low, layer.high, lower, median, upper),
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
