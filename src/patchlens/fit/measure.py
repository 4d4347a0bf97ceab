"""How far lenses are from the model's own distribution, summed by picture, kind of position and layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from patchlens.axes import FIT_KINDS, FitKind
from patchlens.fit.states import StateBatch
from patchlens.lens import Lens
from patchlens.models.unembed import Unembed

Array = NDArray[np.float64]
_BLOCK_BYTES = 16_000_000


@dataclass(frozen=True)
class Sums:
    """Sums of one lens over the positions of one kind; layers 0 to ``n_layers - 1``.

    ``kl`` is KL(p_final || p_lens), ``cross_entropy`` -log p_lens(t) with t the model's own next token (the
    arg max of its final distribution), both in nats; ``top1`` counts where t is first in the lens too. Each
    is ``[group, layer]``. ``marginal`` is the sum of the lens's distributions, ``[layer, vocab]``.
    """

    kl: Array
    cross_entropy: Array
    top1: Array
    marginal: Array

    @classmethod
    def empty(cls, groups: int, layers: int, vocab: int) -> Sums:
        """Nothing summed yet."""
        kl, cross_entropy, top1 = (np.zeros((groups, layers)) for _ in range(3))
        return cls(kl, cross_entropy, top1, np.zeros((layers, vocab)))


@dataclass(frozen=True)
class KindSums:
    """Sums of all lenses over one kind, beside the positions of each group and the model's own marginal."""

    count: Array
    marginal: Array
    lenses: dict[str, Sums] = field(default_factory=dict[str, Sums])

    def mean(self, lens: str, what: str) -> list[float]:
        """Mean of ``kl``, ``cross_entropy`` or ``top1`` over positions, by layer."""
        summed: Array = getattr(self.lenses[lens], what)
        return (summed.sum(0) / self.count.sum()).tolist()

    def bias(self, lens: str) -> list[float]:
        """Marginal bias in bits by layer: KL(mean of p_final || mean of p_lens) (Belrose et al. 2023)."""
        model = self.marginal / self.count.sum()
        own = self.lenses[lens].marginal / self.count.sum()
        seen = model > 0
        ratio = np.log2(model[seen]) - np.log2(np.maximum(own[:, seen], np.finfo(np.float64).tiny))
        return (model[seen] * ratio).sum(1).tolist()


def measure(
    lenses: Mapping[str, Lens],
    batches: Iterable[tuple[int, StateBatch]],
    unembed: Unembed,
    *,
    n_groups: int,
    n_layers: int,
    kinds: Sequence[FitKind] = FIT_KINDS,
    progress: Callable[[], None] | None = None,
) -> dict[FitKind, KindSums]:
    """Read batches through several lenses and sum up how far each is from the model.

    A block of positions at a time is unembedded in full, one layer after the other; kept are sums only, the
    largest being one distribution per lens, kind and layer.

    Args:
        lenses: by name.
        batches: states, each with the number of the group it belongs to.
        unembed: the model's.
        n_groups: how many groups there are.
        n_layers: number of the last layer, which is left out: every lens is the model's own there.
        kinds: which to measure.
        progress: called after each batch.

    Returns:
        Sums of each kind that occurs.
    """
    result: dict[FitKind, KindSums] = {}
    with torch.inference_mode():
        for group, batch in batches:
            for kind in kinds:
                part = batch.of_kind(kind)
                if not part.kinds:
                    continue
                if kind not in result:
                    result[kind] = KindSums(np.zeros(n_groups), np.zeros(unembed.vocab))
                    for name in lenses:
                        result[kind].lenses[name] = Sums.empty(n_groups, n_layers, unembed.vocab)
                chosen = {name: lens.for_kind(kind) for name, lens in lenses.items()}
                _add(result[kind], group, chosen, part.first_layers(n_layers), part.final, unembed)
            if progress is not None:
                progress()
    return result


def _add(
    sums: KindSums,
    group: int,
    lenses: Mapping[str, Lens],
    resid: Float[Tensor, "layer pos d_model"],
    final: Float[Tensor, "pos d_model"],
    unembed: Unembed,
) -> None:
    rows = max(1, _BLOCK_BYTES // (4 * unembed.vocab))
    device = unembed.weight.device
    for start in range(0, len(final), rows):
        at = slice(start, start + rows)
        model = unembed.logits(final[at].to(device)).float().log_softmax(-1)
        target = model.argmax(-1)
        sums.count[group] += len(target)
        sums.marginal[:] += _numpy(model.exp().sum(0))
        for name, lens in lenses.items():
            for layer in range(len(resid)):
                normed = lens.normed(resid[layer, at].to(device), layer, unembed)
                logits = torch.nn.functional.linear(normed, unembed.weight, unembed.bias)
                own = unembed.finish(logits).float().log_softmax(-1)
                _add_layer(sums.lenses[name], group, layer, model, own, target)


def _add_layer(
    sums: Sums,
    group: int,
    layer: int,
    model: Float[Tensor, "pos vocab"],
    own: Float[Tensor, "pos vocab"],
    target: Int[Tensor, " pos"],
) -> None:
    probability = model.exp()
    sums.kl[group, layer] += float((probability * (model - own)).sum(-1).clamp_(min=0).sum())
    sums.cross_entropy[group, layer] -= float(own.gather(1, target[:, None]).sum())
    sums.top1[group, layer] += float((own.argmax(-1) == target).sum())
    sums.marginal[layer] += _numpy(own.exp().sum(0))


def _numpy(vector: Tensor) -> Array:
    return vector.cpu().numpy().astype(np.float64)
