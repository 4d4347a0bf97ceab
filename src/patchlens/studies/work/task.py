"""What goes to a worker and what comes back; both travel between processes and machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from patchlens.data.item import Item, ShippedPicture
from patchlens.studies.recipe.settings import Settings
from patchlens.studies.recipe.study import LensSpec, ModelSpec


@dataclass(frozen=True)
class Job:
    """One item to be read: its number among all, its pictures, or why it has none."""

    number: int
    item: Item
    pictures: tuple[ShippedPicture, ...] = field(default=(), repr=False)
    error: str | None = None


@dataclass(frozen=True)
class Task:
    """Items of one part; those that are alike go through the model together."""

    part: int
    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class Done:
    """Rows of a task's items: ``items``, every item once, done or failed, and the others by lens.

    ``readings`` are files by lens and item.
    """

    items: pa.Table
    by_lens: Mapping[str, Mapping[str, pa.Table]] = field(repr=False)
    readings: Mapping[tuple[str, str], bytes] = field(
        default_factory=dict[tuple[str, str], bytes], repr=False
    )


@dataclass(frozen=True)
class Bench:
    """What a worker is set up with: one model and its lenses; ``tasks`` is how many there are to do."""

    model: ModelSpec
    lenses: tuple[LensSpec, ...]
    settings: Settings
    tasks: int = 1


@dataclass(frozen=True)
class About:
    """What a worker found its model and lenses to be; another answer means another study.

    ``lenses`` and ``dictionary`` name content; ``left_out`` are lenses that are not for this model, with the
    reason.
    """

    model: Mapping[str, Any]
    lenses: Mapping[str, str]
    left_out: Mapping[str, str]
    dictionary: str
