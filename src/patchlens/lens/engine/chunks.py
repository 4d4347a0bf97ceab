"""How the work is cut: blocks of positions that carry all their layers, and chunks of the vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from patchlens.errors import SelectionError

# Bytes for the normed states of a block, and as many for its score buffers. On CPU the scores
# should stay in the last cache level and the whole under 40 MB; a GPU wants larger products.
_BUDGET = {"cpu": 16_000_000, "cuda": 48_000_000}
_MIN_ROWS, _MAX_ROWS = 128, 1024
_MIN_CHUNK, _MAX_CHUNK = 512, 8192


@dataclass(frozen=True)
class ChunkPlan:
    """``rows`` per product at most (layers x positions of a block), ``chunk`` ids per product."""

    positions: int
    block: int
    rows: int
    chunk: int
    n_chunks: int

    @property
    def n_steps(self) -> int:
        """Number of products in all."""
        return self.n_chunks * len(list(self.blocks()))

    def blocks(self) -> Iterator[slice]:
        """Slices of positions, nearly equal in size."""
        count = -(-self.positions // self.block)
        for i in range(count):
            yield slice(self.positions * i // count, self.positions * (i + 1) // count)


def make_plan(
    layers: int, positions: int, weight: Float[Tensor, "vocab d_model"], chunk: int | None
) -> ChunkPlan:
    """Choose block and chunk for ``layers`` states per position (the reference counted) and this lm_head.

    Raises:
        SelectionError: ``chunk`` is not positive.
    """
    if chunk is not None and chunk < 1:
        raise SelectionError(f"chunk is {chunk}: choose 1 or more, or leave it out")
    vocab, d_model = weight.shape
    budget = _BUDGET["cpu" if weight.device.type == "cpu" else "cuda"]
    fitting = budget // (d_model * weight.element_size())
    rows = max(_MIN_ROWS, min(_MAX_ROWS, fitting))
    block = max(1, min(positions, rows // layers))
    rows = block * layers
    if chunk is None:
        bytes_per_score = 8 if weight.element_size() == 4 else 8 + weight.element_size()
        room = budget // (bytes_per_score * rows) // 64 * 64
        chunk = max(_MIN_CHUNK, min(_MAX_CHUNK, room))
    chunk = min(chunk, vocab)
    return ChunkPlan(positions, block, rows, chunk, -(-vocab // chunk))
