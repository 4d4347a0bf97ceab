"""Run a study: every model x lens x item once, from where it was stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from patchlens.data.item import Item
from patchlens.errors import ImageError, StudyError
from patchlens.progress import Tell, silent
from patchlens.reading.records import package_versions
from patchlens.studies.folder import Kept, StudyFolder
from patchlens.studies.pools.protocol import Lost, Pool
from patchlens.studies.recipe.study import ModelSpec, Study
from patchlens.studies.work.rows import failed_rows
from patchlens.studies.work.task import Bench, Done, Job, Task

if TYPE_CHECKING:
    from rich.console import Console

OpenPool = Callable[[Bench], Pool]


@dataclass(frozen=True)
class Failure:
    """An item that a model did not read, and why."""

    model: str
    item: str
    reason: str


@dataclass(frozen=True)
class Outcome:
    """How a study stands: items done of each model, failures, and lenses left out with the reason."""

    folder: Path
    done: Mapping[str, int]
    failures: tuple[Failure, ...]
    left_out: Mapping[str, Mapping[str, str]]


def run_study(
    study: Study,
    out: str | Path,
    *,
    open_pool: OpenPool | None = None,
    retry: bool = False,
    tell: Tell | None = None,
) -> Outcome:
    """Run what is not yet done of a study.

    Args:
        study: what `patchlens.studies.recipe.study.read_study` reads.
        out: its folder (docs/format.md); made if it is not there.
        open_pool: who does the work; one worker in this process if None.
        retry: also run the items again that failed.
        tell: shown the progress.

    Raises:
        StudyError: the folder holds another study, a picture changed since it was read, or another process
            is at work there.
        OutputError: the disk is full or not writable; what is done is kept.
        PatchlensError: a model or lens cannot be loaded.
    """
    folder = StudyFolder(Path(out))
    with folder.locked():
        folder.begin(study.asked(), _versions())
        left_out = {
            model.name: _run_model(study, model, folder, open_pool or _here, retry, tell or silent)
            for model in study.models
        }
        kept = {model.name: folder.kept(model.name) for model in study.models}
    return Outcome(
        folder.root,
        {model: sum(one.error is None for one in items.values()) for model, items in kept.items()},
        tuple(
            Failure(model, item, one.error)
            for model, items in kept.items()
            for item, one in items.items()
            if one.error is not None
        ),
        left_out,
    )


def print_outcome(outcome: Outcome, console: Console) -> None:
    """Print how many items of each model are done and how many failed."""
    from rich.table import Table
    from rich.text import Text

    from patchlens.views.terminal import print_table
    from patchlens.views.words import visible_text

    table = Table("model", "items done", "failed")
    for model, done in outcome.done.items():
        failed = sum(one.model == model for one in outcome.failures)
        table.add_row(Text(visible_text(model)), str(done), str(failed))
    print_table(table, console)


def _run_model(
    study: Study, model: ModelSpec, folder: StudyFolder, open_pool: OpenPool, retry: bool, tell: Tell
) -> Mapping[str, str]:
    kept = folder.kept(model.name)
    wanted = [
        (number, item)
        for number, item in enumerate(study.items)
        if item.name not in kept or (retry and kept[item.name].error is not None)
    ]
    _check_pictures(study.items, kept)
    if not wanted:
        return folder.left_out(model.name)
    progress = _Progress(model.name, len(study.items), len(study.items) - len(wanted), tell)
    parts = len({number // study.settings.batch for number, _ in wanted})
    with open_pool(Bench(model, study.lenses, study.settings, parts)) as pool:
        folder.settle(model.name, pool.about)
        progress.begin()
        tasks: Iterator[Task] = _tasks(wanted, study.settings.batch)
        lost: set[Task] = set()
        while True:
            again: list[Task] = []
            for task, came in pool.results(tasks):
                if isinstance(came, Lost) and task not in lost:
                    lost.add(task)
                    again.append(task)
                    continue
                if isinstance(came, Lost) and len(task.jobs) > 1:
                    again += [Task(task.part, (job,)) for job in task.jobs]
                    continue
                done = failed_rows(task.jobs, came.reason) if isinstance(came, Lost) else came
                folder.commit(model.name, task.part, done)
                progress.add(done)
            if not again:
                return pool.about.left_out
            tasks = iter(again)


def _tasks(wanted: Sequence[tuple[int, Item]], batch: int) -> Iterator[Task]:
    """A task for what is wanted of each part; pictures are read when their turn comes."""
    parts: dict[int, list[tuple[int, Item]]] = {}
    for number, item in wanted:
        parts.setdefault(number // batch, []).append((number, item))
    for part, members in parts.items():
        yield Task(part, tuple(_job(number, item) for number, item in members))


def _job(number: int, item: Item) -> Job:
    try:
        return Job(number, replace(item, truth=None), item.ship())
    except ImageError as error:
        return Job(number, item, error=str(error))


def _check_pictures(items: Sequence[Item], kept: Mapping[str, Kept]) -> None:
    """Notice pictures that are not what was read; of failed items they may be mended."""
    for item in items:
        own = kept.get(item.name)
        if own is None or own.error is not None:
            continue
        now = _job(0, item)
        if now.error is None and tuple(picture.digest for picture in now.pictures) != own.digests:
            raise StudyError(
                f"a picture of {item.name!r} changed since it was read: put it back, or choose another folder"
            )


class _Progress:
    """Items done, how fast, and how many failed."""

    def __init__(self, model: str, total: int, before: int, tell: Tell) -> None:
        self._what, self._total, self._tell = model, total, tell
        self._before = self._done = before
        self._failed = 0
        self._start = 0.0
        tell(model, before, total, "loading")

    def begin(self) -> None:
        self._start = time.monotonic()

    def add(self, done: Done) -> None:
        self._done += done.items.num_rows
        self._failed += done.items.num_rows - done.items["error"].null_count
        rate = (self._done - self._before) / max(time.monotonic() - self._start, 1e-9)
        failed = f", {self._failed} failed" if self._failed else ""
        self._tell(self._what, self._done, self._total, f"{rate:.1f} items/s{failed}")


def _here(bench: Bench) -> Pool:
    from patchlens.studies.pools.here import Here

    return Here(bench)


def _versions() -> dict[str, str]:
    """Without Python's: a study goes on under another one."""
    return {n: of for n, of in package_versions("torch", "transformers").items() if n != "python"}
