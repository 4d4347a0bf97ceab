"""Where a lens points for a word: its map over patches, those that stand out of it, and those around."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patchlens.bench.labels import ConceptIds, first_pieces
from patchlens.bench.probe import Taken, look, shot_for
from patchlens.capture import capture
from patchlens.errors import SelectionError
from patchlens.lens import Lens
from patchlens.models.adapter import Adapter
from patchlens.models.inputs import Inputs
from patchlens.models.tokens import piece_table
from patchlens.pictures.grid import Places

Numbers = NDArray[np.int64]
"""Numbers of patches, as `patchlens.causal.patch_numbers` counts them."""


@dataclass(frozen=True)
class Word:
    """The word of an answer that a lens is asked for: the tokens that count as it, and what they are."""

    ids: frozenset[int]
    told: str


def answer_word(
    adapter: Adapter, answer: Sequence[int], concepts: ConceptIds | None, named: str | None = None
) -> Word:
    """The word that stands for an answer.

    Args:
        adapter: the model.
        answer: token ids of its answer, at least one.
        concepts: words whose other forms are known; where the answer's first token names exactly one of them,
            every form of it counts.
        named: a word to take instead; its first token counts, after a space or bare.

    Returns:
        Else the answer's first token that has a letter or digit in it (of no such, the first).

    Raises:
        SelectionError: the tokenizer makes no token of ``named``.
    """
    if named is not None:
        ids = first_pieces(adapter.tokenizer, [named])
        if not named.strip() or not ids:
            raise SelectionError(f"there is no token of the word {named!r}: name one, such as --word cat")
        return Word(ids, f"the word {named}")
    pieces = piece_table(adapter.tokenizer, answer)
    token = next((one for one in answer if any(map(str.isalnum, pieces[one]))), answer[0])
    keys = [] if concepts is None else [key for key in concepts.keys if token in concepts.ids[key]]
    if concepts is not None and len(keys) == 1:
        return Word(concepts.ids[keys[0]], f"every form of {keys[0]}")
    return Word(frozenset([token]), f"the token {pieces[token]}")


@dataclass(frozen=True)
class LensMaps:
    """Log-probability of a word under a lens, ``[layer, patch]``, nats; patches in order of their numbers."""

    layers: tuple[int, ...]
    values: NDArray[np.float64]

    def at(self, layer: int) -> NDArray[np.float64]:
        """The map of a layer, ``[patch]``.

        Raises:
            SelectionError: the lens does not read that layer.
        """
        if layer not in self.layers:
            held = ", ".join(map(str, self.layers))
            raise SelectionError(f"the lens reads no patches at layer {layer}: choose of {held}")
        return self.values[self.layers.index(layer)]


def lens_maps(
    lens: Lens, adapter: Adapter, inputs: Inputs, word: Word, layers: Iterable[int] | None = None
) -> LensMaps:
    """Read a word on every patch of a prompt, in one pass of the model.

    Args:
        lens: any; one that compares states gives the log-probabilities of its own scores.
        adapter: the model.
        inputs: the prompt with its pictures.
        word: its tokens' probabilities are added up.
        layers: 0 to ``n_layers``, negative from the end; None for all that the lens reads.

    Raises:
        SelectionError: the lens is not for this model, sees no patches there, or there is no such layer.
    """
    taken = Taken(inputs, capture(adapter, inputs, layers=layers))
    shot = shot_for(lens, adapter, taken)
    if not len(shot.boxes):
        raise SelectionError(
            f"the lens {lens.name} reads no patches of {adapter.name} here: "
            + ("choose --lens cross" if adapter.cross_blocks else "give a picture")
        )
    seen = look(shot, lens, adapter, ConceptIds({"word": word.ids}, ("word",)), ("word",))
    return LensMaps(shot.layers, seen.concepts[..., 0].astype(np.float64))


@dataclass(frozen=True)
class Above:
    """Patches where the word has at least ``share`` of the probability that it has at its best patch."""

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise SelectionError(f"a share of the map's maximum is over 0 and at most 1, got {self.share}")

    def chosen(self, scores: NDArray[np.float64]) -> Numbers:
        """Numbers of the patches, of log-probabilities ``[patch]``; the best is always among them."""
        return np.flatnonzero(scores >= scores.max() + np.log(self.share))

    def __str__(self) -> str:
        return f"at least {self.share:g} of the map's highest probability"


@dataclass(frozen=True)
class Top:
    """A share of all patches, the highest of the map; at least one."""

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise SelectionError(f"a share of the patches is over 0 and under 1, got {self.share}")

    def chosen(self, scores: NDArray[np.float64]) -> Numbers:
        """Numbers of the patches; of equal ones the first."""
        count = max(1, round(self.share * len(scores)))
        return np.sort(np.argsort(-scores, kind="stable")[:count])

    def __str__(self) -> str:
        return f"the highest values of the map, {self.share:g} of all"


Pointing = Above | Top
"""How many patches of a map a lens is said to point at."""


def patch_grid(places: Places) -> NDArray[np.int64]:
    """Picture, row and column of every place, ``[patch, 3]``."""
    return np.stack([places.image, places.row, places.col], 1).astype(np.int64)


def around(grid: NDArray[np.int64], chosen: Numbers, rng: np.random.Generator) -> Numbers:
    """The patches nearest to some, as many as these, or all that are left if they are fewer.

    Args:
        grid: `patch_grid`.
        chosen: which the ring is to lie around.
        rng: draws among those that are equally near.

    Returns:
        Numbers, rising. Nearness is by rows or columns, whichever differ more, within a picture; patches of
        pictures in which none was chosen come last.
    """
    steps = np.abs(grid[:, None, 1:] - grid[None, chosen, 1:]).max(2).astype(np.float64)
    steps[grid[:, None, 0] != grid[None, chosen, 0]] = np.inf
    distance = steps.min(1)
    others = np.setdiff1d(np.arange(len(grid)), chosen)
    shuffled = rng.permutation(others)
    return np.sort(shuffled[np.argsort(distance[shuffled], kind="stable")][: len(chosen)])


@dataclass(frozen=True)
class Block:
    """The patches around one, itself included; ``centre`` and ``patches`` are numbers."""

    centre: int
    patches: Numbers


def blocks(grid: NDArray[np.int64], side: int, step: int = 1) -> list[Block]:
    """Blocks of ``side`` x ``side`` patches around every ``step``-th patch across and down, cut at the edges.

    With a side over the step they overlap, as the windows of occlusion maps do (Zeiler & Fergus 2014).

    Args:
        grid: `patch_grid`.
        side: patches across; of an even number the block reaches one further down and right.
        step: from one centre to the next.

    Raises:
        SelectionError: either is under 1, or there is no patch where a centre should be.
    """
    if side < 1 or step < 1:
        raise SelectionError(f"blocks are 1 patch wide or more, and as far apart: got {side} and {step}")
    on = (grid[:, 1:] % step == step // 2).all(1)
    centres = np.flatnonzero(on)
    if not centres.size:
        raise SelectionError(f"with a step of {step} no block fits the picture: choose a smaller one")
    low, high = (side - 1) // 2, side // 2
    made: list[Block] = []
    for centre in centres.tolist():
        away = grid[:, 1:] - grid[centre, 1:]
        near = ((away >= -low) & (away <= high)).all(1) & (grid[:, 0] == grid[centre, 0])
        made.append(Block(centre, np.flatnonzero(near)))
    return made
