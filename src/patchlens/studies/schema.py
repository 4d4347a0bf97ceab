"""The tables of a study's dataset, column by column; docs/format.md says the same in words.

Every table is hive-partitioned: what stands in a folder's name (``model=demo``) is a column that the files do
not repeat. Null is "not known" or "does not apply", never a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa

from patchlens.axes import CLASSES

MODEL: Final = "model"
LENS: Final = "lens"

_TEXT: Final = pa.string()
_WORD: Final = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True)
class DatasetTable:
    """One table: its name, the columns its folders are named for, and those in its files."""

    name: str
    partitions: tuple[str, ...]
    schema: pa.Schema

    def files(self, folder: Path) -> list[Path]:
        """Its files in a study's folder, in order."""
        pattern = "/".join([*(f"{key}=*" for key in self.partitions), "*.parquet"])
        return sorted((folder / self.name).glob(pattern))


def _place() -> list[pa.Field]:
    """Columns that say which cell of a reading a row is about."""
    return [
        pa.field("item", _WORD, nullable=False),
        pa.field("group", _WORD),
        pa.field("layer", pa.int16(), nullable=False),
        pa.field("position", pa.int32()),
        pa.field("kind", _WORD, nullable=False),
        pa.field("step", pa.int16()),
        pa.field("image", pa.int16()),
        pa.field("tile", pa.int16()),
        pa.field("row", pa.int16()),
        pa.field("col", pa.int16()),
    ]


ITEMS: Final = DatasetTable(
    "items",
    (MODEL,),
    pa.schema(
        [
            pa.field("item", _TEXT, nullable=False),
            pa.field("number", pa.int32(), nullable=False),
            pa.field("group", _TEXT),
            pa.field("prompt", _TEXT, nullable=False),
            pa.field("pictures", pa.list_(_TEXT), nullable=False),
            pa.field("digests", pa.list_(_TEXT), nullable=False),
            pa.field("expected", pa.list_(_TEXT), nullable=False),
            pa.field("answer", _TEXT),
            pa.field("answer_ids", pa.list_(pa.int32())),
            pa.field("answer_pieces", pa.list_(_TEXT)),
            pa.field("right", pa.bool_()),
            pa.field("positions", pa.int32()),
            pa.field("patches", pa.int32()),
            pa.field("notes", pa.list_(_TEXT)),
            pa.field("error", _TEXT),
        ]
    ),
)
"""One row per model and item, done or failed."""

CELLS: Final = DatasetTable(
    "cells",
    (MODEL, LENS),
    pa.schema(
        [
            *_place(),
            pa.field("token", pa.int32(), nullable=False),
            pa.field("piece", _WORD, nullable=False),
            pa.field("top_ids", pa.list_(pa.int32()), nullable=False),
            pa.field("top_pieces", pa.list_(_WORD), nullable=False),
            pa.field("top_logprobs", pa.list_(pa.float32()), nullable=False),
            pa.field("language", _WORD),
            pa.field("entropy", pa.float32(), nullable=False),
            pa.field("kl_to_final", pa.float32(), nullable=False),
            pa.field("logsumexp", pa.float32(), nullable=False),
            pa.field("answer_logprob", pa.float32()),
            pa.field("answer_rank", pa.int32()),
            *(pa.field(f"attention_{name}", pa.float32()) for name in CLASSES),
            pa.field("contribution", pa.float32()),
            pa.field("attention", pa.float32()),
            pa.field("contextual", pa.float32()),
        ]
    ),
)
"""One row per model, lens, item, layer and position."""

TARGETS: Final = DatasetTable(
    "targets",
    (MODEL, LENS),
    pa.schema(
        [
            *_place(),
            pa.field("source", _WORD, nullable=False),
            pa.field("concept", _WORD),
            pa.field("language", _WORD),
            pa.field("word", _WORD, nullable=False),
            pa.field("token", pa.int32(), nullable=False),
            pa.field("piece", _WORD, nullable=False),
            pa.field("whole", pa.bool_(), nullable=False),
            pa.field("logprob", pa.float32(), nullable=False),
            pa.field("rank", pa.int32(), nullable=False),
            pa.field("rank_upper", pa.int32(), nullable=False),
        ]
    ),
)
"""One row per cell and word followed: the answer's first word, expected words, forms of concepts."""

EFFECTS: Final = DatasetTable(
    "effects",
    (MODEL, LENS),
    pa.schema(
        [
            pa.field("item", _WORD, nullable=False),
            pa.field("group", _WORD),
            pa.field("change", _WORD, nullable=False),
            pa.field("layer", pa.int16()),
            pa.field("patches", pa.int32(), nullable=False),
            pa.field("effect", pa.float32(), nullable=False),
            pa.field("control", pa.float32()),
            pa.field("draws", pa.int32(), nullable=False),
        ]
    ),
)
"""One row per model, lens, item and intervention: change of the answer's log-probability, and its control."""

TABLES: Final = (ITEMS, CELLS, TARGETS, EFFECTS)
