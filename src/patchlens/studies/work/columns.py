"""Readings as rows of the tables of a study (`patchlens.studies.schema`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from patchlens.attention import Account
from patchlens.axes import CLASSES, LAYER, POSITION
from patchlens.data.item import Item
from patchlens.reading.reading import Reading
from patchlens.studies.schema import CELLS, TARGETS
from patchlens.studies.work.followed import Followed

Columns = dict[str, pa.Array]
LanguageOf = Callable[[str], str | None]


def cell_rows(
    item: Item, reading: Reading, first: int, account: Account | None, language_of: LanguageOf
) -> pa.Table:
    """One row per layer and position, layers outermost.

    Args:
        item: what was read.
        reading: through one lens, every answer token among its targets.
        first: how many vision states it counts before the positions of the sequence.
        account: of attention at the positions that predict the answer, or None.
        language_of: language of a piece, or None.
    """
    n_layers, n_positions, k = reading.top_ids.shape
    every = np.arange(n_layers * n_positions)
    ids = reading.top_ids.reshape(-1)
    best = reading.top_ids[..., 0].reshape(-1)
    offsets = pa.array(np.arange(0, ids.size + 1, k, dtype=np.int32))
    languages = {token: language_of(reading.pieces[token]) for token in np.unique(best).tolist()}
    tokens = np.tile(reading.positions.token, n_layers)
    columns = {
        **_places(item, reading, first, every),
        "token": pa.array(tokens, pa.int32()),
        "piece": _coded(tokens, reading.pieces),
        "top_ids": pa.ListArray.from_arrays(offsets, pa.array(ids, pa.int32())),
        "top_pieces": pa.ListArray.from_arrays(offsets, _coded(ids, reading.pieces)),
        "top_logprobs": pa.ListArray.from_arrays(offsets, pa.array(reading.top_logprobs.reshape(-1))),
        "language": _coded(best, languages),
        "entropy": pa.array(reading.entropy.reshape(-1)),
        "kl_to_final": pa.array(reading.kl_to_final.reshape(-1)),
        "logsumexp": pa.array(reading.logsumexp.reshape(-1)),
        **_said(reading),
        **_shares(reading, account),
        **_channels(reading),
    }
    return _table(columns, CELLS.schema)


def target_rows(item: Item, reading: Reading, first: int, words: Sequence[Followed]) -> pa.Table:
    """One row per word, layer and position that is a patch or predicts a token of the answer."""
    p = reading.positions
    kept = np.flatnonzero((p.kind == "patch") | (p.step >= 0))
    n_layers, n_positions = reading.entropy.shape
    cells = (np.arange(n_layers)[:, None] * n_positions + kept).reshape(-1)
    rows = np.tile(cells, len(words))
    places = [target.token for target in reading.targets]
    columns = [places.index(word.target.token) for word in words]
    code = np.repeat(np.arange(len(words)), len(cells))

    def per_word(values: Sequence[Any]) -> pa.Array:
        return _coded(code, dict(enumerate(values)))

    def picked(values: NDArray[Any]) -> NDArray[Any]:
        flat = values.reshape(n_layers * n_positions, -1)
        return flat[cells][:, columns].T.reshape(-1)

    return _table(
        {
            **_places(item, reading, first, rows),
            "source": per_word([word.source for word in words]),
            "concept": per_word([word.concept for word in words]),
            "language": per_word([word.language for word in words]),
            "word": per_word([word.target.word for word in words]),
            "token": pa.array(np.array([word.target.token for word in words], np.int32)[code]),
            "piece": per_word([word.target.pieces[0] for word in words]),
            "whole": pa.array(np.array([word.target.is_whole for word in words], bool)[code]),
            "logprob": pa.array(picked(reading.target_logprobs)),
            "rank": pa.array(picked(reading.target_ranks)),
            "rank_upper": pa.array(picked(reading.target_ranks_upper)),
        },
        TARGETS.schema,
    )


def _places(item: Item, reading: Reading, first: int, rows: NDArray[np.integer[Any]]) -> Columns:
    """Which cell each row is: ``rows`` number them, layers outermost."""
    p = reading.positions
    layer, position = np.divmod(rows, len(p.index))
    kinds, kind = np.unique(p.kind, return_inverse=True)
    return {
        "item": _same(item.name, len(rows)),
        "group": _same(item.group, len(rows)),
        "layer": pa.array(reading.layers[layer], pa.int16()),
        "position": _small((p.index - first)[position]),
        "kind": _coded(kind[position], dict(enumerate(kinds.tolist()))),
        **{name: _small(getattr(p, name)[position]) for name in ("step", "image", "tile", "row", "col")},
    }


def _said(reading: Reading) -> Columns:
    """Log-probability and rank of the token of the answer that each position predicts; else null."""
    n_layers, n_positions = reading.entropy.shape
    logprobs = np.zeros((n_layers, n_positions), np.float32)
    ranks = np.zeros((n_layers, n_positions), np.int32)
    known = np.zeros((n_layers, n_positions), bool)
    column = {target.token: place for place, target in enumerate(reading.targets)}
    for place, step in enumerate(reading.positions.step.tolist()):
        if 0 <= step < len(reading.answer.ids):
            own = column[reading.answer.ids[step]]
            logprobs[:, place] = reading.target_logprobs[:, place, own]
            ranks[:, place] = reading.target_ranks[:, place, own]
            known[:, place] = True
    unknown = ~known.reshape(-1)
    return {
        "answer_logprob": pa.array(logprobs.reshape(-1), mask=unknown),
        "answer_rank": pa.array(ranks.reshape(-1), mask=unknown),
    }


def _shares(reading: Reading, account: Account | None) -> Columns:
    """Where attention of the positions that predict the answer falls, mean over heads; else null."""
    shape = (*reading.entropy.shape, len(CLASSES))
    values = np.full(shape, np.nan, np.float32)
    if account is not None:
        column = {int(step): place for place, step in enumerate(reading.positions.step) if step >= 0}
        at = [column.get(step) for step in range(len(account.queries))]
        for row, layer in enumerate(reading.layers.tolist()):
            if layer not in account.layers:
                continue
            shares = account.chosen(account.at(layer).shares)
            for place, own in zip(at, shares, strict=True):
                if place is not None:
                    values[row, place] = own
    flat = values.reshape(-1, len(CLASSES))
    return {f"attention_{name}": _known(flat[:, place]) for place, name in enumerate(CLASSES)}


_CHANNELS = {name: f"{name}_answer" for name in ("contribution", "attention", "contextual")}


def _channels(reading: Reading) -> Columns:
    """Channels over the decoder's positions, mean over heads; null where there is none."""
    held = {channel.name: channel for channel in reading.channels}
    columns: Columns = {}
    for column, name in _CHANNELS.items():
        channel = held.get(name)
        values = np.full(reading.entropy.shape, np.nan, np.float32)
        if channel is not None and channel.axes in ((LAYER, POSITION), (LAYER, "head", POSITION)):
            values = channel.values if channel.values.ndim == 2 else channel.values.mean(1)
        columns[column] = _known(values.reshape(-1).astype(np.float32))
    return columns


def _table(columns: Columns, schema: pa.Schema) -> pa.Table:
    return pa.table([columns[name].cast(schema.field(name).type) for name in schema.names], schema=schema)


def _known(values: NDArray[np.float32]) -> pa.Array:
    """NaN as null."""
    return pa.array(values, mask=np.isnan(values))


def _small(values: NDArray[np.int32]) -> pa.Array:
    """Negative as null."""
    return pa.array(values, mask=values < 0)


def _same(value: str | None, count: int) -> pa.Array:
    if value is None:
        return pa.nulls(count, pa.dictionary(pa.int32(), pa.string()))
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([value]))


def _coded(numbers: NDArray[np.integer[Any]], texts: Mapping[int, str | None]) -> pa.Array:
    """The text of each number; null where it has none."""
    present, codes = np.unique(numbers, return_inverse=True)
    own = [texts[number] for number in present.tolist()]
    known = {text: place for place, text in enumerate(dict.fromkeys(t for t in own if t is not None))}
    place = np.array([-1 if text is None else known[text] for text in own], np.int32)
    codes = place[codes.reshape(-1)]
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), pa.array(list(known), pa.string()))
