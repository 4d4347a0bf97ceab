"""The embedding lens: the tokens whose input embeddings are nearest to a state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.errors import UnsupportedModelError
from patchlens.lens.lens import JSON
from patchlens.lens.similar import TEMPERATURE, ComparingLens, TokenBank
from patchlens.models.unembed import Unembed

if TYPE_CHECKING:
    from patchlens.models.adapter import Adapter


@dataclass(frozen=True, eq=False)
class EmbeddingLens(ComparingLens):
    """Embedding lens: cosine nearest neighbours of ``h_l`` among the input embeddings of all tokens.

    The final norm is not applied, and the last layer is not the model's answer: a state there points to the
    next word's output row, not to its input embedding. A factor the model puts on embeddings does not matter
    to a cosine.

    Attributes:
        embeddings: one row per token id, the model's own tensor; rows beyond the model's logits (a picture's
            placeholder, say) are not named.
        temperature: similarity that makes one nat in the shares.
    """

    name = "embedding"
    embeddings: Float[Tensor, "token d_model"] = field(repr=False)
    temperature: float = TEMPERATURE

    @classmethod
    def of(cls, adapter: Adapter, temperature: float = TEMPERATURE) -> EmbeddingLens:
        """Return the lens of a model.

        Raises:
            UnsupportedModelError: its embeddings are not in memory.
        """
        return cls(token_embeddings(adapter), temperature)

    def params(self) -> Mapping[str, JSON]:
        """The temperature."""
        return {"temperature": self.temperature}

    def token_bank(self, unembed: Unembed) -> TokenBank:
        """One state per token that the model can say."""
        rows = self.embeddings.detach()[: unembed.vocab]
        return TokenBank(rows[None], torch.arange(len(rows)))


def token_embeddings(adapter: Adapter) -> Float[Tensor, "token d_model"]:
    """Return the model's input embeddings, one row per token id, as they are.

    Raises:
        UnsupportedModelError: they were left off the devices for want of memory.
    """
    weight: Tensor = adapter.model.get_input_embeddings().weight  # pyright: ignore[reportAssignmentType]
    if weight.is_meta:
        raise UnsupportedModelError(
            f"{adapter.name}: its input embeddings were left off the devices for want of memory; take a "
            "device map that keeps them on one, or a smaller dtype"
        )
    return weight.detach()
