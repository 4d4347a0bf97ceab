"""How interventions are written on the command line, and what stands beside each at random."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
from torch import Tensor

from patchlens.axes import POSITION
from patchlens.causal import (
    Ablate,
    Add,
    Intervention,
    Knockout,
    Patches,
    Project,
    Swap,
    concept_directions,
    patch_numbers,
)
from patchlens.causal.ablate import By
from patchlens.causal.places import GROUPS, Stage
from patchlens.cause.routes import edges, every_edge
from patchlens.errors import SelectionError
from patchlens.models.tokens import find_target
from patchlens.selection import parse_numbers, parse_positions
from patchlens.trace import Trace

_BOX: Final = re.compile(r"(\d+)(?:-(\d+))?x(\d+)(?:-(\d+))?")


@dataclass(frozen=True)
class WrittenChange:
    """An intervention, what it is in words, and one of its sort drawn at random.

    ``is_all`` says that it takes all there is, so that one drawn at random is the same.
    """

    name: str
    own: Intervention = field(repr=False)
    drawn: Callable[[np.random.Generator], Intervention] = field(repr=False)
    is_all: bool = False


def ablation(text: str, stage: Stage, by: By) -> WrittenChange:
    """Read ``PATCHES[@LAYER]``; at random are as many patches of the same picture.

    ``PATCHES`` is ``all``, numbers such as ``0,4-8``, or a box of rows and columns such as ``2-5x3-6``.

    Raises:
        SelectionError: naming the part that is none of these, or not there.
    """
    places, layers = _apart(text, "@")
    numbers, (layer,) = _patches(places, stage), _layers(layers or "0", 1, text)

    def drawn(rng: np.random.Generator) -> Intervention:
        return Ablate(rng.choice(len(stage.patches), len(numbers), replace=False).tolist(), by, layer)

    name = f"{len(numbers)} patches ablated at layer {layer}"
    return WrittenChange(name, Ablate(numbers, by, layer), drawn, len(numbers) == len(stage.patches))


def knocking_out(text: str, stage: Stage) -> WrittenChange:
    """Read ``QUERIES:SOURCES[@BLOCKS]``, groups or positions; at random are as many edges in the same blocks.

    Raises:
        SelectionError: naming the part that is none of these, or not there.
    """
    ends, window = _apart(text, "@")
    queries, sources = _apart(ends, ":")
    if sources is None:
        raise SelectionError(f"{text!r}: expected QUERIES:SOURCES, such as answer:patches@3-5")
    n = stage.adapter.n_layers
    blocks = list(range(n)) if window is None else parse_numbers(window)
    here = parse_positions(queries), parse_positions(sources)
    found = edges(stage, *here)
    every = every_edge(stage)
    if not len(found):
        raise SelectionError(f"{text!r}: no position of {queries} can look at {sources} here")

    def drawn(rng: np.random.Generator) -> Intervention:
        return every.drawn(found, rng).knockout(blocks)

    name = f"attention of {queries} to {sources} knocked out in blocks {_span(blocks)}"
    return WrittenChange(name, Knockout(*here, blocks), drawn)


def projection(text: str, stage: Stage) -> WrittenChange:
    """Read ``WORD[:WHERE][@LAYERS]``; at random is another direction.

    Raises:
        SelectionError, TargetError: naming the part that is not there.
    """
    word, where, layers = _edit(text)
    direction, piece = _direction(word, stage)
    at, name = parse_positions(where), f"{piece} taken out of {where} at layers {_span(layers)}"
    return WrittenChange(
        name,
        Project(direction, at, layers),
        lambda rng: Project(_random_direction(rng, direction), at, layers),
    )


def addition(text: str, stage: Stage) -> WrittenChange:
    """Read ``WORD*STRENGTH[:WHERE][@LAYERS]``: a unit direction times that; at random is another direction.

    Raises:
        SelectionError, TargetError: naming the part that is not there or no number.
    """
    said, where, layers = _edit(text)
    word, strength = _apart(said, "*")
    try:
        factor = float(strength or "")
    except ValueError:
        raise SelectionError(
            f"{text!r}: expected WORD*STRENGTH, such as cat*8; the strength is the length of what is added"
        ) from None
    direction, piece = _direction(word, stage)
    at, name = parse_positions(where), f"{piece} times {factor:g} added to {where} at layers {_span(layers)}"
    return WrittenChange(
        name,
        Add(direction, factor, at, layers),
        lambda rng: Add(_random_direction(rng, direction), factor, at, layers),
    )


def swap(text: str, stage: Stage, source: Trace) -> WrittenChange:
    """Read ``WHERE[@LAYER]``: states from another run; at random are as many places of the same sort.

    Raises:
        SelectionError: naming the part that is not there.
    """
    places, layers = _apart(text, "@")
    (layer,) = _layers(layers or "0", 1, text)
    at = places if places in GROUPS else Patches(_patches(places, stage))
    found = stage.find(at)
    patches = set(stage.patches.tolist())
    rows = found.states or found.positions
    are_states = stage.over != POSITION
    as_patches = bool(found.states) == are_states and set(rows) <= patches

    def drawn(rng: np.random.Generator) -> Intervention:
        n = len(stage.patches) if as_patches else stage.inputs.n_prompt
        chosen = sorted(rng.choice(n, min(n, len(rows)), replace=False).tolist())
        return Swap(source, layer, Patches(chosen) if as_patches else chosen)

    name = f"states of {places} at layer {layer} from the other picture"
    return WrittenChange(name, Swap(source, layer, at), drawn, as_patches and len(rows) == len(patches))


def _apart(text: str, mark: str) -> tuple[str, str | None]:
    before, found, after = text.rpartition(mark)
    return (before, after) if found else (text, None)


def _edit(text: str) -> tuple[str, str, list[int]]:
    rest, layers = _apart(text, "@")
    word, where = _apart(rest, ":")
    return word, where or "patches", _layers(layers or "0", None, text)


def _layers(text: str, most: int | None, whole: str) -> list[int]:
    found = parse_numbers(text)
    if most is not None and len(found) > most:
        raise SelectionError(f"{whole!r}: name one layer, not {len(found)}")
    return found


def _patches(text: str, stage: Stage) -> list[int]:
    if text == "all":
        return list(range(len(stage.patches)))
    box = _BOX.fullmatch(text)
    if box is None:
        return parse_numbers(text)
    numbers = patch_numbers(stage.inputs)
    top, left = int(box[1]), int(box[3])
    chosen = numbers[top : int(box[2] or top) + 1, left : int(box[4] or left) + 1].ravel()
    if not chosen.size or int(box[2] or top) >= len(numbers) or int(box[4] or left) >= numbers.shape[1]:
        raise SelectionError(
            f"the box {text} is not in the picture: it has rows 0-{len(numbers) - 1} and columns "
            f"0-{numbers.shape[1] - 1}"
        )
    return [int(number) for number in chosen if number >= 0]


def _direction(word: str, stage: Stage) -> tuple[Tensor, str]:
    target = find_target(stage.adapter.tokenizer, word)
    return concept_directions(stage.adapter, [target.token]), target.pieces[0]


def _random_direction(rng: np.random.Generator, like: Tensor) -> Tensor:
    drawn = torch.from_numpy(rng.standard_normal(like.shape)).to(like)
    return drawn * (torch.linalg.vector_norm(like) / torch.linalg.vector_norm(drawn))


def _span(numbers: Sequence[int]) -> str:
    whole = len(numbers) > 1 and list(numbers) == list(range(numbers[0], numbers[-1] + 1))
    return f"{numbers[0]}-{numbers[-1]}" if whole else ", ".join(map(str, numbers))
