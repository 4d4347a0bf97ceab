"""A name for a model's weights, to tell whether work that was begun is gone on with by the same model."""

from __future__ import annotations

import hashlib
from typing import Final

import torch

from patchlens.models.adapter import Adapter

_SAMPLES: Final = 64


def model_digest(adapter: Adapter) -> str:
    """Name of a model's weights, from their shapes and a sample of each."""
    hasher = hashlib.sha256()
    with torch.no_grad():
        for name, weight in adapter.model.named_parameters():
            hasher.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
            flat = weight.flatten()
            step = max(1, len(flat) // _SAMPLES)
            hasher.update(flat[::step][: 2 * _SAMPLES].float().cpu().numpy().tobytes())
    return hasher.hexdigest()
