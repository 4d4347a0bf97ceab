"""Ways on which what a picture shows can get to the answer, and as many edges of attention at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from patchlens.attention.account import padding_of
from patchlens.causal import KnockoutEdges, Patches
from patchlens.causal.places import Stage, Where
from patchlens.causal.protocol import Intervention
from patchlens.pictures.grid import boxes_of
from patchlens.scenes.truth import Labelled, patch_truth
from patchlens.scenes.vocabulary import CONCEPTS, names

Route = Literal["image → answer", "image → text", "text → answer", "thing → answer"]
ENDS: Final[dict[Route, tuple[str, str]]] = {
    "image → answer": ("answer", "image"),
    "image → text": ("text", "image"),
    "text → answer": ("answer", "text"),
}
"""Groups of positions that may not look, and what they may not look at."""
THING: Final[Route] = "thing → answer"
ROUTES: Final[tuple[Route, ...]] = (*ENDS, THING)
LEAST_WIDTH: Final = 4


@dataclass(frozen=True)
class Window:
    """Neighbouring blocks (0-based) around a centre, cut off where the model ends; no centre means all."""

    blocks: range
    centre: int | None

    def __str__(self) -> str:
        if self.centre is None:
            return "all blocks"
        first, last = self.blocks[0], self.blocks[-1]
        return f"block {first}" if first == last else f"blocks {first}-{last}"


def windows(n_blocks: int, width: int) -> list[Window]:
    """A window around every block, and all blocks together."""
    made: list[Window] = []
    for centre in range(n_blocks):
        first = centre - (width - 1) // 2
        made.append(Window(range(max(0, first), min(n_blocks, first + width)), centre))
    return [*made, Window(range(n_blocks), None)]


def usual_width(n_blocks: int) -> int:
    """About a fifth of the depth (as in Geva et al. 2023: 9 of 48 blocks), but `LEAST_WIDTH` at least.

    In narrower windows of a small model the other blocks mostly make up for what is knocked out: so it was on
    validation scenes with the bundled models.
    """
    return min(n_blocks, max(LEAST_WIDTH, round(n_blocks / 5)))


@dataclass(frozen=True)
class Edges:
    """Edges ``[edge, 2]`` (query, source): ``within`` the sequence, and to ``vision`` states."""

    within: NDArray[np.int64]
    vision: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.within) + len(self.vision)

    def knockout(self, blocks: Sequence[int]) -> Intervention:
        """All of them."""
        return KnockoutEdges(self.within, self.vision, blocks)

    def drawn(self, like: Edges, rng: np.random.Generator) -> Edges:
        """As many of either sort as another set has, of these, drawn without replacement."""
        return Edges(_drawn(self.within, len(like.within), rng), _drawn(self.vision, len(like.vision), rng))


def edges(stage: Stage, queries: Where, sources: Where) -> Edges:
    """Every edge from some positions to some sources by which the answer can be reached.

    Left out are sources after their query, tiles that are not there, positions that see no picture, and the
    last position, which predicts nothing that is measured.
    """
    inputs, looking, seen = stage.inputs, stage.find(queries), stage.find(sources)
    end = max(len(inputs) - 1, inputs.n_prompt)
    rows = np.array([row for row in looking.positions if row < end], np.int64)
    within = _pairs(rows, np.array(seen.positions, np.int64))
    states = np.array(seen.states, np.int64)
    if len(states):
        states = states[~padding_of(inputs.shown, inputs.grids)[states]]
        rows = rows[stage.adapter.sees(inputs)[rows]]
    return Edges(within[within[:, 1] <= within[:, 0]], _pairs(rows, states))


def every_edge(stage: Stage) -> Edges:
    """Every edge of a pass, as far as the answer is measured."""
    within = edges(stage, "all", "all").within
    return Edges(within, edges(stage, "all", "image").vision)


def thing_patches(stage: Stage, truth: Labelled | None) -> tuple[int, ...]:
    """Numbers of the patches that the thing the answer is about covers by half or more.

    It is the only thing, or the one of whose name or trait the true answer is a form; none if that is not so.
    """
    if truth is None or len(stage.inputs.grids) != 1:
        return ()
    asked = [thing for thing in truth.things if _names(thing.keys, truth.answer)]
    chosen = truth.things if len(truth.things) == 1 else asked
    if len(chosen) != 1:
        return ()
    boxes = boxes_of(stage.inputs.patch_places, stage.inputs.grids)
    return tuple(np.flatnonzero(patch_truth(chosen, (), boxes).covered[0]).tolist())


def with_controls(stage: Stage, route: Route, thing: Sequence[int], draws: int, seed: int) -> list[Edges]:
    """The edges of a route, then those of its controls; empty if there is no such route here.

    The control of the thing's patches are as many other patches, that of any other route as many edges, of
    all there are.
    """
    rng = np.random.default_rng([seed, ROUTES.index(route)])
    if route != THING:
        every, own = every_edge(stage), edges(stage, *ENDS[route])
        return [own, *(every.drawn(own, rng) for _ in range(draws))]
    others = np.setdiff1d(np.arange(len(stage.patches)), thing)
    if not thing or len(others) < len(thing):
        return []
    drawn = [rng.choice(others, len(thing), replace=False).tolist() for _ in range(draws)]
    return [edges(stage, "answer", Patches(numbers)) for numbers in (thing, *drawn)]


def _pairs(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)


def _drawn(rows: NDArray[np.int64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return rows[rng.choice(len(rows), n, replace=False)] if n else rows[:0]


def _names(keys: Sequence[str], word: str) -> bool:
    return any(word in names(key) for key in keys if key in CONCEPTS)
