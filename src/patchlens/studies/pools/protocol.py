"""What every pool of workers does. A worker that dies takes nothing with it but the task it was at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from patchlens.errors import StudyError
from patchlens.studies.work.task import About, Done, Task

MOST_DEATHS: Final = 100
"""Deaths of workers after which something else is wrong than single items."""


@dataclass(frozen=True)
class Lost:
    """The worker died at this task; ``reason`` says what is known of how."""

    reason: str


class Pool(AbstractContextManager["Pool"], Protocol):
    """Workers that hold the same model and lenses."""

    @property
    def about(self) -> About:
        """What they found their model and lenses to be."""
        ...

    def results(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Done | Lost]]:
        """Give every task to a worker; what comes back comes in any order."""
        ...


def count_death(deaths: int, reason: str) -> int:
    """One more death.

    Raises:
        StudyError: there were too many to go on.
    """
    if deaths >= MOST_DEATHS:
        raise StudyError(f"{MOST_DEATHS} workers died, the last one: {reason}; what is done so far is kept")
    return deaths + 1
