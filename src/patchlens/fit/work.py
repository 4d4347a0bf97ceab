"""The folder of an unfinished fit: what is done so far, and for which arguments, model and data."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from patchlens.errors import DataError, OutputError
from patchlens.files import write_atomically

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
        before = [path for path in folder.iterdir() if path.suffix != ".part"]
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    mark = folder / FINGERPRINT
    if not before:
        write_atomically(mark, json.dumps(dict(fingerprint), indent=1))
        return
    if not mark.is_file():
        raise OutputError(f"{folder} is not the folder of a fit: move it away or choose another --out")
    _compare(folder, json.loads(mark.read_text(encoding="utf-8")), fingerprint)


def _compare(folder: Path, before: Fingerprint, now: Fingerprint) -> None:
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    if changed:
        differences = ", ".join(_difference(key, before.get(key), now.get(key)) for key in changed)
        raise DataError(
            f"{folder} holds an unfinished fit that this one must not be mixed with ({differences}): run "
            "that one again as it was, choose another --out, or delete the folder"
        )


def _difference(key: str, before: object, now: object) -> str:
    if key in ("data", "weights"):
        return f"its {key} were others"
    return f"its {key} was {before}, now {now}"


def finish(folder: Path) -> None:
    """Delete the folder of a fit that is done."""
    shutil.rmtree(folder, ignore_errors=True)
