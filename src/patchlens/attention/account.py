"""Attention accounting: of every block, how much falls on what, and where on the picture. NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from patchlens.attention.queries import Queries
from patchlens.attention.sinks import SinkRule
from patchlens.axes import CLASSES, LAYER, PositionKind, whole_number
from patchlens.errors import MissingExtraError, SelectionError
from patchlens.pictures.grid import Grid, Places
from patchlens.reading.records import Answer

if TYPE_CHECKING:
    import pandas as pd

MAPS = ("attention", "norms", "relative", "difference")
"""What `Account.patch_map` can lay out."""


@dataclass(frozen=True)
class BlockAccount:
    """What one block's attention falls on at the queries.

    ``c[t, h, p]`` is the term of a source in what the block writes (`BlockTerms`), ``||c||`` its length.

    Attributes:
        block: 0-based number; its output is layer ``block + 1``.
        over: axis of the sources, ``pos`` or ``vision``.
        shares: of the weights, by `CLASSES`: [head, query, class].
        norm_shares: of the lengths ``||c||``, likewise; NaN where all are 0.
        entropy: of the weights, in nats: [head, query].
        mean_position: mean index of the sources, the weights being the probabilities: [head, query]; NaN over
            ``vision``, whose order means nothing.
        write: length of what the attention adds to the residual stream over the length of what was there:
            [query].
        attention: weights, mean over the heads asked for: [query, source].
        norms: ``||c||``, mean over the heads asked for: [query, source].
        head_attention: the weights of each head that was named, in the order named: [named, query, source].
        sink: which sources are sinks: [source].
    """

    block: int
    over: str
    shares: NDArray[np.float32]
    norm_shares: NDArray[np.float32]
    entropy: NDArray[np.float32]
    mean_position: NDArray[np.float32]
    write: NDArray[np.float32]
    attention: NDArray[np.float32]
    norms: NDArray[np.float32]
    head_attention: NDArray[np.float32]
    sink: NDArray[np.bool_]

    @property
    def layer(self) -> int:
        """Number of the layer this block's output is."""
        return self.block + 1


@dataclass(frozen=True)
class Relative:
    """Attention under the question against attention under a generic prompt, same picture, at each patch.

    With ``a`` the weights of a block where the answer starts, mean over heads, ``ratio[p] = a_question[p] /
    a_generic[p]`` (relative attention, Zhang et al. 2025) and ``difference[p] = a_question[p] -
    a_generic[p]``, one array [query, source] per block. NaN on sources that are no patches, and the ratio
    where the generic prompt gives a patch nothing.
    """

    prompt: str
    ratio: tuple[NDArray[np.float32], ...]
    difference: tuple[NDArray[np.float32], ...]


@dataclass(frozen=True)
class TileShare:
    """Share of attention on one tile of a picture: [query]; ``padding`` says that it shows nothing."""

    image: int
    tile: int
    padding: bool
    share: NDArray[np.float32]


