"""Many pictures, models and lenses: ``patchlens study``."""

from __future__ import annotations

import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from patchlens.cli import options
from patchlens.cli.app import Flat, app, progress_display, say, stdout_console
from patchlens.errors import MissingExtraError, SelectionError

if TYPE_CHECKING:
    from patchlens.studies.recipe.study import Study
    from patchlens.studies.study import OpenPool, Outcome

MOST_FAILURES = 20


@app.command
def study(
    spec: Annotated[Path, Parameter(allow_leading_hyphen=False)],
    /,
    *,
    out: Annotated[Path, Parameter(alias="-o")],
    model: Annotated[tuple[str, ...], Parameter(alias="-m")] = (),
    lens: tuple[str, ...] = (),
    prompt: Annotated[str | None, Parameter(alias="-p")] = None,
    workers: Annotated[int, Parameter(validator=Number(gte=0))] = 1,
    ray: str | None = None,
    retry: options.Flag = False,
    load: Flat[options.LoadOptions] = options.LoadOptions(),
) -> None:
    """Read many pictures with every model and lens, into one result that can be queried.

    Stopped at any point, the same command goes on where it was. Ends with 1 if items failed.

    Args:
        spec: A .yaml or .json file of models, lenses and items (docs/study.md), or just items: a folder of
            pictures, mapping.json, a .jsonl file, annotations in COCO's format.
        out: Folder of the result. Run again, it goes on.
        model: Instead of the spec's (repeatable).
        lens: Instead of the spec's (repeatable).
        prompt: What to ask of each picture, where SPEC is just items.
        workers: Processes, each with the model; 0: in this one.
        ray: Workers on a Ray cluster: its address, or "local" (extra "ray").
        retry: Also run failed items again.
    """
    with _stoppable(), progress_display() as tell:
        check_extra()
        from patchlens.studies.recipe.study import read_study
        from patchlens.studies.study import run_study

        asked = read_study(spec, models=model, lenses=lens, prompt=prompt)
        outcome = run_study(_loaded(asked, load), out, open_pool=_pool(workers, ray), retry=retry, tell=tell)
    _tell(outcome)
    if outcome.failures:
        sys.exit(1)


def _loaded(asked: Study, load: options.LoadOptions) -> Study:
    """The study with its models loaded as was asked here, where that was."""
    given = {key: value for key, value in vars(load).items() if value != getattr(options.LoadOptions(), key)}
    return replace(asked, models=tuple(replace(model, **given) for model in asked.models))


@contextmanager
def _stoppable() -> Generator[None]:
    """Ctrl-C and a polite end from outside stop the study, and say that nothing is lost."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        say("stopped: nothing is lost, the same command goes on")
        sys.exit(130)
    finally:
        signal.signal(signal.SIGTERM, before)


def check_extra() -> None:
    """Say what is missing before a model loads.

    Raises:
        MissingExtraError: pyarrow or PyYAML is not installed.
    """
    for module, package in (("pyarrow", "pyarrow"), ("yaml", "pyyaml")):
        try:
            __import__(module)
        except ModuleNotFoundError:
            raise MissingExtraError("a study", package, "study") from None


def _pool(workers: int, ray: str | None) -> OpenPool:
    if ray is not None:
        if workers < 1:
            raise SelectionError("a Ray cluster needs workers: choose --workers 1 or more")
        from patchlens.studies.pools.on_ray import OnRay

        return partial(OnRay, count=workers, address=ray)
    if workers == 0:
        from patchlens.studies.pools.here import Here

        return Here
    from patchlens.studies.pools.processes import Processes

    return partial(Processes, count=workers)


def _tell(outcome: Outcome) -> None:
    from patchlens.studies.study import print_outcome

    print_outcome(outcome, stdout_console())
    for model, lenses in outcome.left_out.items():
        for lens, reason in lenses.items():
            say(f"note: {model} was not read through {lens}: {reason}")
    for failure in outcome.failures[:MOST_FAILURES]:
        say(f"failed: {failure.item} ({failure.model}): {failure.reason}")
    if len(outcome.failures) > MOST_FAILURES:
        say(f"and {len(outcome.failures) - MOST_FAILURES} more, in the table items")
    if outcome.failures:
        say("run failed items again with --retry")
    print(outcome.folder)
