"""What items gave, put together as the rows of a part."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from patchlens.errors import PatchlensError
from patchlens.studies.schema import ITEMS, DatasetTable
from patchlens.studies.work.task import Done, Job

_NO_MEMORY = re.compile("OutOfMemory|can.t allocate memory|out of memory")


@dataclass(frozen=True)
class Seen:
    """What one item gave: its row of ``items``, and by lens its tables and the reading's file."""

    row: dict[str, object]
    tables: Mapping[str, Mapping[str, pa.Table]] = field(default_factory=dict[str, Mapping[str, pa.Table]])
    readings: Mapping[str, bytes] = field(default_factory=dict[str, bytes])


def asked_for(job: Job) -> dict[str, object]:
    """The columns of an item's row that are known before it is read."""
    item = job.item
    return {
        "item": item.name,
        "number": job.number,
        "group": item.group,
        "prompt": item.prompt,
        "pictures": [picture.name for picture in job.pictures],
        "digests": [picture.digest for picture in job.pictures],
        "expected": list(item.expected),
    }


def failed_item(job: Job, error: Exception) -> Seen:
    """An item that gave nothing but the reason."""
    return Seen({**asked_for(job), "error": _reason(error)})


def _reason(error: Exception) -> str:
    told = " ".join(str(error).split())
    if isinstance(error, PatchlensError):
        return told
    if isinstance(error, MemoryError) or _NO_MEMORY.search(f"{type(error).__name__} {told}"):
        return f"out of memory: {told}" if told else "out of memory"
    return f"{type(error).__name__}: {told}"


def failed_rows(jobs: Sequence[Job], reason: str) -> Done:
    """What is left of items that no worker came back from."""
    return gathered([Seen({**asked_for(job), "error": reason}) for job in jobs])


def gathered(seen: Sequence[Seen], lenses: Iterable[str] = (), tables: Iterable[DatasetTable] = ()) -> Done:
    """Rows of all items in their order; every lens has every table, empty where no item gave rows."""
    items = pa.Table.from_pylist([one.row for one in seen], schema=ITEMS.schema)
    kinds = tuple(tables)
    by_lens = {
        lens: {
            table.name: pa.concat_tables(
                [
                    table.schema.empty_table(),
                    *(one.tables[lens][table.name] for one in seen if lens in one.tables),
                ]
            )
            for table in kinds
        }
        for lens in lenses
    }
    readings = {(lens, str(one.row["item"])): data for one in seen for lens, data in one.readings.items()}
    return Done(items, by_lens, readings)
