"""Readings in which every best word is laid down by hand."""

from dataclasses import replace

import numpy as np

from readings import WORDS, make_reading

PATCHES = 2


def spoken(patches, *, answer=None, words=WORDS, **how):
    """A reading of two patches: ``patches`` [layer][patch] lists best words, ``answer`` [layer] those there.

    Everywhere else stands "?", which is of no language.
    """
    layers, k = len(patches), len(patches[0][0])
    made = make_reading(rows=1, cols=PATCHES, n_layers=layers - 1, k=k, words=words, targets=(), **how)
    top = np.full(made.top_ids.shape, words.index("?"), np.int32)
    where = np.flatnonzero(made.positions.kind == "patch")
    for layer, cells in enumerate(patches):
        for column, cell in zip(where, cells, strict=True):
            top[layer, column] = [words.index(word) for word in cell]
    for layer, cell in enumerate(answer or ()):
        top[layer, made.position_row("answer")] = [words.index(word) for word in cell]
    return replace(made, top_ids=top, pieces=dict(enumerate(words)))
