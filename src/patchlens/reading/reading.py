"""What a lens saw in one forward pass: frozen NumPy columns and the questions people ask of them.

Needs NumPy only, so that a saved reading opens on any laptop. A value the reading does not hold is NaN,
None or a typed error, never a made-up number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from patchlens.axes import PositionKind, whole_number
from patchlens.concepts.lexicon import Concept, Lexicon
from patchlens.errors import SelectionError
from patchlens.pictures.box import Region, patches_in
from patchlens.pictures.grid import Places, boxes
from patchlens.reading.records import (
    Answer,
    Candidate,
    Channel,
    ModelInfo,
    Picture,
    Positions,
    Target,
)
from patchlens.reading.where import Where, rows_at, span, step_row

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
        asked = whole_number(layer, "layer")
        number = asked + self.model.n_layers + 1 if asked < 0 else asked
        rows = np.flatnonzero(self.layers == number)
        if rows.size == 0:
            raise SelectionError(
                f"layer {layer} is not in this reading: "
                f"it holds {span(self.layers)} of 0..{self.model.n_layers}"
            )
        return int(rows[0])

    def rows_at(self, at: Where = "answer") -> NDArray[np.intp]:
        """Rows of a position, or of a group of them, as `patchlens.reading.where.rows_at` tells.

        Raises:
            SelectionError: there is no such position here, or a word does not stand exactly once.
        """
        if isinstance(at, str) and at in ("patch", "patches"):
            self._check_patches()
        return rows_at(at, self.positions, self.pieces, self.prompt)

    def position_row(self, at: Where = "answer") -> int:
        """Row of one position: its index (negative from the end), "answer", "last", or a word of the prompt.

        "answer" is the last prompt position, which predicts the first word of the answer; a word is where it
        ends.

        Raises:
            SelectionError: the reading does not hold that position, a word does not stand exactly once, or
                a group is no single position.
        """
        rows = self.rows_at(at)
        if len(rows) > 1:
            raise SelectionError(
                f"{at!r} is {len(rows)} positions ({span(self.positions.index[rows])}): choose one by number"
            )
        return int(rows[0])

    def step_row(self, step: int) -> int:
        """Row of the position that predicts answer token ``step``.

        Raises:
            SelectionError: that step was not read (ask for it when reading).
        """
        return step_row(step, self.positions)

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

    def patches_in(self, where: Region, image: int = 0) -> NDArray[np.intp]:
        """Numbers of the patches whose centre lies in a box or a mask of a picture.

        Patches are counted from 0 over all pictures in the order in which they stand, as interventions
        count them.

        Args:
            where: a `Box`, or a boolean mask [height, width] of the pixels or [rows, cols] of the grid.
            image: which picture a mask is of.

        Raises:
            SelectionError: no such picture or no patch there, or some patches were not read.
        """
        places = self.positions if self.vision is None else self.vision
        grids = [picture.grid for picture in self.pictures]
        held = int((places.kind == PositionKind.PATCH).sum())
        n_patches = sum(int(np.isfinite(boxes(grid)[..., 0]).sum()) for grid in grids)
        if held != n_patches:
            raise SelectionError(
                f"this reading holds {held} of {n_patches} patches, so they have no numbers: read all of them"
            )
        return patches_in(places, grids, where, image)

    # -- tokens --------------------------------------------------------------------------------------

    @cached_property
    def _lexicon(self) -> Lexicon:
        return Lexicon(self.pieces, self.targets, self.top_ids.shape[2], self.model.vocab_size)

    def tokens(self, concept: Concept) -> tuple[int, ...]:
        """Ids meant by a concept: an id, a word (any case, with or without leading space), or several.

        A word that a target stands for also means that target's token.

        Raises:
            TargetError: a word or id does not occur in this reading.
        """
        return self._lexicon.tokens(concept)

    # -- questions -----------------------------------------------------------------------------------

    def top(self, layer: int, at: Where = "answer") -> tuple[Candidate, ...]:
        """The top-k of a layer at a position, best first."""
        row, col = self.layer_row(layer), self.position_row(at)
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

    def trajectory(self, token: Concept, at: Where = "answer") -> NDArray[np.float32]:
        """Log-probability [layer] of a token or concept at a position, in nats; NaN where not known.

        At "patches" or "text" it is the highest of all these positions.
        """
        return np.fmax.reduce(self.logprobs(token)[:, self.rows_at(at)], axis=1)

    def patch_map(self, concept: Concept, layer: int | None = None, image: int = 0) -> NDArray[np.float32]:
        """Log-probability of a concept at every patch of a picture, in nats: [rows, cols], NaN where unknown.

        Unknown is a patch that is not in the reading, is padding, or has the concept below its top-k.

        Args:
            concept: a word, a token id, or several.
            layer: which; None for all of them: [layer, rows, cols].
            image: number of the picture.

        Raises:
            SelectionError: no such picture, or this model's patches are not positions of the decoder.
        """
        values = self.logprobs(concept)
        if layer is not None:
            return self.on_grid(values[self.layer_row(layer)], image)
        return np.stack([self.on_grid(row, image) for row in values])

    def on_grid(self, values: NDArray[Any], image: int = 0) -> NDArray[np.float32]:
        """Lay values [pos] out on a picture's patch grid: [rows, cols], NaN where there is no patch."""
        if not 0 <= whole_number(image, "picture") < len(self.pictures):
            raise SelectionError(f"there is no picture {image}: this reading has {len(self.pictures)}")
        p = self.positions
        self._check_patches()
        here = (p.kind == PositionKind.PATCH) & (p.image == image)
        grid = self.pictures[image].grid
        out = np.full((grid.rows, grid.cols), np.nan, np.float32)
        out[p.row[here], p.col[here]] = values[here]
        return out

    def _check_patches(self) -> None:
        if not (self.positions.kind == PositionKind.PATCH).any():
            raise SelectionError(
                "this reading holds no patch position"
                + (
                    ": the model reads the picture by cross-attention, so read it with the lens cross"
                    if self.vision is not None
                    else ""
                )
            )

    def emergence(self, concept: Concept, k: int = 1, at: Where = "answer") -> int | None:
        """First layer at which a concept is among the k best at a position; None if at no layer read.

        At "patches" (or "text") it is the first layer at which it is among the k best at any of them.

        Raises:
            SelectionError: k is beyond what the reading can tell (its top-k, unless all are targets).
        """
        tokens = self.tokens(concept)
        held = self.top_ids.shape[2]
        exact = {t.token for t in self.targets}
        if whole_number(k, "k") < 1 or (k > held and not exact.issuperset(tokens)):
            raise SelectionError(
                f"k is {k}, but this reading tells ranks 1 to {held}; read with a larger top-k"
            )
        rows = np.flatnonzero((self.ranks(tokens)[:, self.rows_at(at)] < k).any(1))
        return int(self.layers[rows[0]]) if rows.size else None

    def final_token(self, at: Where = "answer") -> int:
        """Token a position ends up with: the answer's where it predicts one, else the best of the last layer.

        Raises:
            SelectionError: the reading does not hold that position.
        """
        row = self.position_row(at)
        step = int(self.positions.step[row])
        return self.answer.ids[step] if 0 <= step < len(self.answer.ids) else int(self.top_ids[-1, row, 0])

    def leads_from(self, concept: Concept, at: Where = "answer") -> int | None:
        """First layer from which a concept is first at a position to the end; None if it is not at the end.

        Raises:
            TargetError: a word or id does not occur in this reading.
            SelectionError: the reading does not hold that position.
        """
        first = np.isin(self.top_ids[:, self.position_row(at), 0], self.tokens(concept))
        behind = np.flatnonzero(~first)
        row = int(behind[-1]) + 1 if behind.size else 0
        return int(self.layers[row]) if row < len(self.layers) else None

    # -- other shapes --------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write the reading to a file NAME.safetensors (docs/format.md); whole or not at all.

        Raises:
            OutputError: the file cannot be written, or has another suffix.
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


def check_reading(value: object, what: str = "reading") -> Reading:
    """A reading, and nothing else.

    Raises:
        SelectionError: it is none; the line says how to get one of what came.
    """
    if isinstance(value, Reading):
        return value
    name = type(value).__name__
    way = {"Trace": "write trace.read()", "str": "write pl.open_reading(file)"}.get(
        name, "trace.read() gives one"
    )
    raise SelectionError(f"expected a Reading as {what}, got {name}: {way}")
