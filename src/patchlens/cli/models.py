"""What can be read: ``patchlens models``."""

from __future__ import annotations

from typing import Annotated

import typer

from patchlens.cli.app import DtypeOption, RevisionOption, app, progress_display, stdout_console


@app.command()
def models(
    check: Annotated[
        str | None, typer.Option("--check", help="Load this model and print its self-check.")
    ] = None,
    dtype: DtypeOption = "auto",
    revision: RevisionOption = None,
) -> None:
    """List the models that can be read, or prove that one of them is read rightly."""
    from patchlens.views.tables import print_identity, print_models

    if check is None:
        from patchlens.demo import bundled_models
        from patchlens.models.load import supported_families

        bundled = dict.fromkeys(bundled_models(), "bundled: answers questions about drawn scenes, offline")
        print_models(bundled | supported_families(), stdout_console())
        return
    with progress_display() as tell:
        tell("loading the model", 0, 1)
        from patchlens.run import load

        loaded = load(check, dtype=dtype, revision=revision)
        report = loaded.adapter.prove()
    print_identity(loaded.adapter.name, report, stdout_console())
