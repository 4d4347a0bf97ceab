"""A picture with its content taken away or exchanged, at its own size."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchlens.bench.null_lenses import GREY

Kind = Literal["faint noise", "grey", "black", "noise", "scrambled", "other picture"]
CONTROL: Final[Kind] = "faint noise"
"""The same picture with noise that a person hardly sees: what any change of pixels does."""
SCRAMBLED: Final[Kind] = "scrambled"
OTHER: Final[Kind] = "other picture"
KINDS: Final[tuple[Kind, ...]] = ("grey", "black", "noise", OTHER, SCRAMBLED)
FAINT: Final = 2.0
"""Standard deviation of the faint noise, in levels of 255."""
TILES: Final = 10
"""A scrambled picture's tiles are as long as this part of its shorter side."""
BLANK: Final = 2.0
"""A picture is blank where no colour varies by more than this standard deviation, in levels of 255."""

Pixels = NDArray[np.uint8]


def is_blank(picture: Pixels) -> bool:
    """Whether a picture [height, width, 3] shows nothing, so that taking its content away is no test."""
    return bool((picture.reshape(-1, 3).std(0) <= BLANK).all())


def replaced(picture: Pixels, kind: Kind, rng: np.random.Generator, other: Pixels) -> Pixels:
    """A picture of the same size in the place of another.

    Args:
        picture: ``[height, width, 3]``.
        kind: ``grey`` (half of white), ``black``, ``noise`` (each value drawn evenly), ``scrambled`` (its
            own square tiles in another order; a rim that holds no whole tile stays), ``other picture``
            (scaled), or the control ``faint noise``.
        rng: of what is drawn.
        other: the other picture.
    """
    if kind == "grey":
        return np.full_like(picture, GREY)
    if kind == "black":
        return np.zeros_like(picture)
    if kind == "noise":
        return rng.integers(0, 256, picture.shape, np.uint8)
    if kind == "scrambled":
        return _scrambled(picture, rng)
    if kind == "other picture":
        height, width = picture.shape[:2]
        scaled = Image.fromarray(other).resize((width, height), Image.Resampling.BICUBIC)
        return np.asarray(scaled)
    noisy = picture + rng.normal(0, FAINT, picture.shape)
    return np.rint(noisy).clip(0, 255).astype(np.uint8)


def _scrambled(picture: Pixels, rng: np.random.Generator) -> Pixels:
    height, width = picture.shape[:2]
    side = max(1, min(height, width) // TILES)
    down, across = height // side, width // side
    whole = picture[: down * side, : across * side]
    tiles = whole.reshape(down, side, across, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    tiles = rng.permutation(tiles).reshape(down, across, side, side, 3)
    made = picture.copy()
    made[: down * side, : across * side] = tiles.swapaxes(1, 2).reshape(whole.shape)
    return made
