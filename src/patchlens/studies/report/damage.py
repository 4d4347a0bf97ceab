"""Which file of a study's dataset is damaged, and what to do about it."""

from __future__ import annotations

from pathlib import Path


def damage(folder: Path) -> str | None:
    """The first file of a dataset that cannot be read through, and the remedy; None where all can be.

    Reads every file whole, row group by row group.
    """
    from patchlens.studies.schema import ITEMS, MODEL, TABLES

    for table in TABLES:
        for path in table.files(folder):
            if fault := _fault(path):
                model = path.relative_to(folder).parts[1 + table.partitions.index(MODEL)]
                closing = folder / ITEMS.name / model / path.name
                files = "it" if path == closing else f"it and {closing}"
                return f"{path} is damaged ({fault}): remove {files}, then run patchlens study again"
    return None


def _fault(path: Path) -> str | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for number in range(file.num_row_groups):
                file.read_row_group(number)
    except (OSError, pa.ArrowException) as error:
        return str(error).splitlines()[0].rstrip(".")
    return None
