"""Reading a packed reading back by the plainest means, for the tests of what the page is given."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from views.markup import Outline

Spec = dict[str, Any]


def unpack(text: str) -> tuple[dict[str, Any], bytes]:
    """Header and body of the only reading of a page."""
    return split(Outline(text).blocks["reading"])


def split(packed: str) -> tuple[dict[str, Any], bytes]:
    """Header and body of a packed reading."""
    raw = inflated(packed)
    (length,) = struct.unpack_from("<I", raw)
    return json.loads(raw[4 : 4 + length]), raw[4 + length :]


def inflated(packed: str) -> bytes:
    return zlib.decompress(base64.b64decode(packed, validate=True))


def integers(body: bytes, spec: Spec) -> NDArray[np.int64]:
    assert spec["code"] == "integer"
    planes, span = _planes(body, spec), 256 ** spec["planes"]
    numbers = sum(plane.astype(np.int64) * 256**i for i, plane in enumerate(planes))
    numbers = _added_up(numbers, spec["stride"]) % span
    return np.where(numbers < span // 2, numbers, numbers - span).reshape(spec["shape"])


def octets(body: bytes, spec: Spec) -> NDArray[np.int64]:
    (plane,) = _planes(body, spec)
    return (_added_up(plane.astype(np.int64), spec["stride"]) % 256).reshape(spec["shape"])


def reals(body: bytes, spec: Spec) -> NDArray[np.float64]:
    codes = octets(body, spec)
    if spec["code"] == "signed":
        numbers = np.sign(codes - 127) * ((codes - 127) / 127.0) ** 2
    else:
        assert spec["code"] == "magnitude"
        numbers = (codes / 254.0) ** 2
    return np.where(codes == 255, np.nan, numbers * spec["scale"])


def tokens(body: bytes, arrays: dict[str, Spec]) -> NDArray[np.int64]:
    """Places in the token table [layer, pos, k]."""
    choices = np.moveaxis(octets(body, arrays["top_choices"]), 0, 2)
    escapes = iter(integers(body, arrays["top_escapes"]).tolist())
    positions = choices.shape[1]
    cells: list[list[int]] = []
    for chosen in choices.reshape(-1, choices.shape[2]):
        beside = [cells[-back] for back in (positions, 1) if len(cells) >= back]
        candidates = list(dict.fromkeys(chain.from_iterable(beside)))
        cells.append([next(escapes) if choice == 255 else candidates.pop(choice) for choice in chosen])
    assert next(escapes, None) is None
    return np.array(cells).reshape(choices.shape)


def boxes(body: bytes, spec: Spec) -> NDArray[np.float64]:
    parts = integers(body, spec)
    return np.where(parts == -1, np.nan, parts / 100)


def _planes(body: bytes, spec: Spec) -> NDArray[np.uint8]:
    size = int(np.prod(spec["shape"]))
    planes = np.frombuffer(body, np.uint8, size * spec["planes"], spec["offset"])
    return planes.reshape(spec["planes"], size)


def _added_up(flat: NDArray[np.int64], stride: int) -> NDArray[np.int64]:
    return flat.reshape(-1, stride).cumsum(0).ravel() if stride and flat.size else flat
