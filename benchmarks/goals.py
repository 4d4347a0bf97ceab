"""Hold a scoreboard against the goals of the lenses; first ``patchlens bench --json > scores.json``.

    python benchmarks/goals.py scores.json

Every figure is a mean over the scoreboard's seeds with its 95% interval; a difference or a ratio is taken
seed by seed. A goal counts as reached if the mean does; the interval says how sure that is.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from measure import table
from patchlens.axes import FIT_KINDS
from patchlens.stats.intervals import POSITIVE, SHARE, Range, mean

Lens = Mapping[str, Any]
Row = tuple[str, str, str, str]


def seeds(lens: Lens, metric: str) -> np.ndarray | None:
    """Values ``[layer, seed]`` of a metric, or None if the lens has none."""
    course = [score for score in lens["scores"] if score["metric"] == metric]
    return np.array([score["value"]["seeds"] for score in course], float) if course else None


def headline(lens: Lens, metric: str) -> np.ndarray | None:
    """Values ``[seed]`` of a metric at the layer chosen for it, or None."""
    return next(
        (np.array(s["value"]["seeds"], float) for s in lens["headlines"] if s["metric"] == metric), None
    )


def judged(
    name: str, what: str, goal: str, values: np.ndarray, within: Range, reached: Callable[[float], bool]
) -> Row:
    """A row: the figure with its interval, and whether it is reached."""
    found = mean(values[~np.isnan(values)], within)
    assert found.value is not None
    return name, what, str(found), f"{goal}: {'reached' if reached(found.value) else 'not reached'}"


def tuned_goals(raw: Lens, tuned: Lens) -> Iterator[Row]:
    """How far the tuned lens lowers the KL over the first half of the layers, and its bias."""
    for kind in FIT_KINDS:
        before, after, bias = (
            seeds(raw, f"kl_{kind}"),
            seeds(tuned, f"kl_{kind}"),
            seeds(tuned, f"bias_{kind}"),
        )
        if before is None or after is None or bias is None:
            continue
        half = (len(before) - 1) // 2
        share = 1 - after[:half].mean(0) / before[:half].mean(0)
        what = f"KL on {kind}, first half of the layers: less than raw by"
        yield judged("tuned", what, "at least 0.80", share, Range(high=1.0), lambda mean: mean >= 0.80)
        what = f"bias on {kind}, bits"
        yield judged("tuned", what, "at most 0.05", bias[:-1].mean(0), POSITIVE, lambda mean: mean <= 0.05)


def word_goals(lens: Lens) -> Iterator[Row]:
    """The worst layer for true names and for false ones."""
    readable, false = seeds(lens, "readable_top5"), seeds(lens, "false_top5")
    if readable is None or false is None:
        return
    worst, falsest = readable.mean(1).argmin(), false.mean(1).argmax()
    layers = lens["layers"]
    what = f"readable, top 5, at the worst layer ({layers[worst]})"
    yield judged(lens["lens"], what, "at least 0.80", readable[worst], SHARE, lambda mean: mean >= 0.80)
    what = f"false names, top 5, at the worst layer ({layers[falsest]})"
    yield judged(lens["lens"], what, "at most 0.10", false[falsest], SHARE, lambda mean: mean <= 0.10)


def map_goals(lens: Lens, attention: Lens | None, crosses: bool) -> Iterator[Row]:
    """Maps at the layer chosen for them, and against the best attention."""
    least = (
        {"auroc_all": 0.90, "auroc_others": 0.85} if crosses else {"auroc_all": 0.95, "auroc_others": 0.90}
    )
    for metric, goal in {**least, "pointing": 0.95, "miou": 0.70}.items():
        own = headline(lens, metric)
        if own is not None:
            what = f"{metric} at layer {lens['maps_layer']}"
            yield judged(
                lens["lens"], what, f"at least {goal:.2f}", own, SHARE, lambda mean, goal=goal: mean >= goal
            )
    own, other = (None if x is None else headline(x, "auroc_others") for x in (lens, attention))
    if own is not None and other is not None:
        what = "auroc_others above the best attention"
        yield judged(
            lens["lens"], what, "at least 0.10", own - other, SHARE.of_differences, lambda mean: mean >= 0.10
        )


def goals(model: Mapping[str, Any]) -> list[Row]:
    """All rows of one model."""
    lenses = {lens["lens"]: lens for lens in model["lenses"]}
    rows: list[Row] = []
    if {"logit", "tuned"} <= lenses.keys():
        rows += tuned_goals(lenses["logit"], lenses["tuned"])
    of_words: Sequence[Lens] = [lens for lens in model["lenses"] if seeds(lens, "readable_top5") is not None]
    for lens in of_words:
        rows += word_goals(lens)
    for lens in of_words:
        rows += map_goals(lens, lenses.get("attention"), "cross" in lenses)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scores", type=Path, help="what patchlens bench --json printed")
    board = json.loads(parser.parse_args().scores.read_text(encoding="utf-8"))
    for model in board["models"]:
        print(f"### {model['model']}: {board['data']}\n")
        print(table(("lens", "figure", "mean (95% interval)", "goal"), goals(model)), end="\n\n")


if __name__ == "__main__":
    main()
