"""The logit lens: read a middle layer as if it were the last."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from patchlens.lens.lens import Lens
from patchlens.models.unembed import Unembed


@dataclass(frozen=True)
class LogitLens(Lens):
    """Logit lens (nostalgebraist 2020): ``softmax(unembed(h_l))``, the final norm applied at every layer.

    The last layer agrees with the model's own distribution, since the states are taken before the final norm
    and normed once. There is no option to centre logits over the vocabulary: it takes the same number off
    every logit of a position, which changes no rank, log-probability, entropy or divergence.
    """

    name = "logit"

    def normed(
        self, resid_layer: Float[Tensor, "pos d_model"], layer: int, unembed: Unembed
    ) -> Float[Tensor, "pos d_model"]:
        """Apply the model's final norm to ``[pos, d_model]`` states of any layer."""
        return unembed.norm(resid_layer)
