"""The parts a reading is made of."""

from __future__ import annotations

import math
import platform
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchlens import __version__
from patchlens.pictures.grid import Grid, Places

WORD_START = "▁"
CONTEXTUAL = "contextual"
CHANNELS = ("contribution", "attention", CONTEXTUAL)
"""What `Trace.read` can add to a reading."""


@dataclass(frozen=True)
class Positions(Places):
    """The positions a reading covers: their place, their token, and the answer step they predict.

    ``index`` is the place in the decoder's sequence, ``token`` the id that stands there, ``step`` the
    number of the answer token which this position predicts (0 for the last prompt position), else -1.
    ``generated`` marks positions that hold the model's own answer.
    """

    index: NDArray[np.int32]
    token: NDArray[np.int32]
    step: NDArray[np.int32]
    generated: NDArray[np.bool_]


@dataclass(frozen=True)
class ModelInfo:
    """Which model was read: enough to load the very same one again."""

    name: str
    revision: str | None
    family: str
    dtype: str
    n_layers: int
    d_model: int
    vocab_size: int


@dataclass(frozen=True)
class Answer:
    """The greedy continuation of the prompt; empty ``ids`` when none was asked for."""

    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Target:
    """A word followed through all layers, and the one token that stands for it.

    ``pieces`` is the whole word as the tokenizer cuts it; where there is more than one, ``token`` is only
    the first, so a high score may belong to another word that starts alike.
    """

    word: str
    token: int
    pieces: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether the token spells the whole word."""
        return len(self.pieces) == 1


@dataclass(frozen=True)
class Picture:
    """An input picture as encoded bytes, with the grid of its patches."""

    name: str
    mime: str
    data: bytes = field(repr=False)
    grid: Grid = field(repr=False)


@dataclass(frozen=True)
class Channel:
    """An extra array over named axes (attention, contribution, causal effect); it describes itself."""

    name: str
    axes: tuple[str, ...]
    values: NDArray[Any] = field(repr=False)
    unit: str
    description: str


@dataclass(frozen=True)
class Candidate:
    """One entry of a top-k list; ``logprob`` in nats."""

    rank: int
    token: int
    piece: str
    logprob: float

    @property
    def prob(self) -> float:
        """Probability under the lens."""
        return math.exp(self.logprob)


def package_versions(*packages: str) -> dict[str, str]:
    """Versions of patchlens, which need not be installed, of some packages, and of Python."""
    own = {"patchlens": __version__, **{name: _version(name) for name in packages}}
    return own | {"python": platform.python_version()}


@cache
def _version(package: str) -> str:
    return metadata.version(package)
