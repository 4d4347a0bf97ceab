"""Reading positions of several kinds, each through the lens fitted for its kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields

import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.axes import FIT_KINDS, FitKind
from patchlens.lens.engine.statistics import Statistics
from patchlens.lens.engine.stream import stream_statistics
from patchlens.lens.protocol import KindedLens, Lens, ReadingLens
from patchlens.models.unembed import Unembed


def read_statistics(
    resid: Float[Tensor, "layer pos d_model"],
    final: Float[Tensor, "pos d_model"],
    lens: Lens | KindedLens | ReadingLens,
    unembed: Unembed,
    kinds: Sequence[FitKind],
    *,
    layers: Sequence[int],
    n_layers: int,
    top_k: int,
    target_ids: Sequence[int] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Statistics:
    """Read through a lens, or through the one that a `KindedLens` gives for each of ``kinds`` [pos].

    A `ReadingLens` reads by itself. All other arguments, what is returned and what is raised are those of
    `patchlens.lens.engine.stream.stream_statistics`.
    """
    asked = {"layers": layers, "n_layers": n_layers, "top_k": top_k, "target_ids": target_ids}
    if isinstance(lens, ReadingLens):
        return lens.read(resid, final, unembed, **asked, progress=progress)  # pyright: ignore[reportArgumentType]
    if not isinstance(lens, KindedLens):
        return stream_statistics(resid, final, lens, unembed, **asked, progress=progress)  # pyright: ignore[reportArgumentType]
    result = Statistics.empty(len(layers), len(kinds), top_k, len(target_ids))
    present: list[FitKind] = [kind for kind in FIT_KINDS if kind in kinds]
    for turn, kind in enumerate(present):
        at = torch.tensor([i for i, own in enumerate(kinds) if own == kind])
        place = at.to(resid.device)
        part = stream_statistics(
            resid[:, place],
            final[place],
            lens.for_kind(kind),
            unembed,
            **asked,  # pyright: ignore[reportArgumentType]
            progress=None if progress is None else _turn(progress, turn, len(present)),
        )
        for field in fields(Statistics):
            getattr(result, field.name)[:, at] = getattr(part, field.name)
    return result


def _turn(progress: Callable[[int, int], None], turn: int, turns: int) -> Callable[[int, int], None]:
    return lambda done, total: progress(turn * total + done, turns * total)
