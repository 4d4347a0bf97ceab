"""A bank of contextual text states: words in sentences, as a model holds them at several layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from patchlens.errors import FormatError
from patchlens.lens.similar import TokenBank

_FACTS: Final[Mapping[str, type]] = {"model": str, "seed": int, "per_type": int}


@dataclass(frozen=True, eq=False)
class Bank(TokenBank):
    """States of words in sentences; one source per layer, the same words at each.

    Attributes:
        states: unit vectors ``[source, n, d_model]``, residual states before the final norm.
        tokens: id of each word ``[n]``, ascending.
        positions: place of each word among the tokens of its sentence, special tokens counted.
        sentence_rows: which of ``sentences`` each word stands in.
        layers: the layer of each source.
        sentences: the texts.
        pieces: how each id is written.
        model: name of the model whose states these are.
        seed: of the choice of words.
        per_type: how many states a token has at most in a layer.
    """

    positions: Int[Tensor, " n"] = field(repr=False)
    sentence_rows: Int[Tensor, " n"] = field(repr=False)
    layers: tuple[int, ...]
    sentences: tuple[str, ...] = field(repr=False)
    pieces: Mapping[int, str] = field(repr=False)
    model: str
    seed: int
    per_type: int

    def facts(self) -> dict[str, str | int]:
        """Where the states come from, as JSON values."""
        return {name: getattr(self, name) for name in _FACTS}

    def to_arrays(self) -> dict[str, Tensor]:
        """Return everything but `facts` by name; `from_arrays` takes it back."""
        ids = sorted(self.pieces)
        arrays = {
            "states": self.states,
            "tokens": self.tokens,
            "positions": self.positions,
            "sentence_rows": self.sentence_rows,
            "layers": torch.tensor(self.layers),
            "piece.ids": torch.tensor(ids),
        }
        for name, strings in (("sentence", self.sentences), ("piece", [self.pieces[i] for i in ids])):
            arrays[f"{name}.bytes"], arrays[f"{name}.ends"] = packed(strings)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Bank:
        """Put a bank together from `to_arrays` and `facts`.

        Raises:
            FormatError: something is missing, of another shape, out of range or not finite.
        """
        try:
            bank = cls(
                **{name: arrays[name] for name in ("states", "tokens", "positions", "sentence_rows")},
                layers=tuple(arrays["layers"].tolist()),
                sentences=unpacked(arrays["sentence.bytes"], arrays["sentence.ends"]),
                pieces=dict(
                    zip(
                        arrays["piece.ids"].tolist(),
                        unpacked(arrays["piece.bytes"], arrays["piece.ends"]),
                        strict=True,
                    )
                ),
                **{name: kind(facts[name]) for name, kind in _FACTS.items()},
            )
            _check(bank)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise FormatError(f"a bank of text states is not as specified ({error!r:.150})") from error
        return bank


def packed(strings: Sequence[str]) -> tuple[UInt8[Tensor, " bytes"], Int[Tensor, " n"]]:
    """Strings as UTF-8 bytes one after the other, and where each ends."""
    data = [string.encode() for string in strings]
    ends = np.cumsum([len(one) for one in data], dtype=np.int64)
    return torch.from_numpy(np.frombuffer(b"".join(data), np.uint8).copy()), torch.from_numpy(ends)


def unpacked(data: UInt8[Tensor, " bytes"], ends: Int[Tensor, " n"]) -> tuple[str, ...]:
    """Strings back from `packed`.

    Raises:
        ValueError: the bytes are not UTF-8, or the ends do not fit them.
    """
    whole, stops = data.cpu().numpy().tobytes(), ends.tolist()
    starts = [0, *stops[:-1]]
    if stops != sorted(stops) or (stops or [0])[-1] != len(whole) or min(stops, default=0) < 0:
        raise ValueError("the ends of the texts do not fit their bytes")
    return tuple(whole[start:stop].decode() for start, stop in zip(starts, stops, strict=True))


def _check(bank: Bank) -> None:
    if bank.states.ndim != 3 or not bank.states.is_floating_point():
        raise ValueError(f"states are {bank.states.dtype} of shape {tuple(bank.states.shape)}")
    sources, n, _ = bank.states.shape
    columns = (bank.tokens, bank.positions, bank.sentence_rows)
    if len(bank.layers) != sources or any(tuple(column.shape) != (n,) for column in columns):
        raise ValueError(f"the columns do not fit {sources} layers of {n} states")
    if any(column.is_floating_point() or bool((column < 0).any()) for column in columns):
        raise ValueError("a token, position or sentence is no number from 0")
    if not n or bool((bank.tokens.diff() < 0).any()) or bank.layers != tuple(sorted(set(bank.layers))):
        raise ValueError("there is no state, or tokens and layers do not rise")
    if int(bank.sentence_rows.max()) >= len(bank.sentences):
        raise ValueError("a word stands in a sentence that is not there")
    if not set(bank.tokens.unique().tolist()) <= bank.pieces.keys():
        raise ValueError("a token has no piece")
    if not torch.isfinite(bank.states).all():
        raise ValueError("a state is not finite")
