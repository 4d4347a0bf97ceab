"""Pack a reading into the text block that the page unpacks: header, then byte planes, deflated, in base64.

Tokens are numbered by frequency, so that high bytes are mostly zero; log-probabilities, entropies and
divergences (all in nats) become 8-bit codes on a square-root scale, which keeps the small values that
matter for probabilities fine: within 0.4% of the largest value everywhere, far less near zero.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from patchlens.axes import PositionKind
from patchlens.grid import Places
from patchlens.reading import Reading
from patchlens.views.pictures import data_url

FORMAT: Final = 1
KINDS: Final = (PositionKind.TEXT, PositionKind.PATCH, PositionKind.IMAGE_OTHER, PositionKind.SPECIAL)
MISSING: Final = 255
LARGEST: Final = 254


@dataclass(frozen=True)
class TokenTable:
    """Ids in order of falling frequency, and the place of each id in it."""

    ids: tuple[int, ...]
    place: Mapping[int, int]

    def places(self, ids: NDArray[np.integer[Any]]) -> NDArray[np.uint32]:
        """Replace token ids by their places in the table."""
        known, inverse = np.unique(ids, return_inverse=True)
        places = np.array([self.place[int(i)] for i in known], np.uint32)
        return places[inverse].reshape(ids.shape) if known.size else np.zeros(ids.shape, np.uint32)


def token_table(reading: Reading) -> TokenTable:
    """Number the reading's tokens by how often they stand in a top-k, ties by id."""
    ids, counts = np.unique(reading.top_ids, return_counts=True)
    often = dict(zip(ids.tolist(), counts.tolist(), strict=True))
    ordered = sorted(reading.pieces, key=lambda i: (-often.get(i, 0), i))
    return TokenTable(tuple(ordered), {token: place for place, token in enumerate(ordered)})


def pack(reading: Reading) -> str:
    """The whole reading as base64 text: ``zlib(length of header | header as JSON | planes)``."""
    table = token_table(reading)
    body = bytearray()
    arrays = {
        "top_tokens": _integers(body, np.moveaxis(table.places(reading.top_ids), 2, 0)),
        "top_logprobs": _codes(body, -np.moveaxis(reading.top_logprobs, 2, 0)),
        "entropy": _codes(body, reading.entropy),
        "kl_to_final": _codes(body, reading.kl_to_final),
        "target_logprobs": _codes(body, -np.moveaxis(reading.target_logprobs, 2, 0)),
        "target_ranks": _integers(body, np.moveaxis(reading.target_ranks, 2, 0).astype(np.uint32)),
    }
    head = json.dumps(_header(reading, table) | {"arrays": arrays}, separators=(",", ":"), allow_nan=False)
    encoded = head.encode("ascii")
    packed = zlib.compress(struct.pack("<I", len(encoded)) + encoded + bytes(body), 9)
    return base64.b64encode(packed).decode("ascii")


def encode_codes(values: NDArray[np.floating[Any]], scale: float) -> NDArray[np.uint8]:
    """8-bit codes of magnitudes; ``scale`` gets code 254, what is not finite 255 (missing)."""
    finite = np.isfinite(values)
    share = np.clip(np.where(finite, values, 0.0) / scale, 0.0, 1.0)
    return np.where(finite, np.rint(np.sqrt(share) * LARGEST), MISSING).astype(np.uint8)


def _codes(body: bytearray, values: NDArray[np.floating[Any]]) -> dict[str, Any]:
    finite = values[np.isfinite(values)]
    scale = max(float(finite.max()), 1e-6) if finite.size else 1.0
    spec = {"offset": len(body), "shape": list(values.shape), "planes": 0, "scale": scale}
    body += encode_codes(values, scale).tobytes()
    return spec


def _integers(body: bytearray, values: NDArray[np.uint32]) -> dict[str, Any]:
    largest = int(values.max()) if values.size else 0
    planes = max(1, (largest.bit_length() + 7) // 8)
    spec = {"offset": len(body), "shape": list(values.shape), "planes": planes, "scale": 0}
    for plane in range(planes):
        body += (values >> (8 * plane) & 0xFF).astype(np.uint8).tobytes()
    return spec


def _header(reading: Reading, table: TokenTable) -> dict[str, Any]:
    p = reading.positions
    return {
        "format": FORMAT,
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
        "token_ids": list(table.ids),
        "positions": _places(p)
        | {
            "index": p.index.tolist(),
            "token": table.places(p.token).tolist(),
            "step": p.step.tolist(),
            "generated": p.generated.astype(int).tolist(),
        },
        "vision": None if reading.vision is None else _places(reading.vision),
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


def _places(places: Places) -> dict[str, list[Any]]:
    return {
        "kind": [KINDS.index(PositionKind(str(kind))) for kind in places.kind],
        "image": places.image.tolist(),
        "tile": places.tile.tolist(),
        "row": places.row.tolist(),
        "col": places.col.tolist(),
        "box": list(_numbers(places.box)),
    }


def _numbers(values: NDArray[np.float32]) -> Iterable[float | None]:
    for value in values.ravel().tolist():
        yield round(value, 2) if np.isfinite(value) else None
