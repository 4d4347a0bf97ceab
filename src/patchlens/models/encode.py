"""What a prompt and its pictures become: tensors for the model and a place for every position."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from patchlens.axes import PositionKind
from patchlens.pictures.grid import Grid, Places, joined, part, plain_places


@dataclass(frozen=True)
class Inputs:
    """One prompt ready for the model.

    ``tensors`` are the forward's keyword arguments (batch of 1, on the model's device), ``ids`` the token
    ids of the sequence with every image marker expanded, ``places`` one row per id. ``grids`` holds one
    grid per picture, ``vision_places`` one row per vision state of a cross-attention model. Positions from
    ``n_prompt`` on hold the answer given. ``text`` is what was tokenized, ``prompt`` what was asked.
    """

    tensors: dict[str, Tensor]
    ids: NDArray[np.int32]
    places: Places
    grids: tuple[Grid, ...]
    vision_places: Places | None
    prompt: str
    text: str
    n_prompt: int
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def shown(self) -> Places:
        """Places where patches stand: of the vision states if there are any, else of the sequence."""
        return self.places if self.vision_places is None else self.vision_places

    @property
    def patches(self) -> NDArray[np.intp]:
        """Row of each patch in `shown`: [patch]."""
        return np.flatnonzero(self.shown.kind == PositionKind.PATCH)

    @property
    def patch_places(self) -> Places:
        """Places of the patches alone, in that order."""
        return part(self.shown, self.patches)


def likeness(inputs: Inputs) -> Hashable:
    """What inputs must have in common to go through a model as rows of one batch: every tensor's shape."""
    return inputs.n_prompt, tuple((name, tuple(t.shape)) for name, t in sorted(inputs.tensors.items()))


@dataclass(frozen=True)
class ProcessedPictures:
    """What a family's image processor makes of the pictures.

    ``runs`` holds, per picture, the places of the positions its marker expands to.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    grids: tuple[Grid, ...] = ()
    runs: tuple[Places, ...] = ()
    vision_places: Places | None = None


def expanded(
    ids: Sequence[int],
    runs: Sequence[Places],
    *,
    image_token: int | None,
    separators: frozenset[int],
    special: frozenset[int],
) -> tuple[list[int], Places]:
    """Repeat each image token once per position of its picture, and give every position its place.

    ``separators`` are tokens that belong to a picture without showing any of it.
    """
    pictures = iter(enumerate(runs))
    out: list[int] = []
    parts: list[Places] = []
    for token in ids:
        if token == image_token:
            _, run = next(pictures)
            out += [token] * len(run)
            parts.append(run)
            continue
        out.append(token)
        kind = PositionKind.SPECIAL if token in special else PositionKind.TEXT
        parts.append(plain_places([PositionKind.IMAGE_OTHER if token in separators else kind]))
    return out, joined(parts)
