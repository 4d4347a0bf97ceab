"""The process of a worker: ``python -m patchlens.studies.pools.serve CONNECTION LIFELINE THREADS``.

Told what to be, it answers what it found, then does task after task. When whoever started it dies, so does
it, at once: the far end of the lifeline closes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection

from patchlens.errors import PatchlensError, StudyError


def main(connection: int, lifeline: int, threads: int) -> None:
    """Serve until there are no more tasks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with, args=(lifeline,), daemon=True).start()
    told = Connection(connection)
    bench = told.recv()

    import torch

    from patchlens.demo import bundled_models
    from patchlens.studies.work.worker import Worker

    # Models as small as the bundled ones gain nothing from threads, which wait for each other on busy cores.
    torch.set_num_threads(1 if bench.model.load in bundled_models() else threads)
    try:
        worker = Worker(bench)
    except PatchlensError as error:
        told.send(error)
        return
    except Exception as error:
        told.send(StudyError(f"a worker could not be set up: {type(error).__name__}: {error}"))
        return
    with suppress(EOFError, BrokenPipeError):  # whoever asked has gone
        told.send(worker.about)
        while True:
            told.send(worker.run(told.recv()))


def _die_with(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(1)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
