"""Results written whole or not at all, begun work gone on with by the same arguments alone, text by line."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from patchlens.errors import DataError, OutputError, PatchlensError

_TOLD: Final = 3
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def output_path(path: str | Path, *suffixes: str) -> Path:
    """A path that a result can be written to: its name says the format, and its folder is there.

    Raises:
        OutputError: it is no path, ends otherwise than in one of ``suffixes``, or there is no such folder.
    """
    if not isinstance(path, (str, Path)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise OutputError(f"expected the name of a file NAME{suffixes[0]}, got {type(path).__name__}")
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise OutputError(
            f"cannot write {path}: expected a name that ends in {' or '.join(suffixes)}, such as "
            f"{path.stem or 'NAME'}{suffixes[0]}"
        )
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {path.parent}")
    return path


def write_atomically(path: str | Path, data: bytes | str) -> Path:
    """Write bytes or UTF-8 text through a temporary neighbour; on any failure the old file stays as it was.

    Raises:
        OutputError: the folder is missing, not writable, or full.
    """
    path = Path(path)
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
    return path


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is not blank.

    Raises:
        DataError: it cannot be read as UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line.strip()


def same_or_refuse(
    place: Path,
    holds: str,
    before: Any,
    now: Any,
    remedy: str,
    error: type[PatchlensError] = DataError,
) -> None:
    """Refuse to go on with work that was begun with other arguments.

    Args:
        place: where the work is kept.
        holds: what it is, such as "an experiment".
        before: the arguments that it was begun with, as JSON values.
        now: those of today.
        remedy: what to do.
        error: what to raise.

    Raises:
        PatchlensError: they differ; says in what, by the innermost names, the first few.
    """
    changed = list(_differences(json.loads(json.dumps(before)), json.loads(json.dumps(now)), ()))
    if changed:
        first = "; ".join(changed[:_TOLD])
        more = f" and {len(changed) - _TOLD} more" if len(changed) > _TOLD else ""
        raise error(f"{place} holds {holds} that this one must not be mixed with ({first}{more}): {remedy}")


def _differences(before: Any, now: Any, at: tuple[str, ...]) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in {**before, **now}:
            yield from _differences(before.get(key), now.get(key), (*at, str(key)))
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for number, pair in enumerate(zip(before, now, strict=True), 1):
            yield from _differences(*pair, (*at, str(number)))
    elif before != now:
        yield f"{' '.join(at)} was {_brief(before)}, now {_brief(now)}"


def _brief(value: Any) -> str:
    if isinstance(value, str) and _DIGEST.fullmatch(value):
        return f"{value[:8]}.."
    return f"{len(value)} of them" if isinstance(value, list) else f"{value!r:.40}"
