"""The folder of an unfinished fit: what is done so far, and for which arguments, model and data."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from patchlens.errors import OutputError
from patchlens.files import same_or_refuse, write_atomically

FINGERPRINT = "fingerprint.json"
Fingerprint = Mapping[str, str | int | float | None]


def work_folder(out: Path) -> Path:
    """Where the work for ``LENS.safetensors`` is kept until it is done: ``LENS.fit`` beside it."""
    return out.with_suffix(".fit")


def take_up(folder: Path, fingerprint: Fingerprint) -> None:
    """Make the folder of a new fit, or go on with one that was stopped.

    Raises:
        DataError: the folder holds the work of a fit with other arguments, model or data; says which.
        OutputError: it cannot be made, or is not the folder of a fit.
    """
    try:
        folder.mkdir(exist_ok=True)
        is_new = all(path.suffix == ".part" for path in folder.iterdir())
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    mark = folder / FINGERPRINT
    if is_new:
        write_atomically(mark, json.dumps(dict(fingerprint), indent=1))
        return
    if not mark.is_file():
        raise OutputError(f"{folder} is not the folder of a fit: move it away or choose another --out")
    before = json.loads(mark.read_text(encoding="utf-8"))
    remedy = "run that one again as it was, choose another --out, or delete the folder"
    same_or_refuse(folder, "an unfinished fit", before, dict(fingerprint), remedy)


def finish(folder: Path) -> None:
    """Delete the folder of a fit that is done."""
    shutil.rmtree(folder, ignore_errors=True)
