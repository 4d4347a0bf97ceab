"""``patchlens bench``: load the models, find the lenses, score them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from patchlens.bench.board import INTERVAL, Board, ModelScores
from patchlens.bench.exam import Exam
from patchlens.bench.readout import ask_known, states_for
from patchlens.bench.scoreboard import score_model
from patchlens.demo import bundled_lenses
from patchlens.errors import PatchlensError, SelectionError
from patchlens.lens import Lens
from patchlens.lens.open import UNFITTED, open_lens
from patchlens.progress import Progress
from patchlens.reading.records import package_versions
from patchlens.run import Model, load

RAW: Final = "logit"
"""The lens that every other is seen beside."""


def compare(
    models: Sequence[str],
    wanted: Sequence[str],
    exam: Exam,
    *,
    load_options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Board:
    """Score lenses on models.

    Args:
        models: bundled names, folders or hub ids.
        wanted: names or files of lenses; empty for all that need no fit and all that come with a model. The
            logit lens is always among them.
        exam: pictures with truth.
        load_options: passed to `patchlens.run.load`.
        progress: called with what is being done, how much is done, and of how much.

    Raises:
        SelectionError: a lens was named that none of the models can be read with.
        PatchlensError: a model cannot be loaded, or cannot take a picture.
    """
    labels = _labels(wanted)
    loaded = [load(name, **(load_options or {})) for name in dict.fromkeys(models)]
    found = [_lenses(model, labels, exam) for model in loaded]
    for name in labels:
        if not any(name in lenses for lenses, _ in found):
            raise SelectionError("; ".join(dict.fromkeys(left_out[name] for _, left_out in found)))
    scored: list[ModelScores] = []
    for model, (lenses, left_out) in zip(loaded, found, strict=True):
        own = score_model(model, lenses, exam, progress)
        scored.append(replace(own, left_out={**left_out, **own.left_out}))
    return Board(
        exam.about, _parameters(exam), tuple(scored), package_versions("torch", "transformers", "numpy")
    )


def _labels(wanted: Sequence[str]) -> dict[str, str]:
    """What is asked for, by what stands in the table: a file's own name, unless another is called so too."""
    names = tuple(dict.fromkeys(wanted))
    own = [Path(name).name for name in names]
    return {label if own.count(label) == 1 else name: name for label, name in zip(own, names, strict=True)}


def _lenses(model: Model, wanted: Mapping[str, str], exam: Exam) -> tuple[dict[str, Lens], dict[str, str]]:
    """Lenses by label, each tried on one picture, and why others cannot read this model."""
    trace = ask_known(model, exam.validation.pictures[0]())
    every = {name: name for name in (*UNFITTED, *bundled_lenses(model.name))}
    names = {RAW: RAW, **(wanted or every)}
    found: dict[str, Lens] = {}
    left_out: dict[str, str] = {}
    for label, name in names.items():
        try:
            lens = open_lens(name, model.adapter)
            states_for(lens, trace)
            found[label] = lens
        except PatchlensError as error:
            left_out[label] = str(error)
    return found, left_out


def _parameters(exam: Exam) -> dict[str, Any]:
    return {
        "interval": INTERVAL,
        "validation_seed": exam.validation.seed,
        "validation_pictures": len(exam.validation.pictures),
        "seeds": [batch.seed for batch in exam.seeds],
        "pictures_per_seed": [len(batch.pictures) for batch in exam.seeds],
    }
