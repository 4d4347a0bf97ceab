"""How a figure is written for people: with its interval, beside the null that is hardest to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from patchlens.bench.board import LensScores, Score
from patchlens.bench.score import METRICS, Metric

NAMES: Final = {
    "readable_top5": "readable, top 5",
    "readable_top1": "readable, top 1",
    "false_top5": "false names, top 5",
    "false_top1": "false names, top 1",
    "net_top5": "readable less false",
    "auroc_all": "AUROC, all patches",
    "auroc_others": "AUROC, other things",
    "pointing": "pointing game",
    "miou": "mIoU",
    "kl_text": "KL on text, nats",
    "kl_patch": "KL on patches, nats",
    "kl_answer": "KL on answer, nats",
    "bias_text": "bias on text, bits",
    "bias_patch": "bias on patches, bits",
    "bias_answer": "bias on answer, bits",
}
RULE: Final = (
    "In brackets stands the 95% interval over seeds, under each figure the null that comes nearest. A null "
    "marked ✗ is not beaten by the figure above it: their intervals overlap, or the null is better."
)


@dataclass(frozen=True)
class Cell:
    """A figure as text, the hardest null as text, and whether the figure beats every null."""

    value: str
    null: str
    cleared: bool


def rows(lenses: tuple[LensScores, ...]) -> list[Metric]:
    """The metrics that any of some lenses has a headline of."""
    return [metric for metric in METRICS if any(own.headline(metric.name) for own in lenses)]


def cell(score: Score | None, metric: Metric) -> Cell:
    """What stands in the table; a dash where a lens has no such figure."""
    if score is None:
        return Cell("–", "", cleared=True)
    value = str(score.value)
    asked = {name: null for name, null in score.nulls.items() if name != "shift"}
    if not asked:
        return Cell(value, "no null", cleared=True)
    sign = 1 if metric.higher_is_better else -1
    shown = {name: null for name, null in asked.items() if not null.cleared} or asked
    name, null = max(shown.items(), key=lambda item: sign * item[1].estimate.mean)
    return Cell(value, f"{name} {null.estimate}", score.cleared)


def layers(own: LensScores) -> tuple[str, str]:
    """Where a lens's words and maps are read, and whether its best layer stands out."""
    return (
        _layer(own.words_layer, own.headline("net_top5")),
        _layer(own.maps_layer, own.headline("auroc_others") or own.headline("auroc_all")),
    )


def _layer(layer: int | None, score: Score | None) -> str:
    if layer is None or score is None:
        return "–"
    return f"{layer}" if score.own_layer else f"{layer} (others as good)"
