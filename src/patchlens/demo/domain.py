"""Whether a picture is like the scenes a bundled model was trained on.

A small network reads the states that enter the language model (the projected image features):
each patch by itself, then their mean and maximum together. It was trained to tell scenes from other
pictures (noise, gradients, text, overlapping leaves, shuffled scenes), and the limit was
set on scenes it had not seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

FILE = "domain.safetensors"
Array = NDArray[np.float32]


@dataclass(frozen=True)
class SceneDomain:
    """Tells the trained scenes from everything else.

    ``mean`` and ``scale`` are ``[d]``; ``patch_weight`` is ``[d, hidden]`` with ``patch_bias``
    ``[hidden]``; ``picture_weight`` is ``[2 * hidden, hidden]`` with ``picture_bias`` ``[hidden]``;
    ``score_weight`` is ``[hidden]``. ``limit`` is the score that 99.5% of held-out scenes stay under.
    """

    mean: Array
    scale: Array
    patch_weight: Array
    patch_bias: Array
    picture_weight: Array
    picture_bias: Array
    score_weight: Array
    limit: float

    @classmethod
    def load(cls, folder: Path) -> SceneDomain:
        """Read the domain that lies beside a bundled model's weights.

        Raises:
            FileNotFoundError: the folder has none.
        """
        arrays = {name: array.astype(np.float32) for name, array in load_file(folder / FILE).items()}
        limit = float(arrays.pop("limit")[0])
        return cls(**arrays, limit=limit)

    def save(self, folder: Path) -> None:
        """Write the domain into a model's folder."""
        arrays = {name: value for name, value in vars(self).items() if name != "limit"}
        save_file({**arrays, "limit": np.asarray([self.limit], np.float32)}, folder / FILE)

    def score(self, patch_states: NDArray[np.floating]) -> float:
        """How unlike a scene a picture is; log-odds, higher is stranger.

        Args:
            patch_states: ``[patch, d]``, the states of the picture's patches as they enter the
                language model: for LLaVA after the projector (layer 0), for Mllama the states
                given to cross-attention, without CLS and without padded tiles.

        Raises:
            ValueError: the states have another width than the model's.
        """
        if patch_states.ndim != 2 or patch_states.shape[1] != len(self.mean):
            raise ValueError(f"expected [patch, {len(self.mean)}] states, got {patch_states.shape}")
        states = (patch_states.astype(np.float32) - self.mean) / self.scale
        patches = np.maximum(states @ self.patch_weight + self.patch_bias, 0)
        pooled = np.concatenate([patches.mean(0), patches.max(0)])
        picture = np.maximum(pooled @ self.picture_weight + self.picture_bias, 0)
        return float(picture @ self.score_weight)

    def unlike(self, patch_states: NDArray[np.floating]) -> bool:
        """Whether the picture is unlike the scenes: its score is over the limit.

        Args:
            patch_states: as for ``score``.
        """
        return self.score(patch_states) > self.limit
