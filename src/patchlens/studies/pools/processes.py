"""Workers in processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, cast

from patchlens.errors import PatchlensError, StudyError
from patchlens.studies.pools.protocol import Lost, Pool, count_death
from patchlens.studies.work.task import About, Bench, Done, Task

GONE = (EOFError, OSError)
DIES_WITHIN = 10.0
"""Seconds from the end of a worker's connection to its own."""


class Processes(Pool):
    """As many workers as asked for, or as there are tasks, each with the model of its own.

    Raises:
        StudyError: a worker died before it had its model.
        PatchlensError: whatever keeps a worker from loading its model or lenses.
    """

    def __init__(self, bench: Bench, count: int) -> None:
        self._bench = bench
        self._threads = max(1, (os.cpu_count() or 1) // count)
        self._deaths = 0
        self._workers: list[_Process] = []
        try:
            self._workers += [_Process(bench, self._threads) for _ in range(min(count, bench.tasks))]
            found = [worker.about() for worker in self._workers]
        except BaseException:
            self.__exit__()
            raise
        self._about = found[0]

    @property
    def about(self) -> About:
        """What they found their model and lenses to be."""
        return self._about

    def results(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Done | Lost]]:
        """A worker that comes back gets its next task before what it brought is passed on."""
        queue = iter(tasks)
        at: dict[Connection, tuple[_Process, Task]] = {}

        def give(worker: _Process) -> None:
            task = next(queue, None)
            if task is not None:
                worker.send(task)
                at[worker.connection] = (worker, task)

        for worker in self._workers:
            give(worker)
        while at:
            for ready in wait(list(at)):
                connection = cast("Connection", ready)
                worker, task = at.pop(connection)
                came: Done | Lost
                try:
                    came = connection.recv()
                except GONE:
                    came = Lost(worker.death())
                    worker = self._replaced(worker, came.reason)
                give(worker)
                yield task, came

    def _replaced(self, dead: _Process, reason: str) -> _Process:
        self._deaths = count_death(self._deaths, reason)
        dead.stop()
        fresh = _Process(self._bench, self._threads)
        self._workers[self._workers.index(dead)] = fresh
        fresh.about()
        return fresh

    def __exit__(self, *_: object) -> None:
        """End them."""
        for worker in self._workers:
            worker.stop()


class _Process:
    def __init__(self, bench: Bench, threads: int) -> None:
        self.connection, theirs = Pipe()
        held, self._lifeline = os.pipe()
        fds = (theirs.fileno(), held)
        command = [sys.executable, "-m", "patchlens.studies.pools.serve", *map(str, (*fds, threads))]
        self._process = subprocess.Popen(command, pass_fds=fds, stdin=subprocess.DEVNULL)
        theirs.close()
        os.close(held)
        self.send(bench)

    def send(self, what: Any) -> None:
        """Hand over; that a dead worker takes nothing shows when nothing comes back."""
        try:
            self.connection.send(what)
        except BrokenPipeError:
            return

    def about(self) -> About:
        """What it found, once it has its model."""
        try:
            found: About | PatchlensError = self.connection.recv()
        except GONE:
            raise StudyError(f"a worker did not come to have its model: {self.death()}") from None
        if isinstance(found, PatchlensError):
            raise found
        return found

    def death(self) -> str:
        """How it died, in words."""
        try:
            code = self._process.wait(timeout=DIES_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return "the worker went silent"
        if code < 0:
            told = f"the worker was killed ({signal.Signals(-code).name})"
            return f"{told}, most likely for want of memory" if code == -signal.SIGKILL else told
        return f"the worker ended with code {code}"

    def stop(self) -> None:
        """End it and let go of it; once is enough."""
        if self.connection.closed:
            return
        self.connection.close()
        os.close(self._lifeline)
        self._process.kill()
        self._process.wait()
