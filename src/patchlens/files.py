"""Writing a result so that it is there whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from patchlens.errors import OutputError


def write_atomically(path: str | Path, data: bytes | str) -> Path:
    """Write bytes or UTF-8 text through a temporary neighbour; on any failure the old file stays as it was.

    Raises:
        OutputError: the folder is missing, not writable, or full.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
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
