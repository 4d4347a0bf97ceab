"""Arrays as bytes that deflate well, back-to-back in one stream; `viewer/src/reading/decode.ts` reads them.

Integers are byte planes, lowest first. Real numbers are 8-bit codes on a square-root scale, which keeps
the small values that matter for probabilities fine: within 0.4% of the largest value everywhere (0.8%
where values have a sign), far less near zero. Either may be stored as differences from the value
``stride`` places before. Tokens are told by their place among those that stand beside them.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MISSING: Final = 255
LARGEST: Final = 254
MIDDLE: Final = 127
ESCAPE: Final = 255

STREAM_HEAD: Final = b"\x78\xda"
LAST_BLOCK: Final = b"\x03\x00"

Spec = dict[str, Any]


class Block:
    """The arrays of a payload while they are gathered; each is described by a spec for the header."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._size = 0

    def integers(self, values: NDArray[np.integer[Any]], stride: int = 0) -> Spec:
        """Add integers below 2**31 in two's complement, as many byte planes as the largest needs."""
        numbers = np.ascontiguousarray(values, np.int32)
        largest = max(int(numbers.max()), ~int(numbers.min())) if numbers.size else 0
        stored = differences(numbers.view(np.uint32).ravel(), stride)
        planes = [(stored >> shift).astype(np.uint8) for shift in range(0, largest.bit_length() + 1, 8)]
        return self._add(planes, values.shape, "integer", stride, 0.0)

    def bytes(self, values: NDArray[np.uint8]) -> Spec:
        """Add unsigned bytes as they are."""
        return self._add([values.ravel()], values.shape, "byte", 0, 0.0)

    def reals(self, values: NDArray[np.floating[Any]], stride: int = 0) -> Spec:
        """Add real numbers as codes: of magnitudes, or signed ones if any is negative."""
        finite = values[np.isfinite(values)]
        scale = max(float(np.abs(finite).max()), 1e-6) if finite.size else 1.0
        signed = bool((finite < 0).any())
        codes = (signed_codes if signed else magnitude_codes)(values, scale)
        code = "signed" if signed else "magnitude"
        return self._add([differences(codes.ravel(), stride)], values.shape, code, stride, scale)

    def _add(
        self, planes: list[NDArray[np.uint8]], shape: tuple[int, ...], code: str, stride: int, scale: float
    ) -> Spec:
        offset = self._size
        self.parts += [plane.tobytes() for plane in planes]
        self._size += sum(plane.size for plane in planes)
        sizes = {"offset": offset, "shape": list(shape), "planes": len(planes)}
        return {"code": code, **sizes, "stride": stride, "scale": scale}


def magnitude_codes(values: NDArray[np.floating[Any]], scale: float) -> NDArray[np.uint8]:
    """8-bit codes of magnitudes; ``scale`` gets code 254, what is not finite 255 (missing)."""
    finite = np.isfinite(values)
    share = np.clip(np.where(finite, values, 0.0) / scale, 0.0, 1.0)
    return np.where(finite, np.rint(np.sqrt(share) * LARGEST), MISSING).astype(np.uint8)


def signed_codes(values: NDArray[np.floating[Any]], scale: float) -> NDArray[np.uint8]:
    """8-bit codes of numbers of either sign; 0 gets code 127, ``-scale`` 0, ``scale`` 254, missing 255."""
    finite = np.isfinite(values)
    share = np.clip(np.where(finite, values, 0.0) / scale, -1.0, 1.0)
    steps = np.rint(np.copysign(np.sqrt(np.abs(share)), share) * MIDDLE)
    return np.where(finite, MIDDLE + steps, MISSING).astype(np.uint8)


def differences(flat: NDArray[Any], stride: int) -> NDArray[Any]:
    """Each unsigned number less the one ``stride`` places before, wrapping round; as it is for stride 0."""
    return np.concatenate([flat[:stride], flat[stride:] - flat[:-stride]]) if stride else flat


def stride_of(shape: tuple[int, ...], axis: int) -> int:
    """How far apart neighbours along an axis stand in a row-major array."""
    return math.prod(shape[axis + 1 :])


def choose(tokens: NDArray[np.integer[Any]]) -> tuple[NDArray[np.uint8], NDArray[np.integer[Any]]]:
    """Tell tokens [layer, pos, k] by their place among candidates, and the others themselves.

    Candidates are the tokens of the layer before at the same position, then those of the cell before, each
    once, less those the cell already has. Lists change little from layer to layer, so mostly the next
    candidate is right: place 0.

    Returns:
        places [layer, pos, k], with 255 where the token is no candidate; those tokens, in the same order.
    """
    choices = np.empty(tokens.shape, np.uint8)
    above = np.full(tokens.shape[1:], -1, np.int64)
    for layer, now in enumerate(tokens.astype(np.int64)):
        before = np.concatenate([above[-1:], now[:-1]])
        choices[layer] = _places(now, _each_once(np.concatenate([above, before], 1)))
        above = now
    return choices, tokens[choices == ESCAPE]


def _each_once(candidates: NDArray[np.int64]) -> NDArray[np.int64]:
    for j in range(1, candidates.shape[1]):
        again = (candidates[:, :j] == candidates[:, j : j + 1]).any(1)
        candidates[again, j] = -1
    return candidates


def _places(tokens: NDArray[np.int64], candidates: NDArray[np.int64]) -> NDArray[np.uint8]:
    free = candidates >= 0
    places = np.empty(tokens.shape, np.uint8)
    for rank, token in enumerate(tokens.T):
        match = free & (candidates == token[:, None])
        place = (free & (np.cumsum(match, 1) == 0)).sum(1)
        told = match.any(1) & (place < ESCAPE)
        places[:, rank] = np.where(told, place, ESCAPE)
        free &= ~(match & told[:, None])
    return places


def deflate(parts: Iterable[bytes]) -> bytes:
    """One zlib stream (RFC 1950) of all parts, each deflated the way that suits it.

    Codes are noise with a skewed histogram, where repeats found by chance cost more than they save:
    Huffman codes alone are up to 15% smaller there.
    """
    stream = bytearray(STREAM_HEAD)
    checksum = zlib.adler32(b"")
    for part in parts:
        ways = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY)
        stream += min((_blocks(part, way) for way in ways), key=len)
        checksum = zlib.adler32(part, checksum)
    return bytes(stream + LAST_BLOCK + struct.pack(">I", checksum))


def _blocks(data: bytes, strategy: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, strategy)
    return packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)
