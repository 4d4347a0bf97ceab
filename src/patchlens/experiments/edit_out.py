"""Edit a noun out of a picture's states and let the model describe the picture again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.causal import Intervention, Project, concept_directions, rerun
from patchlens.experiments.nouns import Noun, known_nouns, noun_ids
from patchlens.inputs import Inputs
from patchlens.lens.cross import fully_attended
from patchlens.models.adapter import Adapter


def without(adapter: Adapter, inputs: Inputs, key: str, start: int) -> Intervention:
    """Take the directions of a noun's tokens out of all patches.

    Where patches are positions: the directions that raise the logits of the tokens that name it, at every
    layer from ``start`` to the last but one, as blocks write anew. Where they are vision states: whatever a
    cross-attention block would write of a state along those directions (what the cross lens reads), taken
    out of the states themselves, which have no layers.

    Raises:
        TargetError: no token names it.
    """
    wanted = concept_directions(adapter, sorted(noun_ids(adapter.tokenizer, key)))
    if inputs.vision_places is None:
        return Project(wanted, "patches", range(start, adapter.n_layers))
    return Project(_read_back(adapter, wanted), "patches", 0)


def starts_of(adapter: Adapter, inputs: Inputs) -> tuple[int, ...]:
    """Layers from which an edit is tried on validation pictures: each quarter of the depth, or 0 alone."""
    if inputs.vision_places is not None:
        return (0,)
    return tuple(sorted({quarter * adapter.n_layers // 4 for quarter in range(4)}))


def edited(
    adapter: Adapter,
    inputs: Inputs,
    nouns: Sequence[Noun],
    chosen: int,
    other: str,
    starts: Sequence[int],
    most: int,
) -> list[dict[str, Any]]:
    """Generate again without a noun, and without another one that is neither said nor there.

    Args:
        adapter: the model.
        inputs: the prompt with its picture.
        nouns: those of the plain caption.
        chosen: which of them is edited out.
        other: key of the control.
        starts: layers from which it is taken out, one run for each.
        most: longest caption, in tokens.

    Returns:
        For each start: whether the noun is gone, what part of the caption's other nouns is, and the same under
        the control.
    """
    gone = nouns[chosen].key
    rest = {noun.key for noun in nouns} - {gone}
    runs = [without(adapter, inputs, key, start) for start in starts for key in (gone, other)]
    said = [
        {noun.key for noun in known_nouns(adapter.tokenizer, caption)}
        for caption in rerun(adapter, inputs).answers(runs, most)
    ]

    def lost(keys: set[str]) -> float | None:
        return len(rest - keys) / len(rest) if rest else None

    return [
        {
            "start": start,
            "gone": float(gone not in own),
            "gone_control": float(gone not in control),
            "lost": lost(own),
            "lost_control": lost(control),
        }
        for start, own, control in zip(starts, said[::2], said[1::2], strict=True)
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
