"""Arrays under one hashed JSON manifest in a safetensors file: what every file of patchlens is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from patchlens.errors import FormatError

Arrays = dict[str, NDArray[Any]]
SUFFIX = ".safetensors"
"""Of every file of patchlens."""


@dataclass(frozen=True)
class Seal:
    """One kind of file.

    Attributes:
        what: its name in errors, such as ``reading``.
        key: metadata key of the manifest; ``key.sha256`` holds the manifest's hash.
        version: newest ``format_version`` that can be read.
    """

    what: str
    key: str
    version: int

    @property
    def hash_key(self) -> str:
        """Metadata key of the manifest's hash."""
        return f"{self.key}.sha256"

    def to_bytes(self, arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Any]) -> bytes:
        """The file's bytes; the same arrays and manifest always give the same bytes."""
        from safetensors.numpy import save

        own = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        text = json.dumps(
            {"format_version": self.version, **manifest, "sha256": _hashes(own)},
            ensure_ascii=False,
            allow_nan=False,
            separators=(",", ":"),
        )
        return _in_order(save(own, {self.key: text, self.hash_key: sha256(text.encode())}))

    def read(self, path: str | Path) -> tuple[Arrays, dict[str, Any]]:
        """Arrays and manifest of a file, with version and hashes checked.

        Raises:
            FormatError: missing, truncated, foreign, damaged, or newer.
        """
        path = Path(path)
        arrays, metadata = _load(path)
        manifest = self._manifest(path.name, metadata)
        version = manifest.get("format_version")
        if type(version) is not int or version < 1:
            raise FormatError(f"{path.name}: format_version is {version!r}, expected a number from 1")
        if version > self.version:
            raise FormatError(
                f"{path.name}: format {version} is newer than this patchlens reads ({self.version}); "
                "upgrade it"
            )
        if manifest.get("sha256") != _hashes(arrays):
            raise FormatError(
                f"{path.name}: the arrays do not match the manifest's hashes; the file is damaged"
            )
        return arrays, manifest

    def _manifest(self, name: str, metadata: Mapping[str, str]) -> dict[str, Any]:
        if self.key not in metadata:
            raise FormatError(f"{name}: a safetensors file, but not a patchlens {self.what} (no manifest)")
        if metadata.get(self.hash_key) != sha256(metadata[self.key].encode()):
            raise FormatError(f"{name}: the manifest does not match its hash; the file is damaged")
        try:
            manifest = json.loads(metadata[self.key])
        except (json.JSONDecodeError, RecursionError) as error:
            raise FormatError(f"{name}: the manifest is not JSON ({error})") from error
        if not isinstance(manifest, dict):
            raise FormatError(f"{name}: the manifest is not a JSON object")
        return cast("dict[str, Any]", manifest)


def sha256(data: bytes) -> str:
    """Hash in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def _hashes(arrays: Mapping[str, NDArray[Any]]) -> dict[str, str]:
    return {name: sha256(array.tobytes()) for name, array in sorted(arrays.items())}


def _in_order(data: bytes) -> bytes:
    """The same file with sorted header keys: safetensors writes its metadata in no fixed order."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:start]), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    padded = header.encode()
    padded += b" " * (-len(padded) % 8)
    return len(padded).to_bytes(8, "little") + padded + data[start:]


def _load(path: Path) -> tuple[Arrays, dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    if path.is_dir():
        raise FormatError(f"{path} is a folder, not a file")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except FileNotFoundError as error:
        raise FormatError(f"{path}: no such file") from error
    except (SafetensorError, OSError, TypeError, ValueError, KeyError) as error:
        raise FormatError(f"{path.name}: not a readable safetensors file ({error})") from error
    return arrays, metadata
