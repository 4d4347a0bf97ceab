"""How much some positions attend to the patches, as the model's own weights, block by block."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from patchlens.axes import VISION
from patchlens.models.adapter import Adapter, Attended
from patchlens.models.inputs import Inputs


def weights_on_patches(
    adapter: Adapter, inputs: Inputs, positions: Sequence[int]
) -> dict[int, Float[Tensor, "head query patch"]]:
    """Run the model once and keep what some positions attend to patches with.

    Args:
        adapter: the model.
        inputs: the prompt with its pictures.
        positions: of the sequence, one or more: the queries.

    Returns:
        by layer (the block's output), in float32 on the CPU; only of blocks that patches are sources of.

    Raises:
        UnsupportedModelError: the model's attention is not built as patchlens knows it.
    """
    rows, columns = torch.tensor(positions), torch.from_numpy(inputs.patches)
    found: dict[int, Tensor] = {}

    def keep(attended: Attended) -> None:
        if (attended.heads.over == VISION) == (inputs.vision_places is not None):
            device = attended.weights.device
            own = attended.weights[:, rows.to(device)][..., columns.to(device)]
            found[attended.heads.block + 1] = own.float().cpu()

    with adapter.undisturbed(), torch.inference_mode(), adapter.attending(range(adapter.n_layers), keep):
        adapter.model(**inputs.tensors, use_cache=False, logits_to_keep=1)
    return found
