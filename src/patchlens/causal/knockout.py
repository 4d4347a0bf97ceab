"""Forbid attention from some positions to some sources in a window of blocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from patchlens.axes import POSITION, VISION, whole_numbers
from patchlens.causal.places import Stage, Where
from patchlens.causal.protocol import Cut, Intervention, Step
from patchlens.errors import InterventionError, SelectionError

Edges = Int[NDArray[np.int64], "edge 2"]
VisionEdges = Int[NDArray[np.int64], "vision_edge 2"]


@dataclass(frozen=True)
class Knockout(Intervention):
    """Attention knockout: scores of the chosen pairs are -inf before the softmax, in every head.

    ``softmax(QK^T / sqrt(d) + M)`` with ``M[q, s] = -inf`` for a query q and a source s, in blocks of the
    window (Geva et al. 2023, arXiv 2304.14767, section 5). The other sources of a query share its attention
    anew. A query that is left with no source at all, such as one that may not look at any vision state, has
    heads that mix nothing: its attention writes zero (or what the output projection adds by itself, its
    bias). That differs from a softmax over equal scores, which would look everywhere.

    Blocks that attend to vision states cut the sources that are vision states, the others those that are
    positions; a window without a block of the right sort changes nothing.

    Args:
        queries: positions that may not look; "answer" also covers every newly generated one.
        sources: what they may not look at.
        blocks: the window, 0-based (block ``i`` turns layer ``i`` into ``i + 1``); None for all.
    """

    queries: Where
    sources: Where
    blocks: Sequence[int] | int | None = None

    def steps(self, stage: Stage) -> Iterable[Step]:
        """A cut for each sort of source."""
        queries = stage.find(self.queries)
        if not queries.positions:
            raise InterventionError(
                "vision states attend to nothing in the decoder: name positions as queries"
            )
        sources = stage.find(self.sources)
        window = _window(self.blocks, stage.adapter.n_layers)
        cross = window & set(stage.adapter.cross_blocks)
        both = ((POSITION, window - cross, sources.positions), (VISION, cross, sources.states))
        return [
            Cut(frozenset(blocks), over, queries.positions, places)
            for over, blocks, places in both
            if blocks and places
        ]


@dataclass(frozen=True, eq=False)
class KnockoutEdges(Intervention):
    """Attention knockout of single edges, each a query and a source, as in `Knockout`.

    Args:
        edges: ``[edge, 2]``: position that may not look, and position it may not look at, in the blocks that
            attend within the sequence. One whose source comes after its query changes nothing.
        vision_edges: ``[vision_edge, 2]``: position and vision state, in the blocks that attend to those.
        blocks: as in `Knockout`.
    """

    edges: Edges | None = field(default=None, repr=False)
    vision_edges: VisionEdges | None = field(default=None, repr=False)
    blocks: Sequence[int] | None = None

    def steps(self, stage: Stage) -> Iterable[Step]:
        """A cut for each sort of source."""
        window = _window(self.blocks, stage.adapter.n_layers)
        cross = window & set(stage.adapter.cross_blocks)
        n, places = len(stage.inputs), stage.inputs.vision_places
        both = (
            (POSITION, window - cross, self.edges, n),
            (VISION, cross, self.vision_edges, 0 if places is None else len(places)),
        )
        made: list[Cut] = []
        for over, blocks, edges, n_sources in both:
            if edges is None or not len(edges):
                continue
            if edges.min() < 0 or edges[:, 0].max() >= n or edges[:, 1].max() >= n_sources:
                raise SelectionError(
                    f"an edge does not exist: it goes from one of {n} positions to one of {n_sources} sources"
                )
            if blocks:
                queries, sources = (tuple(ends) for ends in edges.T.tolist())
                made.append(Cut(frozenset(blocks), over, queries, sources, paired=True))
        return made


def _window(blocks: Sequence[int] | int | None, n_blocks: int) -> set[int]:
    if blocks is None:
        return set(range(n_blocks))
    wanted = whole_numbers(blocks, "block")
    for block in wanted:
        if not 0 <= block < n_blocks:
            raise SelectionError(f"block {block} does not exist: this model has blocks 0 to {n_blocks - 1}")
    if not wanted:
        raise SelectionError("the window of a knockout has no block: name some, or leave it out for all")
    return set(wanted)
