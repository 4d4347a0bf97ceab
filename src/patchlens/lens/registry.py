"""Lenses by the name or file that a person gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from patchlens.demo import bundled_lenses
from patchlens.errors import SelectionError
from patchlens.lens import CrossLens, KindedLens, Lens, LogitLens, ReadingLens, VisionLens
from patchlens.lens.embedding import EmbeddingLens
from patchlens.lens.files import open_lens
from patchlens.models.adapter import Adapter
from patchlens.reading.seal import SUFFIX

LENSES: dict[str, Callable[[Adapter], Lens | ReadingLens | VisionLens]] = {
    "logit": lambda _: LogitLens(),
    "cross": lambda _: CrossLens(),
    "embedding": EmbeddingLens.of,
}
"""Lenses that need no fit."""
FITTED = ("tuned", "jacobian", "latent")
"""Lenses that ``patchlens fit`` makes; the bundled models come with some."""


def is_lens(name: str) -> bool:
    """Whether some model may have a lens of that name, or it is the name of a file."""
    return name in LENSES or name in FITTED or name.endswith(SUFFIX)


def find_lens(name: str, adapter: Adapter) -> Lens | KindedLens | ReadingLens | VisionLens:
    """The lens of a name, or of a file that ``patchlens fit`` wrote.

    Args:
        name: one that needs no fit, the name of a lens that comes with a bundled model, or a path that ends
            in ``.safetensors``.
        adapter: the model it shall read.

    Raises:
        SelectionError: there is none of that name for this model.
        FormatError: the file is no lens.
        LensError: it was fitted for another model.
    """
    if name in LENSES:
        return LENSES[name](adapter)
    bundled = bundled_lenses(adapter.name)
    if name in bundled:
        return open_lens(bundled[name], adapter.unembed)
    if name.endswith(SUFFIX):
        return open_lens(Path(name).expanduser(), adapter.unembed)
    if name in FITTED:
        raise SelectionError(
            f"no {name} lens comes with {adapter.name}: fit one with patchlens fit {name} --model "
            f"{adapter.name} --data FOLDER --out LENS{SUFFIX}, then give that file as the lens"
        )
    known = ", ".join([*LENSES, *FITTED])
    raise SelectionError(f"there is no lens {name!r}: choose {known}, or a file that ends in {SUFFIX}")
