"""The figures of an account of attention as columns by name: by head, or their means by layer or query."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from patchlens.attention.account import Account
from patchlens.axes import CLASSES, LAYER, PositionKind

Columns = dict[str, NDArray[Any]]


def by_layer(account: Account) -> Columns:
    """Columns [layer]: means over the heads asked for and the queries that see the sources.

    ``layer``, ``over`` (the axis attended to), the share of the weights on each of `CLASSES`,
    ``contribution_patch`` (share of patches in ``||c||``), ``entropy`` in nats, and ``write``.
    """
    patch = CLASSES.index(PositionKind.PATCH)
    rows = [
        (
            block.layer,
            block.over,
            *seeing_mean(account.chosen(block.shares)),
            seeing_mean(account.chosen(block.norm_shares))[patch],
            seeing_mean(account.chosen(block.entropy)),
            block.write.mean(),
        )
        for block in account.blocks
    ]
    names = (LAYER, "over", *CLASSES, "contribution_patch", "entropy", "write")
    return {name: np.array(own) for name, own in zip(names, zip(*rows, strict=True), strict=True)}


def by_query(account: Account) -> Columns:
    """Columns [query]: means over the heads asked for and the layers that can see the picture.

    ``query``, ``position``, ``piece``, ``predicts``, the share on each of `CLASSES`, and ``write``. For
    the steps of an answer: how much of the attention is left on the picture as the answer goes on.
    """
    shares = np.stack([account.chosen(block.shares) for block in account.looking]).mean(0)
    return {
        **_queries(account),
        **{name: shares[:, number] for number, name in enumerate(CLASSES)},
        "write": np.stack([block.write for block in account.looking]).mean(0),
    }


def by_head(account: Account) -> Columns:
    """Columns [layer x head x query], of all heads: every figure of `BlockAccount` that is no map."""
    parts: list[Columns] = []
    for block in account.blocks:
        n_heads, n_queries = block.entropy.shape
        part: Columns = {
            LAYER: np.full(n_heads * n_queries, block.layer),
            "over": np.full(n_heads * n_queries, block.over),
            "head": np.repeat(np.arange(n_heads), n_queries),
            **{name: np.tile(column, n_heads) for name, column in _queries(account).items()},
            **{name: block.shares[..., n].ravel() for n, name in enumerate(CLASSES)},
            **{f"contribution_{name}": block.norm_shares[..., n].ravel() for n, name in enumerate(CLASSES)},
            "entropy": block.entropy.ravel(),
            "mean_position": block.mean_position.ravel(),
            "write": np.tile(block.write, n_heads),
        }
        parts.append(part)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


BY: Final[dict[str, Callable[[Account], Columns]]] = {"head": by_head, LAYER: by_layer, "query": by_query}


def _queries(account: Account) -> Columns:
    own = account.queries
    return {
        "query": np.arange(len(own)),
        "position": np.array(own.positions),
        "piece": np.array(own.pieces, object),
        "predicts": np.array(own.predicts, object),
    }


def seeing_mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean over queries, the first axis, leaving out those that do not see the sources (NaN)."""
    sees = ~np.isnan(values)
    n_seeing = sees.sum(0)
    total = np.where(sees, values, 0).sum(0, dtype=np.float32)
    return np.where(n_seeing > 0, total / np.maximum(n_seeing, 1), np.nan).astype(np.float32)
