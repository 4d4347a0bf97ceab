"""One block's attention as a sum over heads and sources, without ever holding the terms all at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class BlockTerms:
    """The terms of one block's attention at some queries.

    With ``alpha`` the attention weights, ``values`` ``W_V s_p`` without its bias, ``matrix`` ``W_O`` and
    ``gain`` what the block multiplies the attention's output by (gate, multiplier, norm), the term of head h
    and source p at query t is

        ``c[t, h, p] = gain[t] * alpha[h, t, p] * W_O^h W_V^{kv(h)} s_p``

    and ``sum over h and p of c + bias`` is what the block adds to the residual stream. ``s_p`` is the vision
    state, or the residual state of position p after the block's input norm. The split is that of Kobayashi
    et al. 2020 (eq. 5), who count the bias of the values to every source; here it stands in ``bias``, since
    it says nothing of any source.

    Attributes:
        block: 0-based number; its output is layer ``block + 1``.
        over: axis of the sources, ``pos`` or ``vision``.
        alpha: the model's own weights, in its dtype.
        values: float32, or float64 in a float64 model, as everything computed from them.
        matrix: the model's own tensor.
        gain: one row for all queries, or one for each.
        bias: what is written whatever is attended to, gain included.
        seeing: False where a query stands before every picture: it then attends to all states without any
            mask, padding included. Its terms are still what the block writes, but they tell nothing.
    """

    block: int
    over: str
    alpha: Float[Tensor, "head query source"]
    values: Float[Tensor, "source kv_head head_dim"]
    matrix: Float[Tensor, "d_model head head_dim"]
    gain: Float[Tensor, "#query d_model"]
    bias: Float[Tensor, "#query d_model"]
    seeing: Bool[Tensor, " query"]

    @property
    def layer(self) -> int:
        """Number of the layer this block's output is."""
        return self.block + 1

    def norms(self) -> Float[Tensor, "head query source"]:
        """Length of every term, ``||c[t, h, p]||``, in the residual stream, before the final norm."""
        lengths = torch.empty_like(self.alpha, dtype=self.values.dtype)
        gain = self.gain.square().T
        for head in range(len(self.alpha)):
            full = (self._value(head) @ self._matrix(head).T).square() @ gain
            lengths[head] = full.T.sqrt() * self.alpha[head]
        return lengths

    def write(self) -> Float[Tensor, "query d_model"]:
        """All terms and the bias summed: what the block's attention adds to the residual stream."""
        total = self.values.new_zeros(self.alpha.shape[1], self.gain.shape[1])
        for head in range(len(self.alpha)):
            mixed = self.alpha[head].to(self.values) @ self._value(head)
            total += mixed @ self._matrix(head).T
        return total * self.gain + self.bias

    def along(
        self, directions: Float[Tensor, "query target d_model"]
    ) -> Float[Tensor, "query source target"]:
        """Every source's share, summed over heads, along some directions of the residual stream.

        Args:
            directions: for each query; `Contributions.directions` gives those of tokens.

        Returns:
            ``sum over h of c[t, h, p] . direction``, without the bias.
        """
        n_heads, n_queries, n_sources = self.alpha.shape
        share = self.values.new_zeros(n_queries, n_sources, directions.shape[1])
        scaled = directions.to(self.values) * self.gain[:, None]
        for head in range(n_heads):
            asked = scaled @ self._matrix(head)
            per_source = torch.einsum("qtk,pk->qpt", asked, self._value(head))
            share += per_source * self.alpha[head].to(self.values)[..., None]
        return share

    def _matrix(self, head: int) -> Float[Tensor, "d_model head_dim"]:
        return self.matrix[:, head].to(self.values)

    def _value(self, head: int) -> Float[Tensor, "source head_dim"]:
        """Neighbouring heads share the values of one, where there are fewer of those (grouped queries)."""
        return self.values[:, head * self.values.shape[1] // len(self.alpha)]
