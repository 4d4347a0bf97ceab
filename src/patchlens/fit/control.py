"""Whether a lens reads the answer from the state or has learnt which answers are common.

A lens is fitted a second time by the same solver, each answer position paired with the final state of another
picture's answer position. What that lens knows of the answers it cannot have from the states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patchlens.fit.measure import KindSums
from patchlens.stats.intervals import Estimate, Range, jackknife

Array = NDArray[np.float64]
LENSES = ("raw", "tuned", "control")


@dataclass(frozen=True)
class Control:
    """How well three lenses foretell the model's answer on held-out pictures, answer positions only.

    ``top1`` (share of positions) and ``logprob`` (mean log-probability of the answer's token, nats) are by
    lens (``raw``, ``tuned``, ``control``) and layer. The shares say how much of the tuned lens's gain over
    the raw one survives after the control's gain is taken off (`surviving`), over all layers together and,
    as ``surviving_by_layer`` of ``top1`` and ``logprob``, layer by layer (None where there is no gain).
    """

    pictures: int
    positions: int
    top1: dict[str, list[float]]
    logprob: dict[str, list[float]]
    surviving_by_layer: dict[str, list[float | None]]
    surviving_top1: Estimate
    surviving_logprob: Estimate

    @property
    def sentence(self) -> str:
        """The finding in one sentence."""
        raw, tuned, control = (float(np.mean(self.logprob[lens])) for lens in LENSES)
        hits = [float(np.mean(self.top1[lens])) for lens in LENSES]
        return (
            f"On {self.pictures} held-out pictures ({self.positions} answer positions, mean over the layers) "
            f"the log-probability of the answer's token is {raw:.2f} nats raw, {tuned:.2f} tuned and "
            f"{control:.2f} under the control, so {_share(self.surviving_logprob)} of the tuned lens's gain "
            f"survives; its top-1 agreement is {hits[0]:.3f}, {hits[1]:.3f} and {hits[2]:.3f}, so "
            f"{_share(self.surviving_top1)} of that gain does."
        )


def _share(estimate: Estimate) -> str:
    if estimate.value is None:
        return "no share (the tuned lens gains nothing)"
    return estimate.text(".0%")


def surviving(means: Sequence[Array]) -> Array:
    """Share of a gain that a control does not have: ``1 - max(0, control - raw) / (tuned - raw)``.

    Gain and loss are means over the layers; a layer where the control is worse than the raw lens makes up for
    none where it is better.

    Args:
        means: of raw, tuned and control, ``[.., layer]``; greater is better.

    Returns:
        1 where the control gains nothing, 0 where it gains as much, NaN where the tuned lens gains nothing.
    """
    raw, tuned, control = means
    gain = (tuned - raw).mean(-1)
    lost = np.maximum(0.0, control - raw).mean(-1)
    return np.where(gain > 0, 1 - lost / np.where(gain > 0, gain, 1.0), np.nan)


def judge(tuned: KindSums, control: KindSums) -> Control:
    """Compare lenses ``raw`` and ``tuned`` with ``control``, measured on the same answer positions."""
    sums = {"raw": tuned.lenses["raw"], "tuned": tuned.lenses["tuned"], "control": control.lenses["control"]}
    count = tuned.count
    top1 = {lens: own.top1.sum(0) / count.sum() for lens, own in sums.items()}
    logprob = {lens: -own.cross_entropy.sum(0) / count.sum() for lens, own in sums.items()}

    def share(of_lenses: Sequence[Array]) -> Estimate:
        return jackknife(count, of_lenses, surviving).estimate(Range(high=1.0))

    return Control(
        pictures=int((count > 0).sum()),
        positions=int(count.sum()),
        top1={lens: means.tolist() for lens, means in top1.items()},
        logprob={lens: means.tolist() for lens, means in logprob.items()},
        surviving_by_layer={"top1": _by_layer(top1), "logprob": _by_layer(logprob)},
        surviving_top1=share([sums[lens].top1 for lens in LENSES]),
        surviving_logprob=share([-sums[lens].cross_entropy for lens in LENSES]),
    )


def _by_layer(means: Mapping[str, Array]) -> list[float | None]:
    shares = surviving([means[lens][:, None] for lens in LENSES])
    return [None if np.isnan(share) else float(share) for share in shares]
