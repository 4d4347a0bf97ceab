"""From captured states to a Reading: what a lens says, with every token as people should see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from patchlens.axes import FitKind, fit_kind
from patchlens.capture import Captured
from patchlens.lens.engine.statistics import Statistics
from patchlens.lens.lens import Lens
from patchlens.models.adapter import Adapter
from patchlens.models.inputs import Inputs
from patchlens.models.positions import positions_of
from patchlens.models.tokens import find_target, piece_table
from patchlens.pictures.open import OpenedPicture
from patchlens.progress import Progress
from patchlens.reading.reading import Reading
from patchlens.reading.records import (
    Answer,
    ModelInfo,
    Picture,
    Positions,
    Target,
    package_versions,
)


@dataclass(frozen=True)
class Pass:
    """One forward pass of a model on pictures and a prompt, its answer, and what to know about it."""

    adapter: Adapter
    inputs: Inputs
    captured: Captured
    pictures: tuple[OpenedPicture, ...]
    answer: Answer
    notes: tuple[str, ...] = ()

    @property
    def positions(self) -> Positions:
        """The positions whose states were kept."""
        return positions_of(self.inputs, self.captured.positions, len(self.answer.ids))

    @property
    def fit_kinds(self) -> list[FitKind]:
        """Kind of each kept position, as a lens fitted by kind tells them apart."""
        positions = self.positions
        return [fit_kind(kind, step) for kind, step in zip(positions.kind, positions.step, strict=True)]


def read_pass(
    ran: Pass,
    lens: Lens,
    *,
    top_k: int,
    targets: Sequence[str | int],
    progress: Progress | None,
) -> Reading:
    """Read every kept layer and position of a pass through a lens; arguments as `Trace.read` has them."""
    adapter, captured = ran.adapter, ran.captured
    found = tuple(find_target(adapter.tokenizer, word) for word in targets)
    positions = ran.positions
    statistics = lens.read(
        captured.resid,
        captured.final,
        adapter.unembed,
        ran.fit_kinds,
        layers=captured.layers,
        n_layers=adapter.n_layers,
        top_k=top_k,
        target_ids=[target.token for target in found],
        progress=None if progress is None else lambda done, total: progress("lens", done, total),
    )
    columns = _arrays(statistics)
    ids = {t.token for t in found}.union(
        np.unique(columns["top_ids"]).tolist(), ran.answer.ids, positions.token.tolist()
    )
    return Reading(
        model=_model_info(adapter),
        lens=lens.name,
        lens_params=dict(lens.params()),
        prompt=ran.inputs.prompt,
        answer=ran.answer,
        layers=np.array(captured.layers, np.int32),
        positions=positions,
        pieces=piece_table(adapter.tokenizer, ids),
        targets=found,
        pictures=tuple(
            Picture(picture.name, picture.mime, picture.data, grid)
            for picture, grid in zip(ran.pictures, ran.inputs.grids, strict=True)
        ),
        vision=ran.inputs.vision_places,
        channels=lens.channels(captured.resid, statistics),
        notes=(*ran.notes, *lens.notes(), *(_stand_in(target) for target in found if not target.is_whole)),
        versions=package_versions("torch", "transformers"),
        **columns,
    )


def _stand_in(target: Target) -> str:
    pieces = " ".join(target.pieces)
    return (
        f"target {target.word!r} is {len(target.pieces)} tokens ({pieces}): the first stands for it, so its "
        "score may belong to another word that starts alike"
    )


def _arrays(statistics: Statistics) -> dict[str, Any]:
    integers = {"top_ids", "target_ranks", "target_ranks_upper"}
    return {
        f.name: getattr(statistics, f.name)
        .cpu()
        .numpy()
        .astype(np.int32 if f.name in integers else np.float32)
        for f in fields(statistics)
    }


def _model_info(adapter: Adapter) -> ModelInfo:
    return ModelInfo(
        adapter.name,
        adapter.revision,
        adapter.family,
        str(adapter.dtype).removeprefix("torch."),
        adapter.n_layers,
        adapter.d_model,
        adapter.vocab_size,
    )
