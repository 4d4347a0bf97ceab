"""Models whose attention is known beforehand: uniform over what may be seen, or all on one source."""

from __future__ import annotations

import torch
from torch import nn

from patchlens.models.adapter import Adapter

SHARP = 1e6


def make_uniform(adapter: Adapter) -> Adapter:
    """No query asks for anything, so every source that may be seen gets the same."""
    for block in range(adapter.n_layers):
        projection = adapter.heads(block).attention.q_proj
        nn.init.zeros_(projection.weight)
    return adapter


def make_pointed(adapter: Adapter, block: int = 0) -> Adapter:
    """In one block all heads put everything on the source seen whose normed state is largest in coordinate 0.

    Every query is the same vector (a bias), every key its state's coordinate 0, and nothing is rotated.
    """
    make_uniform(adapter)
    decoder = adapter.model.get_decoder()
    decoder.rotary_emb.inv_freq.zero_()
    attention = adapter.blocks[block].self_attn
    asks = nn.Linear(attention.q_proj.in_features, attention.q_proj.out_features)
    nn.init.zeros_(asks.weight)
    nn.init.ones_(asks.bias)
    attention.q_proj = asks
    nn.init.zeros_(attention.k_proj.weight)
    with torch.no_grad():
        attention.k_proj.weight[:, 0] = SHARP
    return adapter