@dataclass(frozen=True)
class Account:
    """Where attention goes, block by block, at some queries of one pass.

    A query that stands before every picture does not see it: in cross-attention it has NaN everywhere,
    since the model then lets it attend to all states alike, padding included.

    Attributes:
        model: name of the model.
        prompt: what was asked.
        answer: what it answered.
        queries: whose attention this is.
        heads: those asked for; None for all.
        rule: what counts as a sink.
        blocks: those asked for that ran and attend, in order.
        sources: what stands at each place of the axes ``pos`` and ``vision``.
        grids: one per picture.
        relative: against a generic prompt, where that was asked for.
        notes: what the reader of the figures must know.
    """

    model: str
    prompt: str
    answer: Answer
    queries: Queries
    heads: tuple[int, ...] | None
    rule: SinkRule
    blocks: tuple[BlockAccount, ...] = field(repr=False)
    sources: Mapping[str, Places] = field(repr=False)
    grids: tuple[Grid, ...] = field(repr=False)
    relative: Relative | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers that the blocks put out."""
        return tuple(block.layer for block in self.blocks)

    @property
    def picture_axis(self) -> str | None:
        """Axis on which patches stand, ``pos`` or ``vision``; None without a picture."""
        return next((axis for axis, own in self.sources.items() if patches_of(own).size), None)

    @property
    def looking(self) -> tuple[BlockAccount, ...]:
        """Blocks that attend to what the picture is part of; all without a picture."""
        axis = self.picture_axis
        return tuple(block for block in self.blocks if block.over == axis) or self.blocks

    def at(self, layer: int) -> BlockAccount:
        """The block whose output is a layer.

        Raises:
            SelectionError: it is not in this account.
        """
        return self.blocks[self._row(layer)]

    def share(self, of: str = PositionKind.PATCH) -> NDArray[np.float32]:
        """Share of the weights that falls on a class: [layer, head, query], all heads.

        Raises:
            SelectionError: there is no such class.
        """
        if of not in CLASSES:
            raise SelectionError(f"there is no class {of!r}: choose of {', '.join(CLASSES)}")
        return np.stack([block.shares[..., CLASSES.index(of)] for block in self.blocks])

    def chosen(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mean over the heads asked for: ``values`` [head, ...] become [...]."""
        return (values if self.heads is None else values[list(self.heads)]).mean(0)

    def to_pandas(self, by: str = "head") -> pd.DataFrame:
        """Every figure that is no map, or its means, as columns by name (`patchlens.attention.columns`).

        Args:
            by: "head" (a row per layer, head and query), or what the terminal shows: "layer" (means over
                heads and queries), "query" (means over heads and the layers that can see the picture).

        Raises:
            SelectionError: by something else.
            MissingExtraError: pandas is not installed.
        """
        from patchlens.attention.columns import BY

        if by not in BY:
            raise SelectionError(f"there is no table by {by!r}: choose of {', '.join(BY)}")
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtraError("to_pandas", "pandas", "pandas") from error
        return pd.DataFrame(BY[by](self))

    def patch_map(
        self, layer: int, query: int = 0, *, of: str = "attention", image: int = 0
    ) -> NDArray[np.float32]:
        """One query's map on a picture's patch grid: [rows, cols], NaN where there is no patch.

        Args:
            layer: output of the block.
            query: number of the query, from 0.
            of: ``attention`` or ``norms``, means over the heads asked for; ``relative`` or ``difference``
                to a generic prompt.
            image: number of the picture.

        Raises:
            SelectionError: there is no such layer, query, picture or map.
        """
        axis = self.picture_axis
        if axis is None:
            raise SelectionError("there is no map without a picture: its patches are what a map shows")
        if not 0 <= image < len(self.grids):
            raise SelectionError(f"there is no picture {image}: {len(self.grids)} were given")
        if not 0 <= query < len(self.queries):
            raise SelectionError(f"there is no query {query}: this account has {len(self.queries)}")
        block = self.at(layer)
        if block.over != axis:
            raise SelectionError(f"layer {layer} is no cross-attention block's: it attends to text alone")
        places, grid = self.sources[axis], self.grids[image]
        here = patches_of(places)
        here = here[places.image[here] == image]
        out = np.full((grid.rows, grid.cols), np.nan, np.float32)
        out[places.row[here], places.col[here]] = self.rows(block, of)[query, here]
        return out

    def rows(self, block: BlockAccount, of: str = "attention") -> NDArray[np.float32]:
        """One of `MAPS` of a block: [query, source].

        Raises:
            SelectionError: an unknown name, or no generic prompt was asked for.
        """
        if of not in MAPS:
            raise SelectionError(f"there is no map {of!r}: choose of {', '.join(MAPS)}")
        if of in ("attention", "norms"):
            return block.attention if of == "attention" else block.norms
        if self.relative is None:
            raise SelectionError("there is no relative attention here: ask for it with relative=True")
        own = self.relative.ratio if of == "relative" else self.relative.difference
        return own[self._row(block.layer)]

    def tiles(self, layer: int) -> tuple[TileShare, ...]:
        """Share of the weights on every tile of every picture, mean over the heads asked for.

        Raises:
            SelectionError: the layer is not in this account.
        """
        block = self.at(layer)
        places = self.sources[block.over]
        named = sorted({(int(i), int(t)) for i, t in zip(places.image, places.tile, strict=True) if t >= 0})
        return tuple(
            TileShare(
                image,
                tile,
                tile >= len(self.grids[image].tiles),
                block.attention[:, (places.image == image) & (places.tile == tile)].sum(-1),
            )
            for image, tile in named
        )

    def _row(self, layer: int) -> int:
        if whole_number(layer, LAYER) not in self.layers:
            held = ", ".join(map(str, self.layers))
            raise SelectionError(f"layer {layer} is not in this account: it holds {held}")
        return self.layers.index(layer)


def patches_of(places: Places) -> NDArray[np.intp]:
    """Which rows are patches."""
    return np.flatnonzero(places.kind == PositionKind.PATCH)


def padding_of(places: Places, grids: Sequence[Grid]) -> NDArray[np.bool_]:
    """Which vision states belong to tiles that only fill up: [source]."""
    numbers = np.array([len(grid.tiles) for grid in grids] or [0])
    return (places.tile >= 0) & (places.tile >= numbers[places.image])
