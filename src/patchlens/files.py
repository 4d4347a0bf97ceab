"""Results written so that they are there whole or not at all, and text read line by line."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from patchlens.errors import DataError, OutputError


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
