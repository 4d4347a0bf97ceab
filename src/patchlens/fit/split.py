"""Train, validation and held-out items, told apart by picture."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

from patchlens.errors import DataError

Side = Literal["train", "validation", "held_out"]
VALIDATION = 0.1
"""Share of the pictures not held out that choices are made on, where there is something to choose."""


def groups_of(keys: Sequence[Sequence[str]]) -> list[str]:
    """Name, for each item, the group it belongs to: items that share a picture, even through others.

    Args:
        keys: digests of each item's pictures, or of its text.
    """
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for own in keys:
        for key in own[1:]:
            first, second = sorted((root(own[0]), root(key)))
            parent[second] = first
    return [root(own[0]) for own in keys]


def split(groups: Sequence[str], held_out: float, seed: int, *, validation: bool) -> list[Side]:
    """Deal whole groups to the sides; neither their order nor how many items they have plays a part.

    Args:
        groups: group of each item.
        held_out: share of the groups to hold out, above 0 and below 1; at least one is.
        seed: another seed deals otherwise.
        validation: whether to set aside some of the rest, `VALIDATION` of it and at least one group.

    Raises:
        DataError: the share is out of range, or there are too few groups.
    """
    if not 0 < held_out < 1:
        raise DataError(f"the held-out share is {held_out:g}: choose one above 0 and below 1, such as 0.2")
    needed = 3 if validation else 2
    ranked = sorted(set(groups), key=lambda group: hashlib.sha256(f"{seed}:{group}".encode()).digest())
    if len(ranked) < needed:
        raise DataError(
            f"found {len(ranked)} different pictures or texts to fit on: at least {needed} are needed, some "
            "to fit on and some to hold out"
        )
    n_held = min(max(1, round(held_out * len(ranked))), len(ranked) - needed + 1)
    rest = len(ranked) - n_held
    n_validation = min(max(1, round(VALIDATION * rest)), rest - 1) if validation else 0
    sides: dict[str, Side] = dict.fromkeys(ranked, "train")
    sides |= dict.fromkeys(ranked[:n_held], "held_out")
    sides |= dict.fromkeys(ranked[n_held : n_held + n_validation], "validation")
    return [sides[group] for group in groups]
