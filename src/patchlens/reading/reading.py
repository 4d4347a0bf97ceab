"""What a lens saw in one forward pass: frozen NumPy columns and the questions people ask of them.

Needs NumPy only, so that a saved reading opens on any laptop. A value the reading does not hold is NaN,
None or a typed error, never a made-up number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from patchlens.concepts.lexicon import Concept, Lexicon
from patchlens.errors import SelectionError
from patchlens.pictures.grid import Places
from patchlens.reading.records import (
    Answer,
    Candidate,
    Channel,
    ModelInfo,
    Picture,
    Positions,
    Target,
)

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


@dataclass(frozen=True)
class Reading:
    """Per layer and position, what a lens reads; all log-probabilities, entropies, divergences in nats.

    Shapes: ``top_ids`` and ``top_logprobs`` [layer, pos, k] (best first, ties by id), ``entropy``,
    ``kl_to_final`` (KL of the model's own final distribution to the lens's) and ``logsumexp`` [layer, pos],
    ``target_logprobs`` and ``target_ranks`` [layer, pos, target] (0 is best; ``target_ranks_upper``: the rank
    if all tied tokens went first). ``layers`` holds the layer number of each row.
    """

    model: ModelInfo
    lens: str
    lens_params: Mapping[str, Any]
    prompt: str
    answer: Answer
    layers: NDArray[np.int32]
    positions: Positions
    pieces: Mapping[int, str] = field(repr=False)
    top_ids: NDArray[np.int32] = field(repr=False)
    top_logprobs: NDArray[np.float32] = field(repr=False)
    entropy: NDArray[np.float32] = field(repr=False)
    kl_to_final: NDArray[np.float32] = field(repr=False)
    logsumexp: NDArray[np.float32] = field(repr=False)
    targets: tuple[Target, ...]
    target_logprobs: NDArray[np.float32] = field(repr=False)
    target_ranks: NDArray[np.int32] = field(repr=False)
    target_ranks_upper: NDArray[np.int32] = field(repr=False)
    pictures: tuple[Picture, ...] = ()
    vision: Places | None = field(default=None, repr=False)
    channels: tuple[Channel, ...] = ()
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict[str, str])

    def __repr__(self) -> str:
        """Say what was read, in one line."""
        n_layers, n_positions, k = self.top_ids.shape
        pictures = ", ".join(p.name for p in self.pictures) or "no picture"
        return (
            f"Reading({self.model.name}, lens={self.lens}, {pictures}, prompt={self.prompt!r}, "
            f"answer={self.answer.text!r}, {n_layers} layers x {n_positions} positions x top-{k})"
        )

    def _repr_html_(self) -> str:
        """The page in a frame: what a notebook shows, and keeps without a kernel."""
        from patchlens.views.html import frame

        return frame(self)

    # -- addressing ----------------------------------------------------------------------------------

    def layer_row(self, layer: int) -> int:
        """Row of a layer number; negative counts from the model's last layer.

        Raises:
            SelectionError: the reading does not hold that layer.
        """
        number = layer + self.model.n_layers + 1 if layer < 0 else layer
        rows = np.flatnonzero(self.layers == number)
        if rows.size == 0:
            raise SelectionError(
                f"layer {layer} is not in this reading: "
                f"it holds {_span(self.layers)} of 0..{self.model.n_layers}"
            )
        return int(rows[0])

    def position_row(self, position: int | str = "answer") -> int:
        """Row of a position: a sequence index (negative counts from the end), or "answer".

        "answer" is the last prompt position, which predicts the first word of the answer.

        Raises:
            SelectionError: the reading does not hold that position.
        """
        if position == "answer":
            return self.step_row(0)
        if isinstance(position, str):
            raise SelectionError(f"position {position!r} is neither a number nor 'answer'")
        if position < 0 and -position <= len(self.positions.index):
            return len(self.positions.index) + position
        rows = np.flatnonzero(self.positions.index == position)
        if rows.size == 0:
            raise SelectionError(
                f"position {position} is not in this reading: it holds {_span(self.positions.index)}"
            )
        return int(rows[0])

    def step_row(self, step: int) -> int:
        """Row of the position that predicts answer token ``step``.

        Raises:
            SelectionError: that step was not read (ask for it when reading).
        """
        rows = np.flatnonzero(self.positions.step == step)
        if rows.size == 0:
            held = self.positions.step[self.positions.step >= 0]
            raise SelectionError(
                f"answer step {step} is not in this reading: "
                + (f"it holds steps {_span(held)}" if held.size else "it holds no answer position")
            )
        return int(rows[0])

    def patch_row(self, row: int, col: int, image: int = 0) -> int:
        """Row of the patch at ``row``, ``col`` of a picture's grid.

        Raises:
            SelectionError: there is no such patch among the reading's positions.
        """
        p = self.positions
        hit = (p.kind == "patch") & (p.image == image) & (p.row == row) & (p.col == col)
        rows = np.flatnonzero(hit)
        if rows.size == 0:
            raise SelectionError(f"picture {image} has no patch at row {row}, column {col} in this reading")
        return int(rows[0])

    # -- tokens --------------------------------------------------------------------------------------

    @cached_property
    def _lexicon(self) -> Lexicon:
        return Lexicon(self.pieces, self.targets, self.top_ids.shape[2])

    def tokens(self, concept: Concept) -> tuple[int, ...]:
        """Ids meant by a concept: an id, a word (any case, with or without leading space), or several.

        A word that a target stands for also means that target's token.

        Raises:
            TargetError: a word or id does not occur in this reading.
        """
        return self._lexicon.tokens(concept)

    # -- questions -----------------------------------------------------------------------------------

    def top(self, layer: int, position: int | str = "answer") -> tuple[Candidate, ...]:
        """The top-k of a layer at a position, best first."""
        row, col = self.layer_row(layer), self.position_row(position)
        return tuple(
            Candidate(rank, int(token), self.pieces[int(token)], float(logprob))
            for rank, (token, logprob) in enumerate(
                zip(self.top_ids[row, col], self.top_logprobs[row, col], strict=True)
            )
        )

    def logprobs(self, concept: Concept) -> NDArray[np.float32]:
        """Log-probability [layer, pos] of a concept (its tokens' probabilities added), in nats.

        NaN where none of its tokens is a target or in the top-k; where only some are, the sum of those is a
        lower bound.
        """
        total = np.full(self.entropy.shape, -np.inf, np.float32)
        known = np.zeros(self.entropy.shape, bool)
        for token in self.tokens(concept):
            values = self._token_logprobs(token)
            seen = ~np.isnan(values)
            total = np.where(seen, np.logaddexp(total, np.where(seen, values, -np.inf)), total)
            known |= seen
        return np.where(known, total, np.nan).astype(np.float32)

    def _token_logprobs(self, token: int) -> NDArray[np.float32]:
        for column, target in enumerate(self.targets):
            if target.token == token:
                return self.target_logprobs[..., column]
        hit = self.top_ids == token
        return np.where(hit.any(-1), np.where(hit, self.top_logprobs, -np.inf).max(-1), np.nan)

    def ranks(self, concept: Concept) -> NDArray[np.float32]:
        """Best rank [layer, pos] (0 is first) over a concept's tokens; NaN where it is not known."""
        best = np.full(self.entropy.shape, np.nan, np.float32)
        for token in self.tokens(concept):
            best = np.fmin(best, self._token_ranks(token))
        return best

    def _token_ranks(self, token: int) -> NDArray[np.float32]:
        for column, target in enumerate(self.targets):
            if target.token == token:
                return self.target_ranks[..., column].astype(np.float32)
        hit = self.top_ids == token
        return np.where(hit.any(-1), hit.argmax(-1), np.nan).astype(np.float32)

    def trajectory(self, token: Concept, position: int | str = "answer") -> NDArray[np.float32]:
        """Log-probability [layer] of a token or concept at a position, in nats; NaN where not known."""
        return self.logprobs(token)[:, self.position_row(position)]

    def patch_map(self, concept: Concept, layer: int, image: int = 0) -> NDArray[np.float32]:
        """Log-probability of a concept at every patch of a picture at a layer: [rows, cols], in nats.

        NaN where a patch is not in the reading, is padding, or does not hold the concept in its top-k.

        Raises:
            SelectionError: no such picture, or this model's patches are not positions of the decoder.
        """
        values = self.logprobs(concept)[self.layer_row(layer)]
        return self.on_grid(values, image)

    def on_grid(self, values: NDArray[Any], image: int = 0) -> NDArray[np.float32]:
        """Lay values [pos] out on a picture's patch grid: [rows, cols], NaN where there is no patch."""
        if not 0 <= image < len(self.pictures):
            raise SelectionError(f"there is no picture {image}: this reading has {len(self.pictures)}")
        p = self.positions
        here = (p.kind == "patch") & (p.image == image)
        if not here.any():
            raise SelectionError(
                "this reading holds no patch position"
                + (": the model reads the picture by cross-attention" if self.vision is not None else "")
            )
        grid = self.pictures[image].grid
        out = np.full((grid.rows, grid.cols), np.nan, np.float32)
        out[p.row[here], p.col[here]] = values[here]
        return out

    def emergence(self, concept: Concept, k: int = 1, position: int | str = "answer") -> int | None:
        """First layer at which a concept is among the k best at a position; None if at no layer read.

        Raises:
            SelectionError: k is beyond what the reading can tell (its top-k, unless all are targets).
        """
        tokens = self.tokens(concept)
        held = self.top_ids.shape[2]
        exact = {t.token for t in self.targets}
        if k < 1 or (k > held and not exact.issuperset(tokens)):
            raise SelectionError(
                f"k is {k}, but this reading tells ranks 1 to {held}; read with a larger top-k"
            )
        ranks = self.ranks(tokens)[:, self.position_row(position)]
        rows = np.flatnonzero(ranks < k)
        return int(self.layers[rows[0]]) if rows.size else None

    def final_token(self, position: int | str = "answer") -> int:
        """Token a position ends up with: the answer's where it predicts one, else the best of the last layer.

        Raises:
            SelectionError: the reading does not hold that position.
        """
        row = self.position_row(position)
        step = int(self.positions.step[row])
        return self.answer.ids[step] if 0 <= step < len(self.answer.ids) else int(self.top_ids[-1, row, 0])

    def leads_from(self, concept: Concept, position: int | str = "answer") -> int | None:
        """First layer from which a concept is first at a position to the end; None if it is not at the end.

        Raises:
            TargetError: a word or id does not occur in this reading.
            SelectionError: the reading does not hold that position.
        """
        first = np.isin(self.top_ids[:, self.position_row(position), 0], self.tokens(concept))
        behind = np.flatnonzero(~first)
        row = int(behind[-1]) + 1 if behind.size else 0
        return int(self.layers[row]) if row < len(self.layers) else None

    # -- other shapes --------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write the reading to a file (docs/format.md); whole or not at all.

        Raises:
            OutputError: the file cannot be written.
        """
        from patchlens.reading.store import save_reading

        return save_reading(self, path)

    def to_pandas(self) -> pd.DataFrame:
        """One row per layer, position and rank; log-probabilities and entropies in nats."""
        from patchlens.reading.frames import to_pandas

        return to_pandas(self)

    def to_xarray(self) -> xr.Dataset:
        """All statistics with named axes (layer, pos, k, target) and coordinates."""
        from patchlens.reading.frames import to_xarray

        return to_xarray(self)


def _span(numbers: Iterable[int]) -> str:
    held = sorted({int(n) for n in numbers})
    if not held:
        return "none"
    if held == list(range(held[0], held[-1] + 1)):
        return f"{held[0]}..{held[-1]}" if len(held) > 1 else str(held[0])
    return ", ".join(map(str, held[:6])) + (", ..." if len(held) > 6 else "")
