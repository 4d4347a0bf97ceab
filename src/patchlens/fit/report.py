"""What a fit has to say for itself: NAME.report.json and NAME.report.md beside the lens."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from patchlens.axes import FitKind
from patchlens.files import write_atomically
from patchlens.fit.control import Control
from patchlens.fit.measure import KindSums
from patchlens.stats.intervals import POSITIVE, Estimate, jackknife

MEASURES = ("kl", "bias_bits", "cross_entropy", "top1")
HALVES = ("first half", "second half")


@dataclass(frozen=True)
class Scores:
    """What one lens does at one kind of position on one side of the split, by layer, 0 to ``n_layers - 1``.

    Attributes:
        kl: mean KL(p_final || p_lens), nats.
        bias_bits: marginal bias, KL(mean of p_final || mean of p_lens), bits (Belrose et al. 2023).
        cross_entropy: mean -log p_lens of the model's own next token, nats.
        top1: share of positions where that token is the lens's first.
    """

    kl: list[float]
    bias_bits: list[float]
    cross_entropy: list[float]
    top1: list[float]


@dataclass(frozen=True)
class KindReport:
    """One kind of position: how much there was to fit on, and how raw and tuned lens do.

    Attributes:
        fitted: positions fitted on; ``per_dimension`` is that over d_model.
        strength: of the ridge, as chosen.
        positions: positions measured, by side (``train``, ``held_out``).
        scores: by side, then lens (``raw``, ``tuned``).
        overfit: held-out minus train KL of the tuned lens, by layer, nats.
        headline: held-out KL by half of the layers, then lens, with 95% intervals over pictures.
    """

    fitted: int
    per_dimension: float
    strength: float
    positions: dict[str, int]
    scores: dict[str, dict[str, Scores]]
    overfit: list[float]
    headline: dict[str, dict[str, Estimate]]


@dataclass(frozen=True)
class FitReport:
    """Everything a reader needs to judge a fitted lens.

    Attributes:
        lens: its name.
        model: name, revision, dtype, number of layers, width.
        settings: the arguments of the fit.
        data: what it was fitted on, in words.
        items: how many by side; ``pictures`` likewise, counting what the split keeps together as one.
        excluded: positions left out, by reason.
        kinds: by kind of position.
        control: the shuffled-answer control, or None where it could not be made.
        notes: what else should be known.
    """

    lens: str
    model: dict[str, Any]
    settings: dict[str, Any]
    data: str
    items: dict[str, int]
    pictures: dict[str, int]
    excluded: dict[str, int]
    kinds: dict[FitKind, KindReport]
    control: Control | None
    notes: tuple[str, ...]

    def to_json(self) -> str:
        """JSON text; numbers in full."""
        whole = asdict(self)
        if self.control is not None:
            whole["control"]["sentence"] = self.control.sentence
        return json.dumps(whole, indent=1, allow_nan=False) + "\n"

    def save(self, lens: str | Path) -> tuple[Path, Path]:
        """Write NAME.report.json and NAME.report.md beside NAME.safetensors; returns both.

        Raises:
            OutputError: a file cannot be written.
        """
        from patchlens.fit.markdown import to_markdown

        path = Path(lens)
        return (
            write_atomically(path.with_suffix(".report.json"), self.to_json()),
            write_atomically(path.with_suffix(".report.md"), to_markdown(self)),
        )


def scores(sums: KindSums, lens: str) -> Scores:
    """Means by layer of one lens."""
    by_name = {"bias_bits": sums.bias(lens)}
    means = {name: sums.mean(lens, name) for name in MEASURES if name not in by_name}
    return Scores(**by_name, **means)


def kind_report(
    held_out: KindSums, train: KindSums, *, fitted: int, d_model: int, strength: float
) -> KindReport:
    """Put the figures of one kind of position together."""
    sides: Mapping[str, KindSums] = {"held_out": held_out, "train": train}
    table = {side: {lens: scores(own, lens) for lens in own.lenses} for side, own in sides.items()}
    gap = np.subtract(table["held_out"]["tuned"].kl, table["train"]["tuned"].kl)
    return KindReport(
        fitted=fitted,
        per_dimension=fitted / d_model,
        strength=strength,
        positions={side: int(own.count.sum()) for side, own in sides.items()},
        scores=table,
        overfit=gap.tolist(),
        headline=headline(held_out),
    )


def headline(sums: KindSums) -> dict[str, dict[str, Estimate]]:
    """Mean KL over each half of the layers, by lens, with intervals over pictures."""

    def mean(means: Sequence[Any]) -> Any:
        return means[0].mean(-1)

    n_layers = next(iter(sums.lenses.values())).kl.shape[1]
    spans = (slice(0, n_layers // 2), slice(n_layers // 2, n_layers))
    return {
        half: {
            lens: jackknife(sums.count, [own.kl[:, span]], mean).estimate(POSITIVE)
            for lens, own in sums.lenses.items()
        }
        for half, span in zip(HALVES, spans, strict=True)
        if span.start < span.stop
    }
