"""The tuned lens in closed form: a regression per layer and kind, then one temperature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from scipy.optimize import minimize_scalar
from torch import Tensor

from patchlens.axes import FIT_KINDS, FitKind
from patchlens.errors import FitError
from patchlens.fit.gram import Gram
from patchlens.fit.reservoir import Reservoir
from patchlens.fit.states import StateBatch
from patchlens.lens.engine.divergence import kl_to_final
from patchlens.lens.tuned import Translators, TunedLens, after_norm
from patchlens.models.unembed import Unembed

POSITIONS_PER_DIMENSION = 20
"""Below this many positions per dimension of the residual stream, a fit is noted as thin."""
_SHARE_ASIDE = 4
_LOG_FACTORS, _FINE = (-math.log(8), math.log(8)), 1e-3


class ClosedForm:
    """Regresses ``norm(h_L)`` on ``norm(h_l)`` per layer and kind of position, in one pass over the states.

    Differs from Belrose et al. 2023 (arXiv 2303.08112), who minimise the KL by gradient descent: least
    squares in the normed basis needs no more than sums of products, and one temperature per layer, found by
    search, sets the size of the logits right. The ridge pulls to the identity, as their weight decay does, so
    that few positions make a logit lens rather than nothing. `patchlens.fit.gradient` goes on from there.

    Holds ``2 n_layers d_model^2`` float64 numbers per kind seen, and ``sample`` states of all layers, which
    the temperature is found on: up to a quarter of the positions, left out of the regression meanwhile.
    """

    def __init__(
        self, n_layers: int, d_model: int, unembed: Unembed, *, seed: int = 0, sample: int = 512
    ) -> None:
        self.n_layers, self.d_model, self.seed = n_layers, d_model, seed
        self._unembed = unembed
        self._sample = sample
        self._grams: dict[FitKind, Gram] = {}
        self._reservoirs: dict[FitKind, Reservoir] = {}

    @torch.no_grad()
    def add(
        self,
        resid: Float[Tensor, "layer pos d_model"],
        final: Float[Tensor, "pos d_model"],
        kinds: Sequence[FitKind],
    ) -> None:
        """Take in states before the final norm, which is applied here.

        Args:
            resid: layers 0 to ``n_layers - 1`` in order; layer ``n_layers`` may follow and is not used.
            final: layer ``n_layers`` at the same positions.
            kinds: what each position counts as.

        Raises:
            FitError: layers are missing, positions and kinds do not match, or a state is not finite.
        """
        batch = StateBatch(resid, final, tuple(kinds))
        batch.first_layers(self.n_layers)
        for kind in sorted(set(kinds)):
            own = batch.of_kind(kind)
            x, y = self._unembed.norm(own.first_layers(self.n_layers)), self._unembed.norm(own.final)
            if not (torch.isfinite(x).all() and torch.isfinite(y).all()):
                raise FitError(f"states of {kind} positions are not finite: load the model in another dtype")
            if kind not in self._grams:
                self._grams[kind] = Gram(self.n_layers, self.d_model, x.device)
                self._reservoirs[kind] = Reservoir(self._sample, self.seed)
            self._grams[kind].add(x, y)
            self._reservoirs[kind].add(x, y)

    @torch.no_grad()
    def solve(self, strength: float = 1e-2) -> TunedLens:
        """Return the lens, in the form ``after_norm``, of every kind that was seen.

        Args:
            strength: of the ridge, as in `patchlens.fit.gram.Gram.ridge`; where there are fewer than
                `POSITIONS_PER_DIMENSION`, as many times stronger as they are fewer.

        Raises:
            FitError: no positions were given, or too few to determine anything.
        """
        kinds: list[FitKind] = [kind for kind in FIT_KINDS if kind in self._grams]
        if not kinds:
            raise FitError("no position was given to fit on: choose pictures, texts or kinds that have some")
        counts: dict[FitKind, int] = {kind: self._grams[kind].n for kind in kinds}
        return TunedLens(
            "after_norm",
            {kind: self._solve(kind, strength) for kind in kinds},
            how="closed_form",
            seed=self.seed,
            positions=counts,
            note="; ".join(thin for kind in kinds if (thin := self._thin(kind, counts[kind]))),
        )

    def _solve(self, kind: FitKind, strength: float) -> Translators:
        gram, eye = self._grams[kind], torch.eye(self.d_model)
        try:
            strength *= max(1.0, POSITIONS_PER_DIMENSION * self.d_model / gram.n)
            weight, bias = (part.float() for part in gram.ridge(strength, prior=eye))
            factors = self._temperatures(kind, strength, eye)
        except FitError as error:
            raise FitError(f"{kind} positions: {error}") from error
        return Translators(weight * factors[:, None, None], bias * factors[:, None])

    def _temperatures(
        self, kind: FitKind, strength: float, prior: Float[Tensor, "d_model d_model"]
    ) -> Float[Tensor, " layer"]:
        """Found on pairs that a regression has not seen: on its own it would think itself too sure."""
        gram = self._grams[kind]
        aside = min(self._sample, gram.n // _SHARE_ASIDE)
        if not aside:
            return torch.ones(self.n_layers).to(gram.x.device)
        x, y = self._reservoirs[kind].pairs(aside)
        weight, bias = (part.float() for part in gram.ridge(strength, prior=prior, without=(x, y)))
        return best_temperatures(after_norm(x, weight, bias), y, self._unembed)

    def _thin(self, kind: FitKind, count: int) -> str:
        if count >= POSITIONS_PER_DIMENSION * self.d_model:
            return ""
        return (
            f"{kind}: fitted on {count} positions, {count / self.d_model:.1f} per dimension; "
            f"{POSITIONS_PER_DIMENSION} to 35 are wanted"
        )


def best_temperatures(
    states: Float[Tensor, "layer pos d_model"], final: Float[Tensor, "pos d_model"], unembed: Unembed
) -> Float[Tensor, " layer"]:
    """Return the factor on each layer's normed states that minimises the mean ``KL(p_final || p_lens)``.

    The inverse of a temperature, between 1/8 and 8 and within a thousandth; the KL is convex in it (without a
    soft-cap). Both arguments are normed states.
    """

    def kl(log_factor: float, own: Tensor) -> float:
        return float(kl_to_final(own[None] * math.exp(log_factor), final, unembed).mean())

    search: Any = partial(minimize_scalar, bounds=_LOG_FACTORS, method="bounded", options={"xatol": _FINE})
    return states.new_tensor([search(kl, args=(own,)).x for own in states]).exp()
