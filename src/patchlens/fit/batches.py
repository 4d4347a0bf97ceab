"""Passes over stored states, as they are or with the answers of other pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from patchlens.fit.states import StateBatch, StateStore


@dataclass(frozen=True)
class Batches:
    """The states of some items, one batch each, read when asked for.

    With ``answers_of`` only answer positions are given, and their final states are those of another item's
    answer positions, in the order of the answer (repeated where it is shorter).
    """

    store: StateStore
    indices: tuple[int, ...]
    answers_of: Mapping[int, int] | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int) -> StateBatch:
        index = self.indices[number]
        batch = self.store.batch(index)
        if self.answers_of is None:
            return batch
        own, other = (b.of_kind("answer") for b in (batch, self.store.batch(self.answers_of[index])))
        turns = torch.arange(len(own.final)) % len(other.final)
        return StateBatch(own.resid, other.final[turns], own.kinds)

    def __iter__(self) -> Iterator[StateBatch]:
        return (self[number] for number in range(len(self)))


def strangers(indices: Sequence[int], groups: Sequence[int], seed: int) -> dict[int, int]:
    """Give each item an item of another group, its answers to be swapped for the other's.

    Args:
        indices: items with answer positions.
        groups: group of each item of the whole data, by index.
        seed: another seed pairs otherwise.

    Returns:
        A partner for each index; empty if there are not two groups.
    """
    members: dict[int, list[int]] = {}
    for index in indices:
        members.setdefault(groups[index], []).append(index)
    order = sorted(members)
    np.random.default_rng(seed).shuffle(order)
    if len(order) < 2:
        return {}
    return {
        index: members[other][number % len(members[other])]
        for own, other in zip(order, [*order[1:], order[0]], strict=True)
        for number, index in enumerate(members[own])
    }
