"""Few positions can make a lens worse than none: such layers stay as the logit lens reads them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.axes import FitKind
from patchlens.errors import FitError
from patchlens.fit.gradient import mean_kl
from patchlens.fit.states import StateBatch
from patchlens.lens.tuned import Translators, TunedLens
from patchlens.models.unembed import Unembed

FOLDS = 4
Pictures = Mapping[int, Callable[[], Iterable[StateBatch]]]
"""States of one kind of position by picture (what the split keeps together), read anew at each call."""


@dataclass(frozen=True)
class LeftOut:
    """Mean KL(p_final || p_lens) in nats on pictures that were left out of a fit.

    Attributes:
        fitted: of a lens fitted on others.
        raw: of the logit lens on the same positions.
    """

    fitted: Float[Tensor, "picture layer"]
    raw: Float[Tensor, "picture layer"]

    @property
    def worse(self) -> list[int]:
        """Layers at which the fit is not better by more than the standard error of the difference."""
        gain, n = self.raw - self.fitted, len(self.raw)
        error = gain.std(0) / math.sqrt(n) if n > 1 else torch.full_like(gain[0], torch.inf)
        return (~(gain.mean(0) > error)).nonzero().flatten().tolist()


def judged(kind: FitKind, lens: TunedLens, pictures: Pictures, unembed: Unembed) -> LeftOut:
    """Hold a lens against the logit lens on pictures that it was not fitted on, at least one."""
    raw = TunedLens.identity(lens.n_layers, lens.d_model, form="after_norm", kinds=(kind,))
    fitted, plain = (
        torch.stack([mean_kl(own, batches, unembed)[kind].cpu() for batches in pictures.values()])
        for own in (lens, raw)
    )
    return LeftOut(fitted, plain)


def cross_judged(
    kind: FitKind, fit: Callable[[Iterable[StateBatch]], TunedLens], pictures: Pictures, unembed: Unembed
) -> LeftOut | None:
    """Leave out each part of the pictures in turn, fit on the rest and judge on the part.

    Args:
        kind: of the positions.
        fit: makes a lens from states.
        pictures: all that may be fitted on.
        unembed: the model's.

    Returns:
        How it went; None where too few are left to fit on.
    """
    names = list(pictures)
    found: list[LeftOut] = []
    for fold in torch.arange(len(names)).tensor_split(min(FOLDS, len(names))):
        out = {names[place]: pictures[names[place]] for place in fold.tolist()}
        try:
            lens = fit(batch for name in names if name not in out for batch in pictures[name]())
        except FitError:
            return None
        found.append(judged(kind, lens, out, unembed))
    return LeftOut(torch.cat([own.fitted for own in found]), torch.cat([own.raw for own in found]))


def guarded(lens: TunedLens, left_out: Mapping[FitKind, LeftOut | None]) -> TunedLens:
    """Return a lens of the form ``after_norm`` that reads raw where it does no better than the logit lens.

    Args:
        lens: what was fitted on all.
        left_out: how it did on pictures left out, of the kinds in doubt; None where that could not be seen.

    Returns:
        the lens, with a note for each kind of which layers stay raw.
    """
    kinds, notes = dict(lens.kinds), [lens.note] if lens.note else []
    for kind, found in left_out.items():
        layers = list(range(lens.n_layers)) if found is None else found.worse
        if not layers:
            continue
        weight, bias = kinds[kind].weight.clone(), kinds[kind].bias.clone()
        weight[layers], bias[layers] = torch.eye(lens.d_model).to(weight), 0.0
        kinds[kind] = Translators(weight, bias)
        some = f"layer{'s' * (len(layers) > 1)} {', '.join(map(str, layers))}"
        which = some if len(layers) < lens.n_layers else "all layers"
        notes.append(f"{kind}: left as the logit lens at {which}, {_why(found, layers)}")
    return replace(lens, kinds=kinds, note="; ".join(notes))


def _why(found: LeftOut | None, layers: Sequence[int]) -> str:
    if found is None:
        return "since there are no other pictures to hold a fit against"
    fitted, raw = (float(kl[:, list(layers)].mean()) for kl in (found.fitted, found.raw))
    return f"since on pictures left out a fit was not surely better ({fitted:.2f} against {raw:.2f} nats)"
