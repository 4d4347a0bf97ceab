"""Look at every item before any work is done: can it be read, which picture is it, how long will it be."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from patchlens.axes import PositionKind
from patchlens.data.item import Item, pixel_digest
from patchlens.errors import naming
from patchlens.run import Model


@dataclass(frozen=True)
class Surveyed:
    """``pictures`` are digests of an item's pictures, or of its text; of its positions some are patches."""

    pictures: tuple[str, ...]
    positions: int
    patches: int


def survey(model: Model, items: Sequence[Item], progress: Callable[[int, int], None]) -> tuple[Surveyed, ...]:
    """Open and encode every item once, so that what is wrong with one shows before the model runs.

    Raises:
        ImageError, PromptError: an item cannot be read by this model; says which.
    """
    found: list[Surveyed] = []
    for done, item in enumerate(items):
        progress(done, len(items))
        pictures = item.open()
        with naming(item.name):
            _, inputs = model.prepare(pictures, item.prompt)
        keys = tuple(pixel_digest(picture) for picture in pictures) or (_sha256(item.prompt.encode()),)
        patches = int((inputs.places.kind == PositionKind.PATCH).sum())
        found.append(Surveyed(keys, len(inputs), patches))
    progress(len(items), len(items))
    return tuple(found)


def data_digest(items: Sequence[Item], surveyed: Sequence[Surveyed]) -> str:
    """Name of all prompts and pixels in their order."""
    whole = [f"{item.prompt}\0{' '.join(seen.pictures)}" for item, seen in zip(items, surveyed, strict=True)]
    return _sha256("\0\0".join(whole).encode())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
