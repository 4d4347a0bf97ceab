"""Does a tuned lens help at image positions? Affine against ridge, fitted on text, on patches, on both.

All six lenses are fitted on as many positions of the same scenes and read the patches of ``demo``. "Text" is
every position that shows no picture, the answer's included; "both" is half of each. "Ridge" is the closed
form, "affine" goes on from there by gradient and stops on validation scenes of its own kind of position. They
are scored as ``patchlens bench`` scores any lens, on scenes that no fit and no choice has seen. ``--quick``
shrinks everything to seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import patchlens as pl
from measure import table
from patchlens.bench.board import LensScores, Score
from patchlens.bench.exam import drawn_exam
from patchlens.bench.examine import Examinee
from patchlens.bench.scoreboard import score_lenses
from patchlens.bench.wording import NAMES
from patchlens.data.read import read_items
from patchlens.fit.closed_form import ClosedForm
from patchlens.fit.gather import Gathered, gather
from patchlens.fit.gradient import refine
from patchlens.fit.states import Keep, StateBatch
from patchlens.lens.tuned import TunedLens
from patchlens.models.adapter import Adapter

SOURCES = {"text": ("text", "answer"), "patches": ("patch",), "both": ("text", "answer", "patch")}
FIGURES = ("kl_patch", "readable_top5", "false_top5", "net_top5", "auroc_others", "miou")
PATCHES = 40


def states(gathered: Gathered) -> dict[str, dict[str, StateBatch]]:
    """States of train and validation scenes by source, as many positions from each, all called patches."""
    found: dict[str, dict[str, StateBatch]] = {}
    draw = torch.Generator().manual_seed(0)
    for side in ("train", "validation"):
        batches = list(gathered.batches(side))
        resid = torch.cat([batch.resid for batch in batches], 1)
        seen = torch.tensor([kind == "patch" for batch in batches for kind in batch.kinds])
        text, patches = ((seen == own).nonzero().squeeze(1) for own in (False, True))
        count = 2 * (min(len(text), len(patches)) // 2)
        text, patches = (rows[torch.randperm(len(rows), generator=draw)[:count]] for rows in (text, patches))
        rows = {
            "text": text,
            "patches": patches,
            "both": torch.cat([text[: count // 2], patches[: count // 2]]),
        }
        found[side] = {
            name: StateBatch(resid[:, at], resid[-1, at], ("patch",) * count) for name, at in rows.items()
        }
    return found


def fitted(adapter: Adapter, gathered: Gathered) -> dict[str, TunedLens]:
    """The six lenses, by name."""
    own, lenses = states(gathered), dict[str, TunedLens]()
    for source in SOURCES:
        train, validation = own["train"][source], own["validation"][source]
        closed = ClosedForm(adapter.n_layers, adapter.d_model, adapter.unembed)
        closed.add(train.resid, train.final, train.kinds)
        ridge = closed.solve()
        affine = refine(ridge, lambda t=train: [t], lambda v=validation: [v], adapter.unembed)
        lenses |= {f"ridge, {source}": ridge, f"affine, {source}": affine}
        print(f"fitted on {len(train.kinds)} positions of {source}", flush=True)
    return lenses


def cell(score: Score | None) -> str:
    """A figure with its interval, marked where a null is not beaten."""
    assert score is not None
    return f"{score.value}{'' if score.cleared else ' ✗'}"


def headlines(scores: Mapping[str, LensScores]) -> str:
    """A row per lens: what the scoreboard says of it on patches."""
    rows = [
        (name, str(own.words_layer), str(own.maps_layer), *(cell(own.headline(metric)) for metric in FIGURES))
        for name, own in scores.items()
    ]
    names = (NAMES[metric] for metric in FIGURES)
    return table(("lens, fitted on", "words at layer", "maps at layer", *names), rows)


def by_layer(scores: Mapping[str, LensScores], metric: str) -> str:
    """A row per lens: one figure at every layer."""
    layers = next(iter(scores.values())).layers
    rows = [
        (name, *(f"{score.value.mean:.3f}" for score in own.course(metric))) for name, own in scores.items()
    ]
    return table((f"{NAMES[metric]}, at layer", *map(str, layers)), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few scenes")
    parser.add_argument("--fit-scenes", type=int, default=2000, help="scenes to fit on")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scenes", type=int, default=20, help="scenes per seed to report on")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    wanted = (options.fit_scenes, options.seeds, options.scenes)
    fit_scenes, seeds, scenes = (30, 2, 3) if options.quick else wanted
    model = pl.load("demo")
    with TemporaryDirectory() as folder:
        gathered = gather(
            model,
            read_items(f"scenes:{fit_scenes}"),
            Path(folder) / "work",
            Keep(patches=PATCHES),
            {},
            needed=(),
            held_out=0.02,
            validation=True,
            max_new_tokens=20,
            disk_gb=20,
            progress=lambda *_: None,
        )
        lenses = {"none: the logit lens": pl.LogitLens(), **fitted(model.adapter, gathered)}
    exam = drawn_exam(seeds, scenes)
    scored = score_lenses(Examinee.of(model, exam), lenses, exam, lambda: None)
    scores = {own.lens: own for own in scored}
    print(f"\n{fit_scenes} scenes to fit on; {exam.about}\n\n{headlines(scores)}")
    for metric in ("kl_patch", "net_top5", "readable_top5", "false_top5"):
        print(f"\n{by_layer(scores, metric)}")


if __name__ == "__main__":
    main()
