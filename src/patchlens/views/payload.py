"""Pack a reading into the text block that the page unpacks: header, then arrays, deflated, in base64."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from patchlens.axes import LAYER, PositionKind
from patchlens.pictures.grid import Places
from patchlens.reading.reading import Reading
from patchlens.reading.records import Channel
from patchlens.views.coding import Block, Spec, choose, deflate, stride_of
from patchlens.views.pictures import data_url

FORMAT: Final = 2
KINDS: Final = (PositionKind.TEXT, PositionKind.PATCH, PositionKind.IMAGE_OTHER, PositionKind.SPECIAL)
NO_BOX: Final = -1
PIXEL_PARTS: Final = 100


@dataclass(frozen=True)
class TokenTable:
    """Ids in order of falling frequency, and the place of each id in it."""

    ids: tuple[int, ...]
    place: Mapping[int, int]

    def places(self, ids: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        """Replace token ids by their places in the table, -1 for one that is not there."""
        known, inverse = np.unique(ids, return_inverse=True)
        places = np.array([self.place.get(int(i), -1) for i in known], np.int32)
        return places[inverse].reshape(ids.shape)


def token_table(reading: Reading) -> TokenTable:
    """Number the reading's tokens by how often they stand in a top-k, ties by id."""
    ids, counts = np.unique(reading.top_ids, return_counts=True)
    often = dict(zip(ids.tolist(), counts.tolist(), strict=True))
    ordered = sorted(reading.pieces, key=lambda i: (-often.get(i, 0), i))
    return TokenTable(tuple(ordered), {token: place for place, token in enumerate(ordered)})


def pack(reading: Reading) -> str:
    """The whole reading as base64 text: ``zlib(length of header | header as JSON | arrays)``."""
    table = token_table(reading)
    block = Block()
    header = {"format": FORMAT, **_facts(reading, table), **_columns(block, reading, table)}
    header["arrays"] = _arrays(block, reading, table)
    header["channels"] = [_channel(block, channel) for channel in reading.channels]
    encoded = json.dumps(header, separators=(",", ":"), allow_nan=False).encode("ascii")
    packed = deflate([struct.pack("<I", len(encoded)) + encoded, *block.parts])
    return base64.b64encode(packed).decode("ascii")


def _arrays(block: Block, reading: Reading, table: TokenTable) -> dict[str, Spec]:
    """What is known of every cell, [rank or target, layer, pos]; log-probabilities without their minus."""
    choices, escapes = choose(table.places(reading.top_ids))
    layers, positions = reading.entropy.shape
    return {
        "top_choices": block.bytes(np.moveaxis(choices, 2, 0)),
        "top_escapes": block.integers(escapes),
        "top_logprobs": block.reals(-np.moveaxis(reading.top_logprobs, 2, 0), stride=layers * positions),
        "entropy": block.reals(reading.entropy, stride=positions),
        "kl_to_final": block.reals(reading.kl_to_final, stride=positions),
        "target_logprobs": block.reals(-np.moveaxis(reading.target_logprobs, 2, 0), stride=positions),
        "target_ranks": block.integers(np.moveaxis(reading.target_ranks, 2, 0)),
    }


def _channel(block: Block, channel: Channel) -> dict[str, Any]:
    values = channel.values.astype(np.float64)
    stride = stride_of(values.shape, channel.axes.index(LAYER)) if LAYER in channel.axes else 0
    return {
        "name": channel.name,
        "axes": list(channel.axes),
        "unit": channel.unit,
        "description": channel.description,
        "array": block.reals(values, stride),
    }


def _columns(block: Block, reading: Reading, table: TokenTable) -> dict[str, Any]:
    p = reading.positions
    generated = p.generated.astype(np.int32)
    own = {"index": p.index, "token": table.places(p.token), "step": p.step, "generated": generated}
    return {
        "token_ids": block.integers(np.array(table.ids, np.int32), stride=1),
        "positions": _places(block, p) | {name: block.integers(own[name], stride=1) for name in own},
        "vision": None if reading.vision is None else _places(block, reading.vision),
    }


def _places(block: Block, places: Places) -> dict[str, Spec]:
    kind = np.array([KINDS.index(PositionKind(str(kind))) for kind in places.kind], np.int32)
    columns = (kind, places.image, places.tile, places.row, places.col)
    names = ("kind", "image", "tile", "row", "col")
    parts = np.clip(np.rint(places.box * PIXEL_PARTS), 0, None)
    box = np.where(np.isfinite(places.box), parts, NO_BOX)
    return {
        **{name: block.integers(column, stride=1) for name, column in zip(names, columns, strict=True)},
        "box": block.integers(box.astype(np.int32), stride=4),
    }


def _facts(reading: Reading, table: TokenTable) -> dict[str, Any]:
    return {
        "model": {
            "name": reading.model.name,
            "revision": reading.model.revision or "",
            "family": reading.model.family,
            "dtype": reading.model.dtype,
            "n_layers": reading.model.n_layers,
        },
        "lens": reading.lens,
        "prompt": reading.prompt,
        "answer": {"text": reading.answer.text, "tokens": [table.place[i] for i in reading.answer.ids]},
        "notes": list(reading.notes),
        "layers": reading.layers.tolist(),
        "tokens": [reading.pieces[i] for i in table.ids],
        "pictures": [
            {
                "name": picture.name,
                "width": picture.grid.width,
                "height": picture.grid.height,
                "rows": picture.grid.rows,
                "cols": picture.grid.cols,
                "src": data_url(picture),
            }
            for picture in reading.pictures
        ],
        "targets": [
            {"word": target.word, "token": table.place[target.token], "whole": target.is_whole}
            for target in reading.targets
        ],
    }
