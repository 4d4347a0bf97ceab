"""Workers as actors of a Ray cluster (extra "ray"); pictures travel with tasks, so no disk is shared."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from typing import Any, Final, cast

from patchlens.errors import MissingExtraError, PatchlensError, StudyError
from patchlens.studies.pools.protocol import Lost, Pool, count_death
from patchlens.studies.work.task import About, Bench, Done, Task

LOCAL: Final = "local"
REACHED_WITHIN: Final = 10.0
"""Seconds."""


class OnRay(Pool):
    """As many actors as asked for, each with the model of its own; patchlens must be installed on all nodes.

    A model that is put on devices (``device_map``) asks for one GPU per actor where the cluster has any.

    Args:
        bench: what they are set up with.
        count: how many.
        address: of the cluster, as ``ray.init`` takes it; "local" starts one on this machine, which ends with
            the study.

    Raises:
        MissingExtraError: Ray is not installed.
        StudyError: the cluster cannot be reached, or an actor died before it had its model.
        PatchlensError: whatever keeps an actor from loading its model or lenses.
    """

    def __init__(self, bench: Bench, count: int, address: str) -> None:
        self._ray = _joined(address)
        self._bench = bench
        self._deaths = 0
        self.at_work: dict[Any, tuple[int, Task]] = {}
        wants_gpu = bench.model.device_map is not None and self._ray.cluster_resources().get("GPU", 0) > 0
        self._kind = self._ray.remote(num_cpus=1, num_gpus=int(wants_gpu))(_Actor)
        try:
            self._actors = [self._kind.remote(bench) for _ in range(min(count, bench.tasks))]
            found = [self._found(actor) for actor in self._actors]
            self._about = found[0]
        except BaseException:
            self.__exit__()
            raise

    @property
    def about(self) -> About:
        """What they found their model and lenses to be."""
        return self._about

    def results(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Done | Lost]]:
        """An actor that comes back gets its next task before what it brought is passed on."""
        queue = iter(tasks)
        at = self.at_work = {}

        def give(number: int) -> None:
            task = next(queue, None)
            if task is not None:
                at[self._actors[number].run.remote(task)] = (number, task)

        for number in range(len(self._actors)):
            give(number)
        while at:
            ready, _ = self._ray.wait(list(at), num_returns=1)
            for reference in ready:
                number, task = at.pop(reference)
                came = self._came(reference)
                if isinstance(came, Lost):
                    self._replace(number, came.reason)
                give(number)
                yield task, came

    def _came(self, reference: Any) -> Done | Lost:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError:
            raise
        except self._ray.exceptions.RayError as error:
            return Lost(f"the worker died: {' '.join(str(error).split())[:200]}")

    def _replace(self, number: int, reason: str) -> None:
        self._deaths = count_death(self._deaths, reason)
        self._actors[number] = self._kind.remote(self._bench)
        self._found(self._actors[number])

    def _found(self, actor: Any) -> About:
        try:
            found: About | PatchlensError = self._ray.get(actor.about.remote())
        except self._ray.exceptions.RayError as error:
            told = " ".join(str(error).split())[:300]
            raise StudyError(f"a Ray worker did not come to have its model: {told}") from None
        if isinstance(found, PatchlensError):
            raise found
        return found

    def __exit__(self, *_: object) -> None:
        """Leave the cluster; one that was started here ends."""
        self._ray.shutdown()


class _Actor:
    """What runs on the cluster; an error of the user's is handed back as it is, not wrapped."""

    def __init__(self, bench: Bench) -> None:
        from patchlens.studies.work.worker import Worker

        self._worker: Worker | None = None
        self._error: PatchlensError | None = None
        try:
            self._worker = Worker(bench)
        except PatchlensError as error:
            self._error = error

    def about(self) -> About | PatchlensError:
        """What it found, or why it has no model."""
        return self._worker.about if self._worker is not None else cast("PatchlensError", self._error)

    def run(self, task: Task) -> Done:
        """Do a task."""
        assert self._worker is not None
        return self._worker.run(task)


def _joined(address: str) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it tells its makers over the network
    try:
        import ray
    except ModuleNotFoundError:
        raise MissingExtraError("a study on a cluster", "ray", "ray") from None
    options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    try:
        _reach(address)
        ray.init(address=LOCAL if address == LOCAL else address, **(options if address == LOCAL else {}))
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        told = " ".join(str(error).split())[:300]
        raise StudyError(f"the Ray cluster {address!r} cannot be joined: {told}") from error
    return ray


def _reach(address: str) -> None:
    """Fail soon where nobody answers, which Ray itself waits long for."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=REACHED_WITHIN).close()
