"""An account of attention as JSON, for other programs."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchlens.attention.account import Account, BlockAccount
from patchlens.attention.columns import by_query
from patchlens.axes import CLASSES

FORMAT_VERSION = 1


def to_json(account: Account) -> str:
    """All figures of an account, by layer and query; a missing one is null. Maps are in the reading.

    Means are over the heads asked for; ``heads`` lists each of them. Entropies are in nats.
    """
    queries, rule, columns = account.queries, account.rule, by_query(account)
    report = {
        "format_version": FORMAT_VERSION,
        "model": account.model,
        "prompt": account.prompt,
        "answer": {"text": account.answer.text, "ids": list(account.answer.ids)},
        "query": queries.asked,
        "queries": [
            {"position": position, "piece": piece, "predicts": predicts}
            for position, piece, predicts in zip(
                queries.positions, queries.pieces, queries.predicts, strict=True
            )
        ],
        "classes": list(CLASSES),
        "sink_rule": {
            "factor": rule.factor,
            "dimensions": list(rule.dimensions),
            "dimension_factor": rule.dimension_factor,
            "says": str(rule),
        },
        "generic_prompt": None if account.relative is None else account.relative.prompt,
        "over_layers": [
            {name: _number(columns[name][row]) for name in CLASSES} for row in range(len(queries))
        ],
        "layers": [_layer(account, block) for block in account.blocks],
        "notes": list(account.notes),
    }
    return json.dumps(report, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _layer(account: Account, block: BlockAccount) -> dict[str, Any]:
    return {
        "layer": block.layer,
        "over": block.over,
        "sinks": np.flatnonzero(block.sink).tolist(),
        "queries": [_query(account, block, query) for query in range(len(account.queries))],
    }


def _query(account: Account, block: BlockAccount, query: int) -> dict[str, Any]:
    heads = range(len(block.shares)) if account.heads is None else account.heads
    figures = {
        "shares": _classes(account.chosen(block.shares)[query]),
        "contribution_shares": _classes(account.chosen(block.norm_shares)[query]),
        "entropy": _number(account.chosen(block.entropy)[query]),
        "mean_position": _number(account.chosen(block.mean_position)[query]),
        "write": _number(block.write[query]),
        "heads": [
            {
                "head": head,
                "shares": _classes(block.shares[head, query]),
                "entropy": _number(block.entropy[head, query]),
            }
            for head in heads
        ],
    }
    tiles = account.tiles(block.layer)
    if len(tiles) > 1:
        figures["tiles"] = [
            {
                "image": own.image,
                "tile": own.tile,
                "padding": own.padding,
                "share": _number(own.share[query]),
            }
            for own in tiles
        ]
    return figures


def _classes(row: NDArray[np.float32]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in zip(CLASSES, row, strict=True)}


def _number(value: np.floating[Any]) -> float | None:
    own = float(value)
    return round(own, 7) if math.isfinite(own) else None
