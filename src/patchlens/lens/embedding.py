"""The embedding lens: the tokens whose input embeddings are nearest to a state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.errors import UnsupportedModelError
from patchlens.lens.engine.statistics import Statistics
from patchlens.lens.protocol import JSON
from patchlens.lens.similar import TEMPERATURE, TokenBank, shares_note, similarity_statistics
from patchlens.models.unembed import Unembed
from patchlens.reading.records import Channel

if TYPE_CHECKING:
    from patchlens.models.adapter import Adapter


@dataclass(frozen=True, eq=False)
class EmbeddingLens:
    """Embedding lens: cosine nearest neighbours of ``h_l`` among the input embeddings of all tokens.

    The final norm is not applied, and the last layer is not the model's answer: a state there points to the
    next word's output row, not to its input embedding. A factor the model puts on embeddings does not matter
    to a cosine.

    Attributes:
        embeddings: one row per token id, the model's own tensor; rows beyond the model's logits (a picture's
            placeholder, say) are not named.
        temperature: similarity that makes one nat in the shares.
    """

    embeddings: Float[Tensor, "token d_model"] = field(repr=False)
    temperature: float = TEMPERATURE

    @classmethod
    def of(cls, adapter: Adapter, temperature: float = TEMPERATURE) -> EmbeddingLens:
        """Return the lens of a model.

        Raises:
            UnsupportedModelError: its embeddings are not in memory.
        """
        return cls(token_embeddings(adapter), temperature)

    @property
    def name(self) -> str:
        """``embedding``."""
        return "embedding"

    def params(self) -> Mapping[str, JSON]:
        """The temperature."""
        return {"temperature": self.temperature}

    def notes(self) -> tuple[str, ...]:
        """That the numbers are shares."""
        return (shares_note(self.name, self.temperature),)

    def read(
        self,
        resid: Float[Tensor, "layer pos d_model"],
        final: Float[Tensor, "pos d_model"],
        unembed: Unembed,
        *,
        layers: Sequence[int],
        n_layers: int,
        top_k: int,
        target_ids: Sequence[int] = (),
        progress: Callable[[int, int], None] | None = None,
    ) -> Statistics:
        """Read all layers alike; see `patchlens.lens.similar.similarity_statistics`."""
        rows = self.embeddings.detach()[: unembed.vocab]
        bank = TokenBank(rows[None], torch.arange(len(rows)))
        return similarity_statistics(
            resid,
            final,
            unembed,
            bank,
            self.temperature,
            top_k=top_k,
            target_ids=target_ids,
            progress=progress,
        )

    def channels(
        self, resid: Float[Tensor, "layer pos d_model"], statistics: Statistics
    ) -> tuple[Channel, ...]:
        """None."""
        return ()


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
