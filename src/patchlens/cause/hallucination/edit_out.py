"""Edit a noun out of a picture's states and let the model describe the picture again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.causal import Intervention, Project, concept_directions
from patchlens.cause.hallucination.nouns import Noun, known_nouns, noun_ids
from patchlens.lens.cross import fully_attended
from patchlens.lens.embedding import EmbeddingLens
from patchlens.models.adapter import Adapter
from patchlens.trace import Trace

WINDOWS: Final = ("entry", "all", "upper half")
"""Layers at which a noun is taken out: where patches enter the decoder, all below the last, or late ones."""


def without(adapter: Adapter, key: str, window: str) -> Intervention:
    """Take the directions of a noun's tokens out of all patches.

    Where patches are positions: the tokens' input embeddings and the directions that raise their logits
    (`patchlens.causal.concept_directions`). Where they are vision states: whatever a cross-attention block
    would write of a state along the latter (what the cross lens reads), taken out of the states themselves,
    which have no layers.

    Args:
        adapter: the model.
        key: a concept or word.
        window: one of `WINDOWS`; vision states know the first only.

    Raises:
        TargetError: no token names it.
    """
    tokens = sorted(noun_ids(adapter.tokenizer, key))
    wanted = concept_directions(adapter, tokens)
    if adapter.cross_blocks:
        return Project(_read_back(adapter, wanted), "patches", 0)
    end = adapter.n_layers
    layers = {"entry": range(1), "all": range(end), "upper half": range(end // 2, end)}[window]
    rows = EmbeddingLens.of(adapter).embeddings[tokens].to(wanted)
    return Project(torch.cat([wanted, torch.nn.functional.normalize(rows, dim=-1)]), "patches", layers)


def windows_of(adapter: Adapter) -> tuple[str, ...]:
    """Windows that are tried on validation pictures."""
    return WINDOWS[:1] if adapter.cross_blocks else WINDOWS


def edited(
    trace: Trace, nouns: Sequence[Noun], chosen: int, other: str, windows: Sequence[str], most: int
) -> list[dict[str, Any]]:
    """Let the model answer again without a noun, and without another one that is neither said nor there.

    Args:
        trace: of the prompt.
        nouns: those of the plain caption.
        chosen: which of them is edited out.
        other: key of the control.
        windows: at which layers it is taken out, one run for each.
        most: longest caption, in tokens.

    Returns:
        For each window: whether the noun is gone, what part of the caption's other nouns is, and the same
        under the control.
    """
    gone = nouns[chosen].key
    rest = {noun.key for noun in nouns} - {gone}
    runs = [without(trace.adapter, key, window) for window in windows for key in (gone, other)]
    said = [
        {noun.key for noun in known_nouns(trace.adapter.tokenizer, caption.ids)}
        for caption in trace.answers(runs, most)
    ]

    def lost(keys: set[str]) -> float | None:
        return len(rest - keys) / len(rest) if rest else None

    return [
        {
            "window": window,
            "gone": float(gone not in own),
            "gone_control": float(gone not in control),
            "lost": lost(own),
            "lost_control": lost(control),
        }
        for window, own, control in zip(windows, said[::2], said[1::2], strict=True)
    ]


def _read_back(
    adapter: Adapter, directions: Float[Tensor, "token d_model"]
) -> Float[Tensor, "direction d_model"]:
    """Directions of vision states that a cross-attention block turns into these directions of the stream."""
    weight = adapter.unembed.weight
    unit = torch.eye(adapter.d_model, dtype=weight.dtype, device=weight.device)
    found = [
        directions.to(weight.device).float() @ fully_attended(adapter.heads(block), unit).float().T
        for block in adapter.cross_blocks
    ]
    return torch.nn.functional.normalize(torch.cat(found), dim=-1)
