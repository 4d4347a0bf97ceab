"""Whether a lens can tell words apart: how many directions its rows for some words span at each layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from patchlens.errors import SelectionError
from patchlens.models.unembed import Unembed

LEAST_SHARE = 0.25
"""A layer whose effective rank is below this part of the last layer's is degenerate."""


@dataclass(frozen=True, eq=False)
class ConceptSpread:
    """How far apart the rows ``(W_U[word] * gamma) @ J_l`` of some words are: what a lens reads states with.

    Attributes:
        effective_rank: per layer, from 1 (all words read one direction) to the number of words.
        mean_cosine: per layer, mean absolute cosine of two different words' rows.
    """

    effective_rank: Float[Tensor, " layer"]
    mean_cosine: Float[Tensor, " layer"]

    @property
    def is_degenerate(self) -> Bool[Tensor, " layer"]:
        """Per layer, whether it reads nearly the same direction for every word.

        So it is where the effective rank is below `LEAST_SHARE` of that at the last layer, where the rows are
        the model's own. The cosine has no say: a part that all rows share moves every word alike, which alone
        keeps none of them from being told apart by the rest.
        """
        return self.effective_rank < LEAST_SHARE * self.effective_rank[-1]


def concept_spread(
    matrices: Float[Tensor, "layer d_model d_model"], unembed: Unembed, token_ids: Sequence[int]
) -> ConceptSpread:
    """Say at each layer how well a linear lens ``unembed(J_l h)`` can tell words apart.

    Args:
        matrices: ``J_l`` of every layer, such as `Jacobians.matrices`.
        unembed: the model's unembedding; its final norm enters through its gain alone.
        token_ids: the words, at least two.

    Raises:
        SelectionError: fewer than two words, or one that does not exist.
    """
    ids = sorted(set(token_ids))
    if len(ids) < 2 or not 0 <= ids[0] <= ids[-1] < unembed.vocab:
        raise SelectionError(
            f"expected at least two different token ids from 0 to {unembed.vocab - 1}, got {ids[:5]}"
        )
    words = (unembed.weight.detach()[ids] * norm_gain(unembed)).to(matrices)
    rows = [words @ matrix for matrix in matrices]
    return ConceptSpread(
        torch.tensor([effective_rank(own) for own in rows]), torch.tensor([_mean_cosine(own) for own in rows])
    )


def effective_rank(rows: Float[Tensor, "row d_model"]) -> float:
    """Effective rank (Roy & Vetterli 2007): exp of the entropy (nats) of the singular values over their sum.

    Rows that are all zero have rank 0.
    """
    values = torch.linalg.svdvals(rows.double())
    if not values.any():
        return 0.0
    return float(torch.special.entr(values / values.sum()).sum().exp())


@torch.no_grad()
def norm_gain(unembed: Unembed) -> Float[Tensor, " d_model"]:
    """Gain of the final norm per dimension, whatever the module calls it, with or without an offset.

    A vector of +1 and -1 in turn has mean 0 and mean square 1, so the norm changes only its gain and offset.
    """
    signs = torch.ones(unembed.d_model, device=unembed.weight.device)
    signs[1::2] = -1
    return (unembed.norm(signs).float() - unembed.norm(-signs).float()) / 2 * signs


def _mean_cosine(rows: Float[Tensor, "row d_model"]) -> float:
    unit = torch.nn.functional.normalize(rows.double(), dim=-1)
    cosines = (unit @ unit.T).abs()
    return float((cosines.sum() - cosines.trace()) / (len(rows) * (len(rows) - 1)))
