"""Two readings side by side: where they agree, and by how much they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from patchlens.axes import LAYER, PositionKind
from patchlens.errors import MissingExtraError, SelectionError
from patchlens.reading.reading import Reading, check_reading
from patchlens.reading.where import span

if TYPE_CHECKING:
    import pandas as pd


def compare(a: Reading, b: Reading) -> pd.DataFrame:
    """A table by layer and position of what two readings agree in, and of ``b`` less ``a`` where they differ.

    For two lenses on one trace, two models, two pictures, or a picture against text alone. Layers are paired
    by number, or by the nearest relative depth where the models have other numbers of layers. Positions are
    paired by the patch where the pictures' grids are alike, else by their place before or after the start of
    the answer (by index, where a reading does not hold it), if the same token or kind stands there. Words are
    the same by id where the vocabularies are, else by their piece.

    Returns:
        Columns ``layer``, ``layer_b``, ``position``, ``position_b``, ``kind``, ``first`` and ``first_b`` (the
        best pieces), ``agrees`` (whether those are the same), ``overlap`` (share of the best k that both
        have, k being the smaller top-k of the two), ``entropy`` and ``kl_to_final`` differences in nats, and
        a difference of log-probability in nats for each target of both, named ``logprob_WORD``.

    Raises:
        SelectionError: what came is no reading, or no layer or no position can be paired.
        MissingExtraError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingExtraError("compare", "pandas", "pandas") from error
    layers, positions = _layers(check_reading(a, "a"), check_reading(b, "b")), _positions(a, b)
    at, at_b = (np.ix_(layers[:, n], positions[:, n]) for n in (0, 1))
    codes = _codes(a, b)
    top, top_b = codes[0][a.top_ids[at]], codes[1][b.top_ids[at_b]]
    k = min(top.shape[-1], top_b.shape[-1])
    shared = (top[..., :k, None] == top_b[..., None, :k]).any(-1)

    def pieces(reading: Reading, cells: tuple[NDArray[Any], ...]) -> list[str]:
        return [reading.pieces[token] for token in reading.top_ids[..., 0][cells].ravel().tolist()]

    def along(values: NDArray[Any], axis: int) -> NDArray[Any]:
        return np.repeat(values, len(positions)) if axis == 0 else np.tile(values, len(layers))

    columns: dict[str, Any] = {
        LAYER: along(a.layers[layers[:, 0]], 0),
        "layer_b": along(b.layers[layers[:, 1]], 0),
        "position": along(a.positions.index[positions[:, 0]], 1),
        "position_b": along(b.positions.index[positions[:, 1]], 1),
        "kind": along(a.positions.kind[positions[:, 0]], 1),
        "first": pieces(a, at),
        "first_b": pieces(b, at_b),
        "agrees": (top[..., 0] == top_b[..., 0]).ravel(),
        "overlap": shared.mean(-1).ravel(),
        "entropy": (b.entropy[at_b] - a.entropy[at]).ravel(),
        "kl_to_final": (b.kl_to_final[at_b] - a.kl_to_final[at]).ravel(),
    }
    theirs = {(target.word, codes[1][target.token]): n for n, target in enumerate(b.targets)}
    for n, target in enumerate(a.targets):
        m = theirs.get((target.word, codes[0][target.token]))
        if m is not None:
            name = f"logprob_{target.word}"
            name = f"{name} ({a.pieces[target.token]})" if name in columns else name
            columns[name] = (b.target_logprobs[..., m][at_b] - a.target_logprobs[..., n][at]).ravel()
    return pd.DataFrame(columns)


def _layers(a: Reading, b: Reading) -> NDArray[np.intp]:
    """Rows of the layers of both that go together: [pair, 2]."""
    depth = b.model.n_layers / a.model.n_layers
    held = {int(layer): row for row, layer in enumerate(b.layers)}
    pairs = [
        (row, held[round(layer * depth)])
        for row, layer in enumerate(a.layers.tolist())
        if round(layer * depth) in held
    ]
    if not pairs:
        raise SelectionError(
            f"no layer of the two readings goes together: they hold {span(a.layers)} of 0..{a.model.n_layers}"
            f" and {span(b.layers)} of 0..{b.model.n_layers}; read the same layers"
        )
    return np.array(pairs)


def _positions(a: Reading, b: Reading) -> NDArray[np.intp]:
    """Rows of the positions of both that go together: [pair, 2]."""
    starts = [own.positions.index[own.positions.step == 0] for own in (a, b)]
    by_answer = all(start.size for start in starts)
    alike = [
        (mine.grid.rows, mine.grid.cols) == (theirs.grid.rows, theirs.grid.cols)
        for mine, theirs in zip(a.pictures, b.pictures, strict=False)
    ]

    def places(own: Reading, start: int) -> dict[tuple[Any, ...], int]:
        p = own.positions
        found: dict[tuple[Any, ...], int] = {}
        for row, kind in enumerate(p.kind.tolist()):
            image, index = int(p.image[row]), int(p.index[row])
            if kind == PositionKind.PATCH:
                if image < len(alike) and alike[image]:
                    found[kind, image, int(p.row[row]), int(p.col[row])] = row
            else:
                piece = own.pieces[int(p.token[row])]
                found[kind, index - start, piece] = row
        return found

    first, second = (int(start[0]) if by_answer else 0 for start in starts)
    theirs = places(b, second)
    pairs = [(row, theirs[place]) for place, row in places(a, first).items() if place in theirs]
    if not pairs:
        raise SelectionError(
            "no position of the two readings goes together: compare readings of the same prompt, or of "
            "pictures with the same patch grid"
        )
    return np.array(pairs)


def _codes(a: Reading, b: Reading) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A number for each token id of each reading, the same for what is the same word."""
    both = a.pieces.keys() & b.pieces.keys()
    by_id = a.model.vocab_size == b.model.vocab_size and all(a.pieces[i] == b.pieces[i] for i in both)
    number: dict[str, int] = {}
    tables: list[NDArray[np.int64]] = []
    for own in (a, b):
        table = np.full(max(own.pieces) + 1, -1, np.int64)
        for token, piece in own.pieces.items():
            table[token] = token if by_id else number.setdefault(piece, len(number))
        tables.append(table)
    return tables[0], tables[1]
