"""Many pictures, models and lenses: ``patchlens study``."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchlens.cli.app import app, progress_display, stdout_console
from patchlens.errors import MissingExtraError, SelectionError

if TYPE_CHECKING:
    from patchlens.studies.study import OpenPool, Outcome

MOST_TOLD = 20


@app.command()
def study(
    spec: Annotated[
        Path,
        typer.Argument(
            help="A .yaml or .json file of models, lenses and items (docs/study.md), or just items: a folder "
            "of pictures, mapping.json, a .jsonl file, annotations in COCO's format.",
            metavar="SPEC",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the result. Run again, it goes on.")
    ] = ...,  # pyright: ignore[reportArgumentType]
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="Instead of the spec's (repeatable).")
    ] = None,
    lens: Annotated[
        list[str] | None, typer.Option("--lens", help="Instead of the spec's (repeatable).")
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option("--prompt", "-p", help="What to ask of each picture, where SPEC is just items."),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Processes, each with the model; 0: in this one.")
    ] = 1,
    ray: Annotated[
        str | None,
        typer.Option("--ray", help='Workers on a Ray cluster: its address, or "local" (extra "ray").'),
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Also run failed items again.")] = False,
) -> None:
    """Read many pictures with every model and lens, into one result that can be queried.

    Stopped at any point, the same command goes on where it was. Ends with 1 if items failed.
    """
    with _stoppable(), progress_display(long=True) as tell:
        check_extra()
        from patchlens.studies.spec.study import read_study
        from patchlens.studies.study import run_study

        asked = read_study(spec, models=model or [], lenses=lens or [], prompt=prompt)
        outcome = run_study(asked, out, open_pool=_pool(workers, ray), retry=retry, tell=tell)
    _tell(outcome)
    if outcome.failures:
        raise typer.Exit(1)


@contextmanager
def _stoppable() -> Generator[None]:
    """Ctrl-C and a polite end from outside stop the study, and say that nothing is lost."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("stopped: nothing is lost, the same command goes on", err=True)
        raise typer.Exit(130) from None
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
    from rich.table import Table

    from patchlens.views.terminal import print_table

    failed = {model: sum(one.model == model for one in outcome.failures) for model in outcome.done}
    table = Table("model", "items done", "failed")
    for model, done in outcome.done.items():
        table.add_row(model, str(done), str(failed[model]))
    print_table(table, stdout_console())
    for model, lenses in outcome.left_out.items():
        for lens, reason in lenses.items():
            typer.echo(f"note: {model} was not read through {lens}: {reason}", err=True)
    for failure in outcome.failures[:MOST_TOLD]:
        typer.echo(f"failed: {failure.item} ({failure.model}): {failure.reason}", err=True)
    if len(outcome.failures) > MOST_TOLD:
        typer.echo(f"and {len(outcome.failures) - MOST_TOLD} more, in the table items", err=True)
    if outcome.failures:
        typer.echo("run failed items again with --retry", err=True)
    typer.echo(f"{outcome.folder}")
