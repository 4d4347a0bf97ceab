"""States whose right lens is known: the last layer's, turned by an orthogonal matrix per layer."""

from dataclasses import dataclass

import torch
from lens_oracle import Norm
from torch import Tensor

from patchlens.fit.closed_form import ClosedForm
from patchlens.fit.states import StateBatch
from patchlens.models.unembed import Unembed

D_MODEL, N_LAYERS, VOCAB = 16, 3, 120


def plain_unembed(**kwargs) -> Unembed:
    """An RMS norm with unit weights, which commutes with rotations."""
    g = torch.Generator().manual_seed(11)
    weight = torch.randn(VOCAB, D_MODEL, generator=g) * 0.8
    return Unembed(Norm(torch.ones(D_MODEL)), weight, **kwargs)


def rotations(seed=3) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(N_LAYERS, D_MODEL, D_MODEL, generator=g)).Q


@dataclass
class Rotated:
    """Makes batches of states; patches and answers may have a rotation of their own, and all some noise."""

    noise: float = 0.0
    kinds: tuple = ("text",)
    seed: int = 0

    def __post_init__(self):
        self.draw = torch.Generator().manual_seed(self.seed)
        self.turns = {kind: rotations(3 + place) for place, kind in enumerate(self.kinds)}

    def batch(self, positions=100) -> StateBatch:
        final = torch.randn(positions, D_MODEL, generator=self.draw) * 2
        kinds = tuple(self.kinds[i % len(self.kinds)] for i in range(positions))
        turn = torch.stack([self.turns[kind] for kind in kinds], 1)
        resid = torch.einsum("lpoi,pi->lpo", turn, final)
        resid = resid + self.noise * torch.randn(resid.shape, generator=self.draw)
        return StateBatch(torch.cat([resid, final[None]]), final, kinds)

    def batches(self, count=10, positions=100) -> list[StateBatch]:
        return [self.batch(positions) for _ in range(count)]


def closed(batches, unembed, strength=1e-2, **kwargs):
    fit = ClosedForm(N_LAYERS, D_MODEL, unembed, **kwargs)
    for batch in batches:
        fit.add(batch.resid, batch.final, batch.kinds)
    return fit.solve(strength)
