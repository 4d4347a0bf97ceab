"""The arguments of a fit."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Literal

from patchlens.axes import FIT_KINDS, FitKind
from patchlens.errors import SelectionError

Method = Literal["closed", "gradient"]
METHODS: tuple[Method, ...] = ("closed", "gradient")


@dataclass(frozen=True)
class TunedSettings:
    """Arguments of a fit.

    Attributes:
        kinds: kinds of position to fit apart; None for those of `FIT_KINDS` that occur.
        method: ``closed`` form (ridge regression and a temperature), or ``gradient`` from there.
        strengths: of the ridge; of several, each kind takes what is best on validation pictures.
        held_out: share of the pictures to hold out for the report.
        seed: of the split and of everything drawn.
        max_new_tokens: length limit of the model's answers.
        patches: how many patches of each item to keep, drawn by the seed; None for all.
        epochs: of the gradient method, at most.
    """

    kinds: tuple[FitKind, ...] | None = None
    method: Method = "closed"
    strengths: tuple[float, ...] = (1e-2,)
    held_out: float = 0.2
    seed: int = 0
    max_new_tokens: int = 20
    patches: int | None = None
    epochs: int = 20

    def __post_init__(self) -> None:
        if not self.strengths or not all(0 < strength < math.inf for strength in self.strengths):
            raise SelectionError("a ridge strength must be above 0: choose such as 0.01")
        if self.patches is not None and self.patches < 1:
            raise SelectionError(
                f"{self.patches} patches of each item: keep at least 1, or leave it out for all"
            )

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


def parse_kinds(text: str | None) -> tuple[FitKind, ...] | None:
    """Read ``text,answer``: kinds of position to fit apart; None stays None.

    Raises:
        SelectionError: naming the part that is none.
    """
    if text is None:
        return None
    words = dict.fromkeys(word.strip() for word in text.split(","))
    unknown = words.keys() - set(FIT_KINDS)
    if unknown:
        raise SelectionError(f"positions {min(unknown)!r}: choose some of {', '.join(FIT_KINDS)}")
    return tuple(kind for kind in FIT_KINDS if kind in words)


def parse_method(text: str) -> Method:
    """Read the name of a method.

    Raises:
        SelectionError: there is none of that name.
    """
    for method in METHODS:
        if text == method:
            return method
    raise SelectionError(f"there is no method {text!r}: choose {' or '.join(METHODS)}")


def parse_strengths(text: str) -> tuple[float, ...]:
    """Read ``0.001,0.01``: ridge strengths to choose from.

    Raises:
        SelectionError: a part is no number.
    """
    try:
        return tuple(dict.fromkeys(float(part) for part in text.split(",")))
    except ValueError as error:
        raise SelectionError(f"ridge strengths {text!r}: expected numbers with commas between") from error
