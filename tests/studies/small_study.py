"""Small studies on a bundled model, and their content in a form that can be compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from patchlens.studies.schema import TABLES


def write_spec(path: Path, **content: Any) -> Path:
    """A spec as JSON: the bundled demo model and the logit lens where nothing else is said."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"models": ["demo"], "lenses": ["logit"], **content}))
    return path


def noise_picture(path: Path, seed: int = 0, size: tuple[int, int] = (28, 28)) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def content(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Every row of every part of every table, by the part's place, row for row."""
    return {
        str(path.relative_to(folder)): pq.read_table(path, partitioning=None).to_pylist()
        for table in TABLES
        for path in sorted((folder / table.name).rglob("*.parquet"))
    }


def rows(folder: Path, table: str) -> pa.Table:
    """All rows of a table."""
    return pq.read_table(folder / table)


def leftovers(folder: Path) -> list[Path]:
    """Files that were begun and not finished."""
    return list(folder.rglob("*.part"))
