"""What can be read: ``patchlens models``."""

from __future__ import annotations

from patchlens.cli import options
from patchlens.cli.app import Flat, app, progress_display, stdout_console


@app.command
def models(*, check: str | None = None, load: Flat[options.LoadOptions] = options.LoadOptions()) -> None:
    """List the models that can be read, or prove that one of them is read rightly.

    Args:
        check: Load this model and print its self-check.
    """
    from patchlens.views.tables import print_identity, print_models

    if check is None:
        from patchlens.demo import bundled_models
        from patchlens.models.load import supported_families

        bundled = dict.fromkeys(bundled_models(), "bundled: answers questions about drawn scenes, offline")
        print_models(bundled | supported_families(), stdout_console())
        return
    with progress_display() as tell:
        tell("loading the model", 0, 1)
        loaded = options.ModelOptions(**vars(load), model=check).load()
        report = loaded.adapter.prove()
    print_identity(loaded.adapter.name, report, stdout_console())
