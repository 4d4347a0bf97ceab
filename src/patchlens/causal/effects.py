"""What interventions do to an answer, as plain arrays and words: the outcome that people get."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from patchlens.errors import MissingExtraError
from patchlens.reading.records import Answer

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Effects:
    """Log-probabilities of an answer under interventions, in nats; each token's is after those before it.

    ``plain`` is without any of them, ``pieces`` are the answer's tokens, ``interventions`` say what was done
    in each run.
    """

    answer: Answer
    pieces: tuple[str, ...]
    interventions: tuple[str, ...]
    plain: Float[NDArray[np.float32], " step"] = field(repr=False)
    logprobs: Float[NDArray[np.float32], "run step"] = field(repr=False)

    @property
    def total(self) -> Float[NDArray[np.float64], " run"]:
        """Log-probability of the whole answer in each run."""
        return self.logprobs.sum(1, dtype=np.float64)

    @property
    def change(self) -> Float[NDArray[np.float64], " run"]:
        """How much the whole answer gains in each run over the plain one; negative where it loses."""
        return self.total - self.plain.sum(dtype=np.float64)

    def to_pandas(self) -> pd.DataFrame:
        """One row per run and answer token; the plain run is number -1.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtraError("to_pandas", "pandas", "pandas") from error
        runs = np.arange(-1, len(self.logprobs))
        n_steps = len(self.pieces)
        return pd.DataFrame(
            {
                "run": np.repeat(runs, n_steps),
                "intervention": np.repeat(["none", *self.interventions], n_steps),
                "step": np.tile(np.arange(n_steps), len(runs)),
                "token": np.tile(self.answer.ids, len(runs)),
                "piece": np.tile(self.pieces, len(runs)),
                "logprob": np.concatenate([self.plain[None], self.logprobs]).ravel(),
            }
        )


@dataclass(frozen=True)
class Ablation:
    """What an answer loses without some patches, beside as many patches drawn at random, in nats.

    Attributes:
        patches: numbers of the patches that were replaced, of ``n_patches``.
        layer: at which they were.
        fill: what stood there instead, in words.
        plain: the answer of the plain run; ``answer`` the one without the patches.
        answer: the greedy answer without the patches.
        change: of the plain answer's log-probability; negative where it loses.
        control: the same for each draw of random patches ``[draw]``; drawn from all, these included.
        control_answers: the greedy answer of each draw.
    """

    patches: tuple[int, ...] = field(repr=False)
    n_patches: int
    layer: int
    fill: str
    plain: Answer
    answer: Answer
    change: float
    control: NDArray[np.float64] = field(repr=False)
    control_answers: tuple[Answer, ...] = field(repr=False)

    @property
    def p(self) -> float:
        """Share of random sets, this one among them, that cost as much or more: one-sided, never 0."""
        return float((1 + (self.control <= self.change).sum()) / (1 + len(self.control)))

    @property
    def flips(self) -> bool:
        """Whether the answer is another one without the patches."""
        return self.answer.ids != self.plain.ids

    @property
    def control_flips(self) -> float:
        """Share of the random draws that make the answer another one."""
        return float(np.mean([other.ids != self.plain.ids for other in self.control_answers]))

    def __str__(self) -> str:
        n_draws = len(self.control)
        less = int((self.control > self.change).sum())
        becomes = f"becomes {self.answer.text!r}" if self.flips else "stays"
        return (
            f"Without {len(self.patches)} of {self.n_patches} patches ({self.fill} at layer {self.layer}), "
            f"the log-probability of {self.plain.text!r} changes by {self.change:+.2f} nats and the answer "
            f"{becomes}; of {n_draws} draws of as many random patches {less} cost less (mean "
            f"{self.control.mean():+.2f}) and {self.control_flips:.0%} changed the answer."
        )

    def to_pandas(self) -> pd.DataFrame:
        """One row per run: these patches first, then each random draw.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtraError("to_pandas", "pandas", "pandas") from error
        answers = [self.answer, *self.control_answers]
        return pd.DataFrame(
            {
                "patches": ["chosen", *["random"] * len(self.control)],
                "change": [self.change, *self.control.tolist()],
                "answer": [answer.text for answer in answers],
                "flips": [answer.ids != self.plain.ids for answer in answers],
            }
        )
