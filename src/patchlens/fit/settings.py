"""The arguments of fits, checked before a model loads."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Literal

from patchlens.axes import FitKind
from patchlens.errors import SelectionError

Method = Literal["closed", "gradient"]


@dataclass(frozen=True)
class TunedSettings:
    """Arguments of a fit.

    Attributes:
        kinds: Kinds of position to fit apart. Those that occur if left out.
        method: The closed form (ridge regression and a temperature), or gradient, which goes on from there.
        strengths: Of the ridge; of several (0.001,0.01,0.1) each kind takes what is best on validation
            pictures.
        held_out: Share of the pictures that the report is made on.
        seed: Of the split and of everything drawn.
        max_new_tokens: Longest answer of the model; 0 for none.
        patches: Patches kept of each item, drawn by the seed. All if left out.
        epochs: Passes of the gradient method from each of its two starts, the closed form and the logit lens.
            Its steps grow smaller down to nothing over them, so fewer passes make a fit of their own and not
            the beginning of a longer one.
        rate: Learning rate of the gradient method's first step, as the tuned-lens package counts it.
        patience: Passes in which no layer gets better on validation pictures, after which the gradient method
            stops. It does all passes if left out.
    """

    kinds: tuple[FitKind, ...] | None = None
    method: Method = "closed"
    strengths: tuple[float, ...] = (1e-2,)
    held_out: float = 0.2
    seed: int = 0
    max_new_tokens: int = 20
    patches: int | None = None
    epochs: int = 20
    rate: float = 1.0
    patience: int | None = None

    def __post_init__(self) -> None:
        if not self.strengths or not all(0 < strength < math.inf for strength in self.strengths):
            raise SelectionError("a ridge strength must be above 0: choose such as 0.01")
        if self.patches is not None and self.patches < 1:
            raise SelectionError(
                f"{self.patches} patches of each item: keep at least 1, or leave it out for all"
            )
        if not 0 < self.held_out < 1:
            raise SelectionError(
                f"{self.held_out:g} of the pictures held out: choose a share between 0 and 1, such as 0.2"
            )
        if self.epochs < 1:
            raise SelectionError(f"{self.epochs} epochs fit nothing: choose 1 or more")
        if not 0 < self.rate < math.inf:
            raise SelectionError(f"a rate of {self.rate:g} moves nothing: choose one above 0, such as 1")
        if self.patience is not None and self.patience < 1:
            raise SelectionError(f"a patience of {self.patience} passes: choose 1 or more, or leave it out")
        _check_tokens(self.max_new_tokens)

    def arguments(self) -> dict[str, str | int | float | None]:
        """All of them as plain values, for a fingerprint or a report."""
        return {
            key: ",".join(map(str, value)) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    @property
    def chooses(self) -> bool:
        """Whether anything is chosen on validation pictures."""
        return self.method == "gradient" or len(self.strengths) > 1


@dataclass(frozen=True)
class JacobianSettings:
    """Arguments of the fit of a Jacobian lens.

    Attributes:
        versions: Which to fit. Those that the first item has positions for if left out.
        probes: Random directions per item. All, which is exact and takes longest, if left out.
        seed: Of the random directions.
        max_new_tokens: Longest answer of the model, whose positions are targets of the version answer.
    """

    versions: tuple[Literal["text", "answer", "image"], ...] | None = None
    probes: int | None = None
    seed: int = 0
    max_new_tokens: int = 20

    def __post_init__(self) -> None:
        if self.probes is not None and self.probes < 1:
            raise SelectionError(f"{self.probes} random directions span nothing: take 1 or more")
        _check_tokens(self.max_new_tokens)


@dataclass(frozen=True)
class LatentSettings:
    """Arguments of the bank of a latent lens.

    Attributes:
        per_type: Most occurrences of one token.
        seed: Of the choice among more.
    """

    per_type: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if self.per_type < 1:
            raise SelectionError(f"{self.per_type} occurrences of each token: keep 1 or more")


def _check_tokens(max_new_tokens: int) -> None:
    if max_new_tokens < 0:
        raise SelectionError(f"an answer of {max_new_tokens} tokens: allow 0 or more")
