"""One worker, in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from patchlens.studies.pools.protocol import Lost, Pool
from patchlens.studies.work.task import About, Bench, Done, Task
from patchlens.studies.work.worker import Worker


class Here(Pool):
    """Does everything itself; dies with whatever kills a worker."""

    def __init__(self, bench: Bench) -> None:
        self._worker = Worker(bench)

    @property
    def about(self) -> About:
        """What it found its model and lenses to be."""
        return self._worker.about

    def results(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Done | Lost]]:
        """One after another, in order."""
        for task in tasks:
            yield task, self._worker.run(task)

    def __exit__(self, *_: object) -> None:
        """There is nothing to put away."""
