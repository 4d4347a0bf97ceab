"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and of how much."""


@runtime_checkable
class Tell(Protocol):
    """A `Progress` that may also be told how it goes, a loss or a rate."""

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        """Take in one step."""
        ...


def silent(what: str, done: int, total: int, note: str = "") -> None:
    """Tell nobody."""
