"""The latent lens: the words in sentences whose states are nearest to a state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.axes import LAYER, POSITION
from patchlens.errors import FormatError, SelectionError
from patchlens.lens.bank import Bank
from patchlens.lens.engine.statistics import Statistics
from patchlens.lens.lens import JSON
from patchlens.lens.nearest import search
from patchlens.lens.similar import TEMPERATURE, ComparingLens, TokenBank
from patchlens.models.unembed import Unembed
from patchlens.reading.records import Channel


@dataclass(frozen=True)
class Neighbour:
    """A word in a sentence near a state.

    ``word`` is the token as it is written, ``position`` its place among the sentence's tokens (special ones
    counted), ``layer`` the layer its state was taken at, ``similarity`` the cosine.
    """

    token: int
    word: str
    sentence: str
    position: int
    layer: int
    similarity: float


@dataclass(frozen=True, eq=False)
class LatentLens(ComparingLens):
    """LatentLens (Krojer et al. 2026, arXiv 2602.00462): cosine nearest neighbours in a bank of text states.

    A state of any layer is compared with the states of all layers in the bank. A token's similarity is that
    of its nearest occurrence. The final norm is not applied, and the last layer is not the model's answer.
    Differs from the paper in what is named: tokens, where the paper completes a piece to its word.

    Attributes:
        bank: what `patchlens.fit.contexts.build_bank` makes.
        temperature: similarity that makes one nat in the shares.
        file: sha256 that names the file it was opened from, or None.
    """

    name = "latent"
    bank: Bank
    temperature: float = TEMPERATURE
    file: str | None = None

    def params(self) -> Mapping[str, JSON]:
        """The temperature, and where the bank comes from."""
        return {
            "temperature": self.temperature,
            **self.bank.facts(),
            "layers": ",".join(map(str, self.bank.layers)),
            "states_per_layer": len(self.bank.tokens),
            "tokens_named": self.bank.n_named,
            "sentences": len(self.bank.sentences),
            "file": self.file,
        }

    def notes(self) -> tuple[str, ...]:
        """That the numbers are shares, and of how many tokens."""
        return (
            *super().notes(),
            f"the bank names {self.bank.n_named} tokens; any other counts as similarity -1, the least",
        )

    def token_bank(self, unembed: Unembed) -> TokenBank:
        """The bank."""
        return self.bank

    def channels(
        self, resid: Float[Tensor, "layer pos d_model"], statistics: Statistics
    ) -> tuple[Channel, ...]:
        """Return the source layer of each state's nearest neighbour, and its similarity."""
        best = statistics.top_ids[..., 0]
        layer = torch.empty(best.shape, dtype=torch.int32)
        similarity = torch.empty(best.shape)
        for token in best.unique().tolist():
            at = best == token
            start, end = self.bank.span(token, token + 1)
            found, near = search(resid[at.to(resid.device)], self.bank.states[:, start:end].flatten(0, 1), 1)
            sources = torch.tensor(self.bank.layers, dtype=torch.int32)
            layer[at], similarity[at] = sources[found[:, 0].cpu() // (end - start)], near[:, 0].cpu()
        where = "the text state nearest to the state here"
        return (
            Channel("latent_source_layer", (LAYER, POSITION), layer.numpy(), "layer", f"Layer of {where}."),
            Channel(
                "latent_similarity",
                (LAYER, POSITION),
                similarity.numpy(),
                "cosine",
                f"Similarity of {where}.",
            ),
        )

    def neighbours(
        self, states: Float[Tensor, "row d_model"], layer: int | None = None, k: int = 5
    ) -> tuple[tuple[Neighbour, ...], ...]:
        """Find the words in sentences nearest to states, best first.

        Args:
            states: residual states of any layer, before the final norm.
            layer: look only among the bank's states of this layer; among those of all layers if None.
            k: how many, 1 to the number of states there.

        Returns:
            For each row its neighbours; one token may occur several times. Of equals, those of the lower
            layer and then the lower token come first.

        Raises:
            SelectionError: the bank has no such layer, or k or the width does not fit.
            NumericsError: a state is not finite.
        """
        bank = self.bank
        if layer is not None and layer not in bank.layers:
            raise SelectionError(
                f"the bank has no states of layer {layer}: choose {', '.join(map(str, bank.layers))}"
            )
        first = 0 if layer is None else bank.layers.index(layer)
        chosen = bank.states if layer is None else bank.states[first : first + 1]
        indices, similarities = search(states, chosen.flatten(0, 1), k)
        return tuple(
            tuple(self._neighbour(first, int(i), float(s)) for i, s in zip(*row, strict=True))
            for row in zip(indices.tolist(), similarities.tolist(), strict=True)
        )

    def _neighbour(self, first_source: int, index: int, similarity: float) -> Neighbour:
        bank = self.bank
        source, row = divmod(index, len(bank.tokens))
        token = int(bank.tokens[row])
        return Neighbour(
            token=token,
            word=bank.pieces[token],
            sentence=bank.sentences[int(bank.sentence_rows[row])],
            position=int(bank.positions[row]),
            layer=bank.layers[first_source + source],
            similarity=similarity,
        )

    def to_arrays(self) -> dict[str, Tensor]:
        """Return the bank's arrays; `from_arrays` takes them back with `params`."""
        return self.bank.to_arrays()

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Tensor], params: Mapping[str, Any]) -> LatentLens:
        """Put a lens together from `to_arrays` and `params`.

        Raises:
            FormatError: a part is missing or not as specified.
        """
        temperature = params.get("temperature")
        if not isinstance(temperature, float | int):
            raise FormatError(f"a latent lens of temperature {temperature!r}: expected a number")
        return cls(Bank.from_arrays(arrays, params), float(temperature), params.get("file"))
